"""Processes that this one started: waited for, ended with all that they started themselves, and told of in words."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

END_LIMIT = 60.0
"""Seconds in which a process that was killed has to be gone, and one whose pipe has ended has to end."""
_MOST_READ = 2**16


def code(process: subprocess.Popen[bytes], *, within: float) -> int | None:
    """Return a process's exit code, or ``None`` if it still runs after so many seconds."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(within)
    return None


def end(process: subprocess.Popen[bytes], *, patience: float = 0.0) -> None:
    """End a process that leads a group, reap it, and end what it has left behind.

    Args:
        process: The process.
        patience: Seconds that it gets to end by itself before it is killed.
    """
    if code(process, within=patience) is None:
        process.kill()
    if code(process, within=END_LIMIT) is None:
        log.warning("process %d does not end", process.pid)
    with suppress(ProcessLookupError, PermissionError):  # nothing of its group is left
        os.killpg(process.pid, signal.SIGKILL)


def in_words(code: int | None) -> str:
    """Return how a process ended, as what is said of it; ``None`` is of one that has not, and is not heard any more.

    Example:
        >>> in_words(3), in_words(-9), in_words(-11)
        ('exited with code 3', 'was killed (SIGKILL), perhaps out of memory', 'crashed (SIGSEGV)')
    """
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"exited with code {code}"
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
    if name in ("SIGKILL", "SIGTERM"):
        return f"was killed ({name})" + (", perhaps out of memory" if name == "SIGKILL" else "")
    return f"crashed ({name})"


def last_words(path: Path) -> str:
    """Return the end of what was written to a file, or nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _MOST_READ, 0))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
