"""How a worker ended: written into its log by its parent, and read by the caller that was waiting for it."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from pathlib import Path

from fedstrata.files import private_file

_MARK = "the worker ended: "
_MOST_READ = 2**16


def write_ending(log: Path, status: int) -> None:
    """Write down how a process ended, unless it ended as it should and has said why itself.

    Args:
        log: The worker's log.
        status: What ``waitpid`` told.
    """
    if status:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        with private_file(log).open("a", encoding="utf-8") as file:
            file.write(f"{now} {_MARK}{in_words(os.waitstatus_to_exitcode(status))}\n")


def in_words(code: int) -> str:
    """Return in words how a process ended.

    Example:
        >>> in_words(3), in_words(-9), in_words(-11)
        ('it exited with code 3', 'it was killed (SIGKILL), perhaps out of memory', 'it crashed (SIGSEGV)')
    """
    if code >= 0:
        return f"it exited with code {code}"
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
    if name in ("SIGKILL", "SIGTERM"):
        return f"it was killed ({name})" + (", perhaps out of memory" if name == "SIGKILL" else "")
    return f"it crashed ({name})"


def read_ending(log: Path) -> tuple[str, str]:
    """Return how a worker ended, as far as it is known, and the last line that it wrote itself."""
    lines = last_words(log).splitlines()
    if lines and _MARK in lines[-1]:
        how = lines.pop().partition(_MARK)[2]
        return f"the site's worker ended while it worked: {how}", lines[-1] if lines else ""
    return "the site's worker ended while it worked", lines[-1] if lines else ""


def last_words(path: Path) -> str:
    """Return the end of what was written to a file, or nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _MOST_READ, 0))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
