"""Standard streams that never stop the work: closed ones lead nowhere, and what is lost is told at the end."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO

_UNWANTED = (errno.EPIPE, errno.EIO, errno.ENXIO)
"""Errors of a reader that has gone, such as ``head`` or a terminal: it wants no more, and nobody is to be told."""


class Sink(io.RawIOBase):
    """Writes to a descriptor; once that fails, what is written to it leads nowhere, in child processes too.

    Args:
        descriptor: An open one.

    Attributes:
        failed: The first error.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failed: OSError | None = None

    def write(self, data: object) -> int:
        """Write some of the bytes, or drop all of them, and return how many."""
        view = memoryview(data)  # type: ignore[arg-type]  # whatever has bytes
        while True:
            try:
                return os.write(self._descriptor, view)
            except BlockingIOError:  # somebody else made it one that does not wait
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failed = self.failed or error
                _lead_nowhere(self._descriptor)
                return len(view)

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def isatty(self) -> bool:
        """Return whether a person sees it."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor


def open_all() -> None:
    """Make sure that the three descriptors are open, so that no file of the work gets the number of one."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _lead_nowhere(descriptor)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115  open as long as the process is


def forgiving() -> tuple[Sink, Sink]:
    """Have standard output and error go through sinks, and return these."""
    out, err = Sink(1), Sink(2)
    sys.stdout = _text(io.BufferedWriter(out), sys.stdout, lines=out.isatty(), at_once=False)
    sys.stderr = _text(err, sys.stderr, lines=True, at_once=True)  # a signal may come while it is written to
    return out, err


def lost(out: Sink) -> str | None:
    """Return why standard output is not where it was meant to go, or ``None``, also where its reader closed it."""
    if out.failed is None or out.failed.errno in _UNWANTED:
        return None
    return f"standard output cannot be written: {out.failed.strerror}; what was asked for is done"


def _text(below: Any, like: TextIO | None, *, lines: bool, at_once: bool) -> TextIO:  # noqa: ANN401  raw or buffered
    encoding, errors = (like.encoding, like.errors) if like else ("utf-8", "backslashreplace")
    if errors == "strict":  # a dash that a terminal does not know is not worth a run's result
        errors = "backslashreplace"
    return io.TextIOWrapper(below, encoding=encoding, errors=errors, line_buffering=lines, write_through=at_once)


def _lead_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor, inheritable=True)
        os.close(nowhere)
    else:
        os.set_inheritable(descriptor, True)
