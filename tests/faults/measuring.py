"""Starts the process that plays a long run, and reads its figures."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from faults.long_run import Figures
from warm import run

TESTS = Path(__file__).parents[1]
MIB = 2**20


def measure(*, rounds: int, clients: int) -> Figures:
    """Play so many rounds of so many clients in a process of their own."""
    done = run(
        [sys.executable, str(TESTS / "faults" / "long_run.py"), json.dumps({"rounds": rounds, "clients": clients})],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    if done.returncode:
        raise RuntimeError(f"the long run has failed: {done.stderr[-3000:]}")
    return Figures(**json.loads(done.stdout))
