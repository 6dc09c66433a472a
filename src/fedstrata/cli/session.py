"""Playing a prepared run in a terminal: progress, signals, the last word."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from fedstrata.assembly.finish import finish
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.cli.progress import LiveProgress
from fedstrata.cli.signals import StopFlag, finishing_the_round
from fedstrata.cli.terminal import say as say
from fedstrata.domain.cost import spread
from fedstrata.domain.formatting import listing, megabytes, plural
from fedstrata.engines.protocol import Engine
from fedstrata.files import argument
from fedstrata.report.outliers import outliers
from fedstrata.report.progress import PlainProgress
from fedstrata.runs.read_events import read_log
from fedstrata.server.observers import Observer, Quiet
from fedstrata.server.run import RunResult

Played = Callable[[Engine | None], RunResult]
"""Plays a run with an engine; ``None`` is the configuration's own."""


def play(prepared: PreparedRun, *, resume: bool, quiet: bool, as_json: bool) -> int:
    """Play a run to its end or to a signal, say what came out, and return the exit code: 0, or that of the signal."""
    console = Console(stderr=True, highlight=False)
    stop = StopFlag()
    if not quiet:
        for line in _first_words(prepared):
            say(console, line)

    def played(engine: Engine | None) -> RunResult:
        run = prepared.run(observer=_observer(console, quiet=quiet), stop=stop, engine=engine)
        return run.resume(prepared.weights) if resume else run.start(prepared.weights)

    with finishing_the_round(stop, console):
        try:
            result = _HOSTS.get(prepared.loaded.config.engine, _here)(prepared, played)
        except KeyboardInterrupt:
            say(console, f"stopped; go on with: fedstrata resume {argument(prepared.folder.path)}")
            return stop.code
    finish(prepared, result)
    say_the_last(result, as_json=as_json)
    return stop.code if result.state == "interrupted" else 0


def _here(prepared: PreparedRun, played: Played) -> RunResult:
    return played(None)


def _simulated(prepared: PreparedRun, played: Played) -> RunResult:
    from fedstrata.deploy.flower.simulation import simulate

    result: RunResult = simulate(prepared, played)
    return result


_HOSTS: Mapping[str, Callable[[PreparedRun, Played], RunResult]] = {"flower-simulation": _simulated}
"""What surrounds a run, by engine; most need nothing."""


def _observer(console: Console, *, quiet: bool) -> Observer:
    if quiet:
        return Quiet()
    if console.is_terminal and not os.environ.get("CI"):
        return LiveProgress(console)
    return PlainProgress(lambda line: say(console, line))


def _first_words(prepared: PreparedRun) -> Iterator[str]:
    """Yield what the run is about, and everything that the data made it decide."""
    data, setting = prepared.data, prepared.setting
    rows = sum(profile.num_examples for profile in setting.profiles.values())
    yield (
        f"{len(setting.profiles)} clients with {rows:,} training rows "
        f"({data.card.partition}), {len(data.test):,} test rows; {len(setting.layers)} layers to choose from, "
        f"budget {spread(p.budget for p in setting.profiles.values())} per client"
    )
    yield from (f"note: {warning}" for warning in (*data.card.warnings, *prepared.notes))


def _in_vain(summary: Mapping[str, Any]) -> str:
    """Return how many rounds were skipped and attempts abandoned, if any."""
    words = {"skipped": "skipped", "abandoned": "attempts abandoned"}
    told = [f"{summary[key]} {word}" for key, word in words.items() if summary[key]]
    return f" ({', '.join(told)})" if told else ""


def odd_clients(result: RunResult) -> Iterator[str]:
    """Yield one line on the clients that stand out, if any do."""
    found = outliers(read_log(result.folder / "events.jsonl"))
    if not found:
        return
    more = len(found) - 1
    tail = f"; {more} more in the report" if more else ""
    yield f"warning: {found[0]}{tail} (fedstrata report {argument(result.folder)})"


def _over(found: Mapping[str, Sequence[float]]) -> str:
    """Say which clients held more memory than their budget.

    Example:
        >>> _over({"a": [265.9e6, 250e6]})
        '1 client held more memory than its budget: a 265.90 MB of 250.00 MB; set limits lower by as much'
    """
    which = listing(
        [f"{client} {megabytes(peak)} MB of {megabytes(limit)} MB" for client, (peak, limit) in found.items()], limit=3
    )
    whose = "its budget" if len(found) == 1 else "their budgets"
    return f"{plural(len(found), 'client')} held more memory than {whose}: {which}; set limits lower by as much"


def say_the_last(result: RunResult, *, as_json: bool, again: str = "resume") -> None:
    """Print what came out of a run, in words or as JSON."""
    out = Console(highlight=False, soft_wrap=True, markup=False)
    if as_json:
        out.print_json(json.dumps(result.summary))
    else:
        out.print("\n".join(last_words(result, again)))


def last_words(result: RunResult, again: str = "resume") -> Iterator[str]:
    """Yield what came out of a run, where it is, and if it was interrupted, with which verb it goes on."""
    summary = result.summary
    final, start = summary["final"], summary["baseline"]
    if final:
        was = f" (before training {start['accuracy']:.3f})" if start else ""
        yield (
            f"{summary['method']}: accuracy {final['accuracy']:.3f}{was}, loss {final['loss']:.3f} "
            f"after {summary['rounds']} of {summary['planned_rounds']} rounds{_in_vain(summary)}; "
            f"{megabytes(summary['bytes_up'])} MB up, {megabytes(summary['bytes_down'])} MB down, "
            f"{summary['seconds']:.1f} s"
        )
    yield from odd_clients(result)
    if summary["failures"]:
        yield f"{summary['failures']} client failures; see {result.folder / 'events.jsonl'}"
    if summary["over_memory"]:
        yield _over(summary["over_memory"])
    if result.state == "interrupted":
        yield f"interrupted and saved; go on with: fedstrata {again} {argument(result.folder)}"
    else:
        yield f"model: {result.folder / 'model'}"
    yield f"run: {result.folder}   (fedstrata report {argument(result.folder)})"
