"""What is compared: run folders, folders of them and results files, as outcomes of which none counts twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedstrata.comparison.grouping import Group, group, settings
from fedstrata.comparison.outcome import Outcome, outcome_of
from fedstrata.comparison.results import is_results_file, read_outcomes
from fedstrata.domain.formatting import listing, plural
from fedstrata.errors import CheckpointError, DataError
from fedstrata.runs.reading import EVENTS, read_run
from fedstrata.runs.records import Run

RESULTS = "results.csv"
"""The results file that a sweep keeps in its folder."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Outcomes, and what a reader must know of where they are from."""

    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()


def gather(paths: Sequence[Path]) -> Gathered:
    """Read what is to be compared; see ``tests/comparison/test_inputs.py``.

    A results file names the rows, sizes, methods and budgets of its runs. Run folders are sorted by their data and
    model, and named by their method and the settings in which they differ, as in a report.

    Args:
        paths: Run folders, folders that hold run folders or a sweep's results, and results files.

    Raises:
        CheckpointError: A path is none of these, or a run cannot be read.
        DataError: A results file is wrong, or two outcomes of one seed contradict each other.
    """
    found = list({place.resolve(): place for path in paths for place in _places(path)}.values())
    told = [(str(place), outcome) for place in found if place.is_file() for outcome in read_outcomes(place)]
    runs = [(place, read_run(place)) for place in found if place.is_dir()]
    groups = group([run for _, run in runs]) if runs else ()
    told += _outcomes(runs, groups)
    return Gathered(_once(told), (*_settings(groups), *_unfinished(runs)))


def _places(path: Path, *, named: bool = True) -> Iterator[Path]:
    """Yield the run folders and results files at a path; a folder's results file stands for all runs below it."""
    if path.is_dir() and (path / EVENTS).is_file():
        yield path
    elif path.is_dir() and is_results_file(path / RESULTS):
        yield path / RESULTS
    elif path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith("."))
        found = [place for folder in inside for place in _places(folder, named=False)]
        if named and not found:
            raise CheckpointError(f"{path} holds no run folder and no {RESULTS} of a sweep; pass what a run wrote")
        yield from found
    elif path.suffix == ".csv" and path.exists():
        yield path
    elif path.exists():
        raise CheckpointError(f"{path} is neither a run folder nor a results file (.csv); pass one of these")
    else:
        raise CheckpointError(f"{path} does not exist; pass run folders, folders of them, or results files")


def _outcomes(runs: Sequence[tuple[Path, Run]], groups: Sequence[Group]) -> list[tuple[str, Outcome]]:
    places = {id(run): str(place) for place, run in runs}
    return [
        (places[id(run)], outcome_of(run, row=one.label, size="", method=series.label, budget=""))
        for one in groups
        for series in one.series
        for run in series.runs
    ]


def _once(told: Sequence[tuple[str, Outcome]]) -> tuple[Outcome, ...]:
    """Return each outcome once; two of one seed must be the same but for the time they took."""
    kept: dict[tuple[object, ...], tuple[str, Outcome]] = {}
    for place, outcome in told:
        key = (outcome.row, outcome.size, outcome.method, outcome.budget, outcome.seed)
        first, other = kept.setdefault(key, (place, outcome))
        if replace(other, seconds=outcome.seconds) != outcome:
            raise DataError(
                f"seed {outcome.seed} of '{outcome.method}' on {outcome.row} is there twice with different numbers, "
                f"in {first} and in {place}; pass one of the two"
            )
    return tuple(outcome for _, outcome in kept.values())


def _settings(groups: Sequence[Group]) -> tuple[str, ...]:
    """Say which settings of data and model keep run folders apart."""
    if len(groups) < 2:
        return ()
    firsts = [one.runs[0] for one in groups]
    about = [
        {
            "data": run.log.header.data,
            "model": run.log.header.model,
            **{k: v for k, v in settings(run.config).items() if k.startswith(("data.", "model."))},
        }
        for run in firsts
    ]
    keys = sorted({key for one in about for key in one})
    odd = [key for key in keys if len({one.get(key) for one in about}) > 1]
    sections = {key.partition(".")[0] for key in odd if "." in key}
    shown = [key for key in odd if key not in sections]  # a key says more than the text that sums it up
    return (
        f"The run folders are of {plural(len(groups), 'setting')}, which are not compared with one another: "
        f"they differ in {listing(shown)}.",
    )


def _unfinished(runs: Sequence[tuple[Path, Run]]) -> tuple[str, ...]:
    found = [
        f"{run.name} ({run.log.state}, {len(run.log.rounds)} of {run.log.header.rounds} rounds)"
        for _, run in runs
        if run.log.state != "finished"
    ]
    return (f"Not finished, and compared as they stand: {listing(found)}.",) if found else ()
