"""Plays runs in forks of this process, kills them, resumes them and compares: ``python killing.py '{"seed": 0, ...}'``.

torch is imported once, so that a trial takes half a second. Prints one JSON object per trial.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from faults.crash_points import POINTS
from faults.variants import VARIANTS, outcome, play

MEMORY = Path("/dev/shm")
"""A kill takes nothing from the page cache, so a folder in memory shows the same and waits for no disk."""
DRAWS = 12
"""How often the moments of a trial are drawn earlier, until every session dies."""
Arm = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Death:
    """How a session is to end: at a named point, or at a share of the whole run's time."""

    point: str = ""
    nth: int = 1
    share: float = 0.0

    def __str__(self) -> str:
        return f"{self.point} ({self.nth})" if self.point else f"at {self.share:.0%} of its time"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is to be killed, and how each of its sessions but the last is to end."""

    kind: str
    variant: str
    deaths: list[Death]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a run that was killed.

    Attributes:
        kind: ``random``, ``named`` or ``resumed``.
        variant: How the run was played.
        deaths: How its sessions were to end.
        hits: Which of them did.
        differences: What is not as in the unbroken run.
    """

    kind: str
    variant: str
    deaths: list[str]
    hits: list[bool]
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Whole:
    """An unbroken run of a variant: what it left, and how long it took."""

    found: Mapping[str, Any]
    seconds: float


def main(wanted: Mapping[str, int]) -> None:
    """Play so many trials of each kind, seeded, and print what came of them."""
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="killed-", dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        base = Path(scratch)
        whole = {name: unbroken(base / "whole" / name, name) for name in VARIANTS}
        for number, plan in enumerate(plans(wanted)):
            folder = base / str(number)
            print(json.dumps(asdict(trial(folder, plan, whole[plan.variant]))), flush=True)  # noqa: T201
            shutil.rmtree(folder)


def plans(wanted: Mapping[str, int]) -> Iterator[Plan]:
    """Yield the trials."""
    rng = random.Random(wanted.get("seed", 0))
    names = list(VARIANTS)
    for i in range(wanted.get("random", 0)):
        yield Plan("random", names[i % len(names)], [Death(share=rng.random())])
    times = wanted.get("named", 0)
    for round in range(times):
        for i, (name, point) in enumerate(POINTS.items()):
            fits = point.variants or tuple(names)
            yield Plan("named", fits[(i + round) % len(fits)], [Death(name, point.most - round * point.most // times)])
    for i in range(wanted.get("resumed", 0)):
        first = Death(share=rng.random() * 0.8) if i % 2 else _early(rng)
        second = Death(share=rng.random() * 0.3) if i % 3 else _early(rng)
        yield Plan("resumed", names[i % len(names)], [first, second])


def _early(rng: random.Random) -> Death:
    general = [name for name, point in POINTS.items() if not point.variants and point.most > 1]
    return Death(rng.choice(general), 1)


def unbroken(folder: Path, variant: str) -> Whole:
    """Play a variant three times in children that nobody kills; the fastest says how long it takes."""
    seconds = []
    for again in ("cold", "warm", "hot"):
        _, status = os.waitpid(spawn(folder / again, variant, None), 0)
        found = json.loads(report_of(folder / again).read_text())
        if status != 0:
            raise SystemExit(f"the unbroken run {variant} failed: {found}")
        seconds.append(found.pop("seconds"))
    return Whole(found, min(seconds))


def trial(folder: Path, plan: Plan, whole: Whole) -> Trial:
    """Kill a run as planned, resume it, and compare; where a session outlives its kill, draw earlier moments."""
    for _ in range(DRAWS):
        hits = [killed(folder, plan.variant, death, whole.seconds) for death in plan.deaths]
        if all(hits):
            break
        shutil.rmtree(folder)
        plan = replace(plan, deaths=[replace(death, share=death.share * 0.7) for death in plan.deaths])
    os.waitpid(spawn(folder, plan.variant, None), 0)
    found = json.loads(report_of(folder).read_text())
    found.pop("seconds", None)
    shared = {"state", "not once", "error"} if VARIANTS[plan.variant].fickle else {*found, *whole.found}
    differences = sorted(key for key in shared if found.get(key) != whole.found.get(key))
    differences += [str(found[key]) for key in ("error", "not once") if found.get(key)]
    return Trial(plan.kind, plan.variant, [str(d) for d in plan.deaths], hits, differences)


def killed(folder: Path, variant: str, death: Death, seconds: float) -> bool:
    """Play a session that is to die, and return whether it did."""
    arm = (lambda: POINTS[death.point].arm(death.nth)) if death.point else None
    child = spawn(folder, variant, arm)
    if arm is None:
        time.sleep(death.share * seconds)  # the moment that was drawn
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def spawn(folder: Path, variant: str, arm: Arm | None) -> int:
    """Play or resume a run in a child, which leaves its report beside the folder; return the child's id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if arm is not None:
            arm()
        start = time.monotonic()
        result = play(folder, VARIANTS[variant])
        seconds = time.monotonic() - start
        report_of(folder).write_text(json.dumps({**outcome(result), "seconds": seconds}))
        code = 0
    except BaseException:
        report_of(folder).write_text(json.dumps({"error": traceback.format_exc()}))
    finally:
        os._exit(code)


def report_of(folder: Path) -> Path:
    """Return where a child says what it found."""
    return folder.with_name(f"{folder.name}.json")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
