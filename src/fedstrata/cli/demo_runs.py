"""The demo's work: a sweep plays the methods on both shifts, and its conclusions are drawn here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fedstrata.cli.demo_setting import LAYERS_PER_CLIENT, METHODS, SHIFTS, demo_config, device_file
from fedstrata.cli.sweep_progress import observer_of
from fedstrata.cli.terminal import output, say
from fedstrata.domain.formatting import duration, megabytes, percent
from fedstrata.errors import ConfigError, TrainingError
from fedstrata.tables.table import Table

if TYPE_CHECKING:
    from fedstrata.comparison.results import Outcome
    from fedstrata.sweeping.jobs import Job, Sweep

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
    results = _results(_play(out, seed, console))
    (out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    _conclude(out, results, console)
    say(console, f"report: {out / 'report.html'}   results: {out / 'results.json'}   ({monotonic() - start:.0f} s)")


def demo_sweep(out: Path, seed: int) -> Sweep:
    """Return the demo's runs as a sweep: shift by shift, every method."""
    from fedstrata.sweeping.jobs import Sweep

    return Sweep(
        file=out,
        row="demo",
        size="digits",
        output=out,
        results=None,
        spared=None,
        target=None,
        reference=None,
        keep_models=True,
        jobs=tuple(_job(out, shift, method, seed) for shift, method in product(SHIFTS, METHODS)),
        seeds=(seed,),
    )


def _job(out: Path, shift: str, method: str, seed: int) -> Job:
    from fedstrata.assembly.provenance import resolved_values
    from fedstrata.config.load import check_config
    from fedstrata.sweeping.cells import Cell
    from fedstrata.sweeping.jobs import Job

    run, name = folder(out, shift, method), f"{method}, {shift} shift"
    values = resolved_values(check_config(demo_config(shift, method, seed=seed, output=run)))
    cell = Cell(name, name, values["budget"]["kind"], (seed,), False, {None: values}, {})
    return Job(cell, seed, None, run, values)


def _measure_machine(out: Path, seed: int) -> None:
    """Time this machine for a moment, so that the demo's runs can predict their seconds."""
    import torch

    from fedstrata.cli.bench import profile_of, write_profile
    from fedstrata.cli.bench_cases import bench_of, cases
    from fedstrata.client.speed import fit, time_cases
    from fedstrata.config.load import check_config

    place = torch.device("cpu")
    torch.set_num_threads(1)
    timed = cases(bench_of(check_config(demo_config("input", "full", seed=seed, output=out / "machine")), place))
    times = time_cases(timed, seconds=MACHINE_SECONDS)
    profile = profile_of(fit([case.work for case in timed], times), place)
    write_profile(device_file(out), profile, ["Device profile of the machine that the demo ran on."])


def folder(out: Path, shift: str, method: str) -> Path:
    """Return the run folder of one method on one shift."""
    return out / f"{shift}-{method.replace(' ', '-')}"


def _clear(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise ConfigError(f"{out} holds something that is not a demo; choose another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


def _play(out: Path, seed: int, console: Console) -> tuple[Outcome, ...]:
    """Play all runs, two at a time, and return what they came to."""
    from fedstrata.sweeping.run import play_sweep

    _measure_machine(out, seed)
    played = play_sweep(demo_sweep(out, seed), observer=observer_of(console, quiet=False))
    for run, why in played.failures.items():
        raise TrainingError(f"the demo's run {run} failed: {why}")
    return played.outcomes


def _results(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return one entry per shift and method, in the order of the demo's runs."""
    return [
        {
            "shift": shift,
            "method": method,
            "accuracy": found.accuracy,
            "before": found.baseline,
            "bytes_up": found.bytes_up,
            "seconds": round(found.seconds, 3),
            "selection": {name: round(count / found.client_rounds, 3) for name, count in found.layers.items()},
        }
        for (shift, method), found in zip(product(SHIFTS, METHODS), outcomes, strict=True)
    ]


def table(rows: Sequence[tuple[str, ...]]) -> Table:
    """Return rows of shift, method and what came out as a table, with a rule between shifts."""
    head = ("setting", "method", "# accuracy", "# best", "# MB up", "# time", "layers chosen")
    ruled = frozenset(i for i in range(1, len(rows)) if rows[i][0] != rows[i - 1][0])
    return Table("", head, tuple(rows), ruled=ruled, labels=2)


def _row(result: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    from fedstrata.runs.reading import read_run
    from fedstrata.runs.statistics import layers_chosen

    best = json.loads((path / "summary.json").read_text())["best"]["accuracy"]
    shares = (percent(result["accuracy"]), percent(best))
    costs = (megabytes(result["bytes_up"]), duration(result["seconds"]))
    return (f"{result['shift']} shift", result["method"], *shares, *costs, layers_chosen([read_run(path)]))


def _conclude(out: Path, results: list[dict[str, Any]], console: Console) -> None:
    from fedstrata.report.write_report import write_report
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
