"""The demo's work: one process per shift plays its methods, this one shows progress and draws the conclusions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import Queue
from threading import Thread
from time import monotonic
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedstrata.cli.demo_setting import LAYERS_PER_CLIENT, METHODS, ROUNDS, SHIFTS, demo_config, device_file
from fedstrata.cli.terminal import output, say, wrapping
from fedstrata.domain.formatting import duration, megabytes, percent
from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Abandoned, Metrics, RoundRecord
from fedstrata.errors import ConfigError, TrainingError, nearest
from fedstrata.files import private_file
from fedstrata.parents import bound
from fedstrata.tables.table import Table

MARKER = ".fedstrata-demo"
MACHINE_SECONDS = 2.0
"""How long the machine is timed."""


def play_demo(out: Path, seed: int) -> None:
    """Run everything, print the table, and leave ``report.html`` and ``results.json``.

    Raises:
        ConfigError: ``out`` holds something that is not a demo.
        TrainingError: A run failed.
    """
    start = monotonic()
    _clear(out)
    console = output()
    say(
        console,
        f"demo: ViT of 6 blocks, pretrained on upright digits; 10 clients, Dirichlet 0.3; "
        f"{LAYERS_PER_CLIENT} layer per client and round; {len(METHODS)} methods x {len(SHIFTS)} shifts, seed {seed}",
    )
    _play_shifts(out, seed, console)
    results = _results(out)
    (out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    _conclude(out, results, console)
    say(console, f"report: {out / 'report.html'}   results: {out / 'results.json'}   ({monotonic() - start:.0f} s)")


def play_shift(shift: str, out: Path, seed: int) -> None:
    """Play all methods on one shift; print a JSON line per round."""
    from fedstrata.assembly.finish import finish
    from fedstrata.assembly.run import prepare_run
    from fedstrata.config.load import check_config

    if shift not in SHIFTS:
        raise ConfigError(f"no shift is called '{shift}'; {nearest(shift, SHIFTS)}")
    _measure_machine(shift, out, seed)
    for method in METHODS:
        prepared = prepare_run(check_config(demo_config(shift, method, seed=seed, output=folder(out, shift, method))))
        run = prepared.run(observer=_JsonLines(method), stop=lambda: False)
        finish(prepared, run.start(prepared.weights))


def _measure_machine(shift: str, out: Path, seed: int) -> None:
    """Time this machine for a moment, so that the demo's runs can predict their seconds."""
    import torch

    from fedstrata.cli.bench import profile_of, write_profile
    from fedstrata.cli.bench_cases import bench_of, cases
    from fedstrata.client.speed import fit, time_cases
    from fedstrata.config.load import check_config

    place = torch.device("cpu")
    torch.set_num_threads(1)
    timed = cases(bench_of(check_config(demo_config(shift, "full", seed=seed, output=out / "machine")), place))
    times = time_cases(timed, seconds=MACHINE_SECONDS)
    profile = profile_of(fit([case.work for case in timed], times), place)
    write_profile(device_file(out, shift), profile, ["Device profile of the machine that the demo ran on."])


def folder(out: Path, shift: str, method: str) -> Path:
    """Return the run folder of one method on one shift."""
    return out / f"{shift}-{method.replace(' ', '-')}"


class _JsonLines:
    """Tells the parent process of each round."""

    def __init__(self, method: str) -> None:
        self._method = method

    def run_started(self, *, method: str, first_round: int, rounds: int, baseline: Metrics | None) -> None:
        self._say(accuracy=baseline.accuracy if baseline else None, round=0)

    def round_started(self, round: int, cohort: int) -> None:
        """Say nothing."""

    def client_done(self, phase: str, client: ClientId, *, done: int, total: int) -> None:
        """Say nothing."""

    def round_done(self, record: RoundRecord) -> None:
        self._say(accuracy=record.test.accuracy if record.test else None, round=record.round)

    def round_abandoned(self, facts: Abandoned, *, again: bool) -> None:
        """Say nothing: the end of the run says it."""

    def evaluating(self, round: int) -> None:
        """Say nothing."""

    def run_done(self, state: str) -> None:
        """Say nothing."""

    def _say(self, **facts: float | None) -> None:
        sys.stdout.write(json.dumps({"method": self._method, **facts}) + "\n")
        sys.stdout.flush()


