"""One loop for every target that needs no other tool: seeded inputs, each bounded in time and memory.

    python fuzz/fuzz_yaml.py -runs=1000000                  # so many inputs; 10,000 unless said
    python fuzz/fuzz_yaml.py -runs=500000 -first=500000     # the second half of a million
    python fuzz/fuzz_yaml.py .cache/fuzz/yaml/finding-12    # inputs that were found, once more

An input depends on the seed and its number alone, so a run may be broken off, gone on with and split among processes.
Whatever a target raises besides the errors that it may raise is a finding, and so is an input that takes too long or
too much memory; findings that end at the same line count as one. They are printed, kept under ``.cache/fuzz`` and make
the exit code 1.
"""

from __future__ import annotations

import gc
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage
from time import monotonic, process_time
from types import FrameType

KEPT = Path(__file__).parents[1] / ".cache" / "fuzz"
"""Where findings go, a folder per target."""
MEBIBYTE = 2**20
EVERY = 10.0
"""Seconds between two lines of progress."""


class TooMuch(BaseException):
    """An input took too long or too much memory; no target can mistake it for an error of its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed.

    Attributes:
        name: One word.
        seeds: Sound inputs; every input is one of them, changed.
        mutate: Returns an input changed in one way; is handed the seeds too, to splice from.
        test: Takes one input, or refuses it with one of the ``errors``.
        errors: Errors that an input may be refused with.
        most_seconds: Processor time that an input may take.
        most_bytes: Memory that the process may grow by within an input.
    """

    name: str
    seeds: Sequence[bytes]
    mutate: Callable[[bytes, Random, Sequence[bytes]], bytes]
    test: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    most_seconds: float = 0.5
    most_bytes: int = 64 * MEBIBYTE


@dataclass(slots=True)
class Found:
    """What came of a run.

    Attributes:
        inputs: How many were tried.
        refused: How many of them were refused.
        slowest: Processor time of the slowest input, and its number.
        findings: The first of each kind: number of the input, the input, and the traceback.
    """

    inputs: int = 0
    refused: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    findings: dict[str, tuple[int, bytes, str]] = field(default_factory=dict)


def nth(target: Target, seed: int, number: int) -> bytes:
    """Return the input of a number: a seed of the target, changed one to four times."""
    rng = Random(f"{target.name} {seed} {number}")
    data = rng.choice(target.seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        data = target.mutate(data, rng, target.seeds)
    return data


def fuzz(
    target: Target, runs: int, *, seed: int = 0, first: int = 0, tell: Callable[[str], None] | None = None
) -> Found:
    """Try inputs ``first`` to ``first + runs`` and return what came of it.

    Args:
        target: What is fuzzed.
        runs: How many inputs.
        seed: Another seed gives other inputs.
        first: Number of the first one.
        tell: Is told now and then how far it is.
    """
    found, start = Found(), monotonic()
    told = start
    with _timed() as arm:
        for number in range(first, first + runs):
            _try(target, number, nth(target, seed, number), found, arm)
            if tell is not None and (now := monotonic()) - told > EVERY:
                told = now
                tell(_progress(target, found, runs, now - start))
    return found


def _try(target: Target, number: int, data: bytes, found: Found, arm: Callable[[float], None]) -> None:
    found.inputs += 1
    began, peak = process_time(), _peak()
    try:
        try:
            _once(target, data, arm)
        except TooMuch:
            _once(target, data, arm)  # what is loaded at its first use may take its time
        if _peak() - peak > target.most_bytes:
            raise TooMuch(f"it took {(_peak() - peak) / MEBIBYTE:.0f} MiB")
    except target.errors:
        found.refused += 1
    except (Exception, TooMuch) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} {last.filename}:{last.lineno}"
        found.findings.setdefault(kind, (number, data, "".join(traceback.format_exception(error))))
    found.slowest = max(found.slowest, (process_time() - began, number))


def _once(target: Target, data: bytes, arm: Callable[[float], None]) -> None:
    arm(target.most_seconds)
    try:
        target.test(data)
    finally:
        arm(0.0)


@contextmanager
def _timed() -> Iterator[Callable[[float], None]]:
    """Yield what bounds the processor time of what comes next; 0 takes the bound away."""

    def over(_signal: int, _frame: FrameType | None) -> None:
        raise TooMuch("it took too long")

    def arm(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_PROF, seconds)

    before = signal.signal(signal.SIGPROF, over)
    try:
        yield arm
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _peak() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _progress(target: Target, found: Found, runs: int, seconds: float) -> str:
    left = round(seconds / found.inputs * (runs - found.inputs))
    rate = found.inputs / seconds
    return f"{target.name}: {found.inputs:,} of {runs:,} inputs, {rate:,.0f} a second, {left // 60}:{left % 60:02} left"


def report(target: Target, found: Found) -> Iterator[str]:
    """Yield what came of a run in words; findings are stored as files first."""
    folder = KEPT / target.name
    for number, data, trace in found.findings.values():
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"finding-{number}"
        path.write_bytes(data)
        yield f"{trace}{target.name}: input {number} is kept as {path}"
    slowest, at = found.slowest
    yield (
        f"{target.name}: {found.inputs:,} inputs, {found.inputs - found.refused:,} taken, {found.refused:,} refused, "
        f"slowest {slowest:.3f} s (input {at}), {_peak() / MEBIBYTE:,.0f} MiB at most, {len(found.findings)} findings"
    )


def main(target: Target, arguments: Sequence[str]) -> int:
    """Fuzz as the command line says and return the exit code: 1 if there are findings.

    Args:
        target: What is fuzzed.
        arguments: ``-runs=N``, ``-first=N``, ``-seed=N``, or files to try instead.
    """
    numbers = dict(a.removeprefix("-").split("=", 1) for a in arguments if a.startswith("-"))
    files = [Path(a) for a in arguments if not a.startswith("-")]
    if odd := set(numbers) - {"runs", "first", "seed"}:
        raise SystemExit(f"there is no option -{odd.pop()}; there are -runs=N, -first=N, -seed=N and files")
    gc.freeze()  # so that no collection of what was imported is taken for a slow input
    if files:
        found = Found()
        with _timed() as arm:
            for number, file in enumerate(files):
                _try(target, number, file.read_bytes(), found, arm)
    else:
        asked = {"runs": 10_000, "first": 0, "seed": 0, **{key: int(value) for key, value in numbers.items()}}
        found = fuzz(
            target,
            asked["runs"],
            seed=asked["seed"],
            first=asked["first"],
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
    for line in report(target, found):
        print(line)
    return 1 if found.findings else 0
