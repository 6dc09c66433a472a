"""Plays a long run and measures what it leaves lying about: ``python long_run.py '{"rounds": 100, "clients": 20}'``."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import process_time

import numpy as np
import psutil
import torch

from faults.killing import MEMORY
from fedstrata.domain.records import Abandoned, Metrics, RoundRecord
from fedstrata.runs.folder import RunFolder
from fedstrata.selectors.consensus import Consensus
from fedstrata.server.run import Run
from fedstrata.server.setup import Schedule
from toy_runs import toy_engine, toy_setting
from toys import toy_clients, toy_model


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds after a round."""

    seconds: float
    resident: int
    files: int
    threads: int
    children: int
    traced: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What grew between the end of the warm-up and the end of the run.

    Attributes:
        resident_start: Resident bytes after the warm-up.
        resident_growth: Bytes more at the end.
        traced_growth: Bytes that Python allocated since the warm-up and still holds.
        files: Least and most open files.
        threads: Least and most threads.
        children: Most child processes.
        journal_bytes: Of the journal, per client and round.
        log_bytes: Of the event log, per client and round.
        p95_first: 95th percentile of the round's processor seconds, in the first half.
        p95_second: In the second half.
    """

    resident_start: int
    resident_growth: int
    traced_growth: int
    files: tuple[int, int]
    threads: tuple[int, int]
    children: int
    journal_bytes: float
    log_bytes: float
    p95_first: float
    p95_second: float


@dataclass(slots=True)
class Watch:
    """An observer that takes a sample after each round and traces allocations from the end of the warm-up on."""

    warm: int
    last: int
    process: psutil.Process = field(default_factory=psutil.Process)
    samples: list[Sample] = field(default_factory=list)
    since: float = 0.0

    def round_started(self, round: int, cohort: int) -> None:
        self.since = process_time()

    def round_done(self, record: RoundRecord) -> None:
        seconds = process_time() - self.since
        process = self.process
        if record.round - 1 in (self.warm, self.last):
            gc.collect()  # cycles that merely wait for the collector are no growth
        held = (process.memory_info().rss, process.num_fds(), process.num_threads(), len(process.children()))
        self.samples.append(Sample(seconds, *held, tracemalloc.get_traced_memory()[0]))
        if record.round - 1 == self.warm:
            tracemalloc.start()

    def run_started(self, *, method: str, first_round: int, rounds: int, baseline: Metrics | None) -> None: ...
    def client_done(self, phase: str, client: str, *, done: int, total: int) -> None: ...
    def round_abandoned(self, facts: Abandoned, *, again: bool) -> None: ...
    def evaluating(self, round: int) -> None: ...
    def run_done(self, state: str) -> None: ...


def measured(rounds: int, clients: int) -> Figures:
    """Play so many rounds of so many clients, a tenth of them as a warm-up."""
    watch = Watch(warm=rounds // 10, last=rounds - 1)
    with _folder() as path:
        model = toy_model(dropout=0.2)
        rows = toy_clients({f"c{i:02}": 6 + i % 5 for i in range(clients)}, held_out=2)
        run = Run(
            setting=toy_setting(model, rows, selector=Consensus(), budget=1),
            schedule=Schedule(rounds, evaluate_every=10),
            engine=toy_engine(model, rows),
            test=lambda weights: Metrics(0.0, 0.0, 1),
            folder=RunFolder(path),
            header={"method": "toy", "seed": 0, "model": "toy", "data": "toy", "layers": list(model.layers.names)},
            observer=watch,
        )
        run.start(model.weights())
        sizes = [(path / name).stat().st_size / rounds / clients for name in ("journal.jsonl", "events.jsonl")]
    return _figures(watch.samples[watch.warm :], *sizes)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="long-", dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        (Path(scratch) / "checkpoints").mkdir()
        yield Path(scratch)


def _figures(samples: list[Sample], journal: float, log: float) -> Figures:
    first, last = samples[0], samples[-1]
    seconds = [s.seconds for s in samples[1:]]
    half = len(seconds) // 2
    return Figures(
        resident_start=first.resident,
        resident_growth=last.resident - first.resident,
        traced_growth=last.traced,
        files=(min(s.files for s in samples), max(s.files for s in samples)),
        threads=(min(s.threads for s in samples), max(s.threads for s in samples)),
        children=max(s.children for s in samples),
        journal_bytes=round(journal, 1),
        log_bytes=round(log, 1),
        p95_first=round(float(np.quantile(seconds[:half], 0.95)), 4),
        p95_second=round(float(np.quantile(seconds[half:], 0.95)), 4),
    )


def main(wanted: Mapping[str, int]) -> None:
    """Measure and print the figures as JSON."""
    torch.set_num_threads(1)
    print(json.dumps(asdict(measured(wanted["rounds"], wanted["clients"]))))  # noqa: T201


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
