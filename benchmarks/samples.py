"""Where processor time goes: a sample every millisecond, counted for the innermost function of fedstrata at work."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import fedstrata

EVERY = 0.001
_PACKAGE = str(Path(fedstrata.__file__).parent)


def samples(work: Callable[[], object], *, seconds: float) -> Counter[str]:
    """Return how many samples fell on each function while the work was repeated for so much processor time."""
    found: Counter[str] = Counter()
    left = [round(seconds / EVERY)]

    def note(_signal: int, frame: FrameType | None) -> None:
        left[0] -= 1
        found[_place(frame)] += 1

    before = signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    try:
        while left[0] > 0:
            work()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return found


def _place(frame: FrameType | None) -> str:
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            return f"{Path(file).relative_to(_PACKAGE).as_posix()}: {frame.f_code.co_name}"
        frame = frame.f_back
    return "outside fedstrata"
