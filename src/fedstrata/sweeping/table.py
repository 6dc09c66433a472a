"""The table of results of a sweep: what its finished runs came to, in the order of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from fedstrata.comparison.results import Outcome, merge_local_only, outcome_of, write_outcomes
from fedstrata.errors import CheckpointError
from fedstrata.files import writing
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from fedstrata.sweeping.jobs import Job, Sweep

Line = tuple[str, str, int]
"""Method, budget and seed: what one line of the table is about."""


def line_of(job: Job) -> Line:
    """Return which line of the table a run belongs to."""
    return job.cell.method, job.cell.budget, job.seed


@dataclass(slots=True, eq=False)
class Table:
    """Outcomes as they come in; a line whose clients train alone is there once all of them are.

    Attributes:
        sweep: The sweep.

    Example:
        See ``tests/sweeping/test_sweep_table.py``.
    """

    sweep: Sweep
    _outcomes: dict[Line, Outcome] = field(default_factory=dict)
    _alone: dict[Line, dict[str, Run]] = field(default_factory=dict)

    def take(self, job: Job) -> Outcome | None:
        """Read a finished run, and return the outcome of its line once that is whole.

        Raises:
            CheckpointError: Its run folder cannot be read, or the clients that train alone are not all clients.
        """
        line, run = line_of(job), read_run(job.folder)
        if job.client is None:
            self._outcomes[line] = outcome_of(run, **self._names(job))
        else:
            self._add_alone(job, line, run)
        return self._outcomes.get(line)

    def _add_alone(self, job: Job, line: Line, run: Run) -> None:
        together = self._alone.setdefault(line, {})
        together[str(job.client)] = run
        planned, there = {str(client) for client in job.cell.runs}, set(run.log.header.clients)
        if planned != there:
            odd = ", ".join(sorted(planned ^ there)[:3])
            raise CheckpointError(
                f"{job.folder}: the clients of seed {job.seed} are not those of the plan ({odd}); "
                "use a partition whose clients are the same for every seed"
            )
        if len(together) == len(planned):
            self._outcomes[line] = merge_local_only(dict(sorted(together.items())), **self._names(job))
            del self._alone[line]

    def _names(self, job: Job) -> dict[str, str]:
        return {"row": self.sweep.row, "size": self.sweep.size, "method": job.cell.method, "budget": job.cell.budget}

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The whole lines, in the order of the file."""
        lines = (line for line, _ in groupby(self.sweep.jobs, key=line_of))
        return tuple(self._outcomes[line] for line in lines if line in self._outcomes)

    def write(self) -> None:
        """Replace the files of results.

        Raises:
            StorageError: One cannot be written.
        """
        for path in self.sweep.tables:
            write(path, self.outcomes)


def write(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Replace a file of results, and make its folder if it is missing.

    Raises:
        StorageError: It cannot be written.
    """
    with writing(path, "make room or name another"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_outcomes(path, outcomes)
