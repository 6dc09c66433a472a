"""Starts the process that kills runs, and makes a table of what came of it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from faults.killing import Trial
from warm import run

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Table:
    """Trials of every kind."""

    trials: tuple[Trial, ...]

    def of(self, kind: str) -> list[Trial]:
        """Return the trials of one kind."""
        return [t for t in self.trials if t.kind == kind]

    def __str__(self) -> str:
        lines = [f"{'kind':<10}{'trials':>8}{'kills':>8}{'hits':>8}{'differences':>13}"]
        for kind in dict.fromkeys(t.kind for t in self.trials):
            rows = self.of(kind)
            kills, hits = sum(len(t.hits) for t in rows), sum(sum(t.hits) for t in rows)
            lines.append(f"{kind:<10}{len(rows):>8}{kills:>8}{hits:>8}{sum(bool(t.differences) for t in rows):>13}")
        return "\n".join(lines)


def kill(**wanted: int) -> Table:
    """Play so many trials of each kind in a process that has one thread, and return what came of them.

    Args:
        wanted: ``seed``, and how many: ``random`` moments, rounds of the ``named`` points, ``resumed`` runs.
    """
    done = run(
        [sys.executable, str(TESTS / "faults" / "killing.py"), json.dumps(wanted)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    if done.returncode:
        raise RuntimeError(f"the process that kills runs has failed: {done.stdout[-1000:]} {done.stderr[-3000:]}")
    return Table(tuple(Trial(**json.loads(line)) for line in done.stdout.splitlines()))