def _clear(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise ConfigError(f"{out} holds something that is not a demo; choose another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


def _play_shifts(out: Path, seed: int, console: Console) -> None:
    """Run one process per shift and show how far they are."""
    columns = (
        TextColumn("{task.description}", markup=False, table_column=wrapping()),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("rounds, accuracy {task.fields[accuracy]}, ETA", markup=False, table_column=wrapping()),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks = {s: progress.add_task(f"{s} shift", total=len(METHODS) * ROUNDS, accuracy="-") for s in SHIFTS}
        workers = {shift: _spawn(shift, out, seed) for shift in SHIFTS}
        try:
            for shift, line in _lines(workers):
                _show(progress, tasks[shift], shift, line, console)
        finally:
            for worker in workers.values():
                if worker.poll() is None:
                    worker.terminate()
            for worker in workers.values():
                worker.wait()
    for shift, worker in workers.items():
        if worker.wait() != 0:
            log = out / f"{shift}.log"
            raise TrainingError(f"the demo's {shift} shift failed with code {worker.returncode}; see {log}")


def _spawn(shift: str, out: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fedstrata", "demo", "--only-shift", shift, "--out", str(out), "--seed", str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with private_file(out / f"{shift}.log").open("w") as log:
        return subprocess.Popen(
            bound(command, signal.SIGTERM),  # nobody would hear what it says
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )


def _lines(workers: Mapping[str, subprocess.Popen[str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what the workers say, as they say it."""
    said: Queue[tuple[str, str | None]] = Queue()

    def listen(shift: str, stream: IO[str]) -> None:
        for line in stream:
            said.put((shift, line))
        said.put((shift, None))

    for shift, worker in workers.items():
        if worker.stdout is not None:
            Thread(target=listen, args=(shift, worker.stdout), daemon=True).start()
    talking = set(workers)
    while talking:
        shift, line = said.get()
        if line is None:
            talking.discard(shift)
        else:
            yield shift, json.loads(line)


def _show(progress: Progress, task: TaskID, shift: str, line: Mapping[str, Any], console: Console) -> None:
    accuracy = f"{line['accuracy']:.3f}"
    progress.update(
        task,
        description=f"{shift} shift: {line['method']}",
        completed=list(METHODS).index(line["method"]) * ROUNDS + line["round"],
        accuracy=accuracy,
    )
    if not console.is_terminal and line["round"] == ROUNDS:
        say(console, f"{shift} shift: {line['method']}: accuracy {accuracy}")


def _results(out: Path) -> list[dict[str, Any]]:
    """Return one entry per shift and method, read from the run folders."""
    from fedstrata.runs.folder import RunFolder

    results = []
    for shift in SHIFTS:
        for method in METHODS:
            run = RunFolder(folder(out, shift, method))
            summary = json.loads((run.path / "summary.json").read_text(encoding="utf-8"))
            events = run.read()
            results.append(
                {
                    "shift": shift,
                    "method": method,
                    "accuracy": summary["final"]["accuracy"],
                    "before": summary["baseline"]["accuracy"],
                    "bytes_up": summary["bytes_up"],
                    "seconds": round(summary["seconds"], 3),
                    "selection": _shares(events),
                }
            )
    return results


def _shares(events: list[dict[str, Any]]) -> dict[str, float]:
    """Return, per layer, the share of all client-rounds that trained it."""
    names = next(e for e in events if e["event"] == "run")["layers"]
    masks = [e["mask"] for e in events if e["event"] == "client"]
    return {name: round(sum(i in mask for mask in masks) / len(masks), 3) for i, name in enumerate(names)}


def table(rows: Sequence[tuple[str, ...]]) -> Table:
    """Return rows of shift, method and what came out as a table, with a rule between shifts."""
    head = ("setting", "method", "# accuracy", "# best", "# MB up", "# time", "layers chosen")
    ruled = frozenset(i for i in range(1, len(rows)) if rows[i][0] != rows[i - 1][0])
    return Table("", head, tuple(rows), ruled=ruled, labels=2)


def _row(result: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    from fedstrata.comparison.totals import layers_chosen
    from fedstrata.runs.reading import read_run

    best = json.loads((path / "summary.json").read_text())["best"]["accuracy"]
    shares = (percent(result["accuracy"]), percent(best))
    costs = (megabytes(result["bytes_up"]), duration(result["seconds"]))
    return (f"{result['shift']} shift", result["method"], *shares, *costs, layers_chosen([read_run(path)]))


def _conclude(out: Path, results: list[dict[str, Any]], console: Console) -> None:
    from fedstrata.report.html import write_report
    from fedstrata.tables.terminal import Terminal

    paths = {(r["shift"], r["method"]): folder(out, r["shift"], r["method"]) for r in results}
    console.print(Terminal(table([_row(r, paths[r["shift"], r["method"]]) for r in results])))
    for shift, words in SHIFTS.items():
        of_shift = [r for r in results if r["shift"] == shift]
        limited = [r for r in of_shift if r["method"] not in ("full", "head only")]
        most = max(r["accuracy"] for r in limited)
        best = " and ".join(f"'{r['method']}'" for r in limited if r["accuracy"] == most)
        say(
            console,
            f"{shift} shift ({words}): {of_shift[0]['before']:.3f} before training; the best choice of "
            f"{LAYERS_PER_CLIENT} layer was {best} with {most:.3f} (one seed)",
        )
    write_report(list(paths.values()), out / "report.html", title="fedstrata demo")
