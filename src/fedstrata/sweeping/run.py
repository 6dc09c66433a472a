"""A sweep from its beginning, or from where it was interrupted, to its end."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedstrata.assembly.cluster import ray_module
from fedstrata.assembly.loading import load_rows
from fedstrata.comparison.results import Outcome
from fedstrata.config.load import Loaded
from fedstrata.errors import CheckpointError, ConfigError, StorageError
from fedstrata.files import private_folder
from fedstrata.locks import Lock
from fedstrata.sweeping.changed_inputs import Present
from fedstrata.sweeping.jobs import Job, Sweep
from fedstrata.sweeping.observers import Quiet, SweepObserver
from fedstrata.sweeping.pool import Pool
from fedstrata.sweeping.run_status import Standing, clear, standing
from fedstrata.sweeping.schedule import Schedule
from fedstrata.sweeping.table import Table

if TYPE_CHECKING:
    from fedstrata.sweeping.cluster import ClusterPool

log = logging.getLogger(__name__)

LOGS = ".sweep"
"""Folder of the workers' logs, in the sweep's."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep left.

    Attributes:
        output: Folder of its runs.
        tables: Where the table of results is.
        outcomes: The table's lines.
        failures: Why runs failed, by run folder.
        left: How many of the chosen runs are still to be played.
    """

    output: Path
    tables: tuple[Path, ...]
    outcomes: tuple[Outcome, ...]
    failures: Mapping[Path, str]
    left: int


def clients_of(loaded: Loaded) -> tuple[str, ...]:
    """Return the names of a configuration's clients; its data is read for it."""
    return tuple(load_rows(loaded).clients)


def play_sweep(
    sweep: Sweep,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
    redo: bool = False,
    observer: SweepObserver | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Play the runs of a sweep that have not finished, and write the table of results after each.

    Args:
        sweep: The sweep.
        workers: How many runs are played at the same time; ``None`` is 2, and on a cluster as many as have room.
        cluster: Address of a Ray cluster, or ``auto``; each run is a task there. ``None`` is this machine.
        only: Names of methods; none is all.
        seeds: Some of the sweep's seeds; none is all.
        redo: Play runs anew whose configuration, rows or model have changed.
        observer: Is told what happens.
        stop: Asked often; true ends the sweep once the rounds at work are done and saved.

    Raises:
        ConfigError: No cluster answers or has room, a pattern matches no method, a seed is none of the sweep's, a run
            was made with another configuration, other rows or another model, or a folder is none of a run's.
        DataError: A run has begun, and its rows are not there any more.
        CheckpointError: Another process plays the sweep.
        StorageError: Something cannot be written.
        TrainingError: Workers cannot be started.

    Example:
        See ``tests/sweeping/test_sweep_run.py``.
    """
    chosen, watching = sweep.chosen(only, seeds), observer or Quiet()
    lock = _locked(sweep)
    try:
        present = Present()
        found = {job: standing(job, present) for job in sweep.jobs}
        _refuse(chosen, found, redo=redo)
        table = Table(sweep)
        ended = _take_finished(table, [job for job, (how, _) in found.items() if how is Standing.FINISHED])
        for job in chosen:
            if found[job][0] is Standing.CHANGED:
                clear(job)
        present.look(chosen)
        todo = deque(job for job in chosen if found[job][0] is not Standing.FINISHED)
        table.write()
        players, room = _players(sweep.output / LOGS, cluster, todo)
        count = min(workers or room, len(todo))
        watching.sweep_started(todo=todo, done=len(chosen) - len(todo), workers=count)
        with players as pool:
            schedule = Schedule(sweep, table, pool, watching, present, todo)
            schedule.failures.update({job: why for job, why in ended.items() if job in chosen})
            try:
                schedule.play(count, stop)
            finally:
                watching.sweep_done()
    finally:
        lock.release()
    failures = {job.folder: why for job, why in schedule.failures.items()}
    return SweepResult(sweep.output, sweep.tables, table.outcomes, failures, schedule.left)


def _players(folder: Path, cluster: str | None, todo: Sequence[Job]) -> tuple[Pool | ClusterPool, int]:
    """Return who plays the runs, and how many at the same time unless somebody says otherwise."""
    if cluster is None:
        return Pool(folder), 2
    ray_module("sweep --cluster")
    from fedstrata.sweeping.cluster import cluster_pool

    return cluster_pool(cluster, folder, todo)


def _locked(sweep: Sweep) -> Lock:
    try:
        private_folder(sweep.output)
        private_folder(sweep.output / LOGS)
    except OSError as error:
        raise StorageError(f"{sweep.output} cannot be made: {error.strerror}; name another output") from error
    lock = Lock(sweep.output)
    if not lock.take(within=0.0):
        raise CheckpointError(f"{sweep.output} is being played by another sweep; wait for it, or end it")
    return lock


def _refuse(chosen: Sequence[Job], found: Mapping[Job, tuple[Standing, str]], *, redo: bool) -> None:
    """Refuse folders that cannot be used, all at once."""
    foreign = [why for how, why in (found[job] for job in chosen) if how is Standing.FOREIGN]
    changed = [why for how, why in (found[job] for job in chosen) if how is Standing.CHANGED and not redo]
    if changed:
        shown = [*changed[:5], *([f"... ({len(changed)} runs in all)"] if len(changed) > 5 else [])]
        advice = (
            "these runs were made with another configuration, other rows or another model; put back what has changed, "
            "play them anew with --redo, or name another output"
        )
        raise ConfigError("\n".join((*foreign, *shown, advice)))
    if foreign:
        raise ConfigError("\n".join(foreign))


def _take_finished(table: Table, jobs: Sequence[Job]) -> dict[Job, str]:
    """Take the outcomes of runs that have finished earlier, and return why some cannot be read."""
    unreadable = {}
    for job in jobs:
        try:
            table.take(job)
        except CheckpointError as error:
            unreadable[job] = f"{error}; remove {job.folder} to play it anew"
    return unreadable
