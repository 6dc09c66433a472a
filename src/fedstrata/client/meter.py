"""Peak memory of one piece of work: the allocator's on a GPU, growth of the resident set on Linux.

On the CPU the high-water mark of the process is reset before the work (``/proc/self/clear_refs``, proc(5)) and freed
heap is given back first, so that what earlier work left does not hide the growth. Elsewhere nothing is measured.
What it sees is whole pages of the whole process: growth under about 5 MiB is noise, another thread's work counts, pages
of the model that were never touched before count twice, and gaps that glibc's heap keeps between aligned blocks count
too, up to 60 percent of a step, unless large blocks are mapped from the start (``map_large_blocks``). Giving the heap
back makes the work fault its pages in again, 25 to 30 percent of a one-step visit; so a ``Meter`` measures each kind
of work once and remembers it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

MAPPED_FROM = 2**20
"""Bytes from which blocks are mapped in a run whose clients have a memory limit."""
_M_MMAP_THRESHOLD = -3
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Peak:
    """What was measured: bytes, known once the work is done; ``None`` where it was not measured."""

    bytes: int | None = None


class Meter:
    """Measures each kind of work once and then repeats what it measured; on a GPU, where it costs nothing, always.

    The first work of a phase is let go by: it loads kernels and libraries, some 15 MB that are no work's own.

    Example:
        >>> meter, cpu = Meter(), torch.device("cpu")
        >>> for kind in ("a", "a", "b", "b"):
        ...     with meter.of("train", kind, device=cpu, held=lambda: 10**9) as peak:
        ...         pass
        ...     print(peak.bytes is not None and peak.bytes >= 10**9)
        False
        True
        True
        True
    """

    def __init__(self) -> None:
        self._phases: set[str] = set()
        self._known: dict[Hashable, int | None] = {}

    @contextmanager
    def of(self, phase: str, kind: Hashable, *, device: torch.device, held: Callable[[], int]) -> Iterator[Peak]:
        """Measure the peak memory of the body, or repeat what was measured of its kind.

        Args:
            phase: What is done, such as ``train``.
            kind: What its memory depends on, such as the mask's lowest layer and size.
            device: Where the body works.
            held: Returns the bytes that the work holds and that were there before: the model.
        """
        if not self._wanted(phase, (phase, kind), device):
            yield Peak(self._known.get((phase, kind)))
            return
        with metered(device, held()) as peak:
            yield peak
        self._known[phase, kind] = peak.bytes

    def _wanted(self, phase: str, key: Hashable, device: torch.device) -> bool:
        if device.type == "cuda":
            return True
        if phase not in self._phases:
            self._phases.add(phase)
            return False
        return key not in self._known


@contextmanager
def metered(device: torch.device, held: int) -> Iterator[Peak]:
    """Measure the peak memory of the body.

    Args:
        device: Where the body works.
        held: Bytes that the work holds and that were there before: the model.

    Example:
        >>> with metered(torch.device("cpu"), held=0) as peak:
        ...     block = torch.ones(2**24)
        >>> peak.bytes is None or peak.bytes >= 0.95 * 2**26
        True
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = int(torch.cuda.max_memory_allocated(device))
        return
    before = _before()
    yield peak
    if before is not None:
        peak.bytes = held + max(_read("VmHWM") - before, 0)


def map_large_blocks() -> None:
    """Have glibc map large blocks from now on (mallopt(3)), and so give them back when they are freed.

    For runs whose clients have a memory limit, before anything large is allocated: the process then holds what is
    alive, for about a fifth more time. Nothing happens where the C library is not glibc.
    """
    if sys.platform.startswith("linux"):
        choose = getattr(ctypes.CDLL(None), "mallopt", None)
        if choose is not None:
            choose(_M_MMAP_THRESHOLD, MAPPED_FROM)


def _before() -> int | None:
    """Give freed heap back, reset the high-water mark and return the resident set."""
    if not sys.platform.startswith("linux"):
        return None
    trim = _trimmer()
    if trim is not None:
        trim(0)
    try:
        _RESET.write_text("5", encoding="ascii")
        return _read("VmRSS")
    except OSError:
        return None


@cache
def _trimmer() -> ctypes._NamedFuncPointer | None:
    """Return glibc's ``malloc_trim``; other C libraries have none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def _read(name: str) -> int:
    """Return one of the sizes that the kernel gives in kilobytes."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}")
