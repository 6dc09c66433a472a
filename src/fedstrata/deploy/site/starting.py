"""A site's worker as a daemon: an intermediate process starts it and ends, so that no caller is its parent.

How it ended is written into its log by its parent, and read by the caller that was waiting for it.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic

from fedstrata.deploy.site.runtime_dir import READY, RuntimeDir
from fedstrata.files import private_file
from fedstrata.process import code, in_words, last_words

_PATHS = ("PYTHONPATH", "FEDSTRATA_CACHE", "TMPDIR", "XDG_RUNTIME_DIR")
"""Variables of paths that a worker reads."""
_ENDED = "the worker ended: "


class NoWorkerError(Exception):
    """A worker that does not start, or does not stay.

    Args:
        message: One sentence that holds nothing of the site.
        words: What it said.
    """

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words


def start(runtime_dir: RuntimeDir, site_file: Path, worker: Sequence[str], *, within: float) -> None:
    """Start a worker and wait until it serves; the caller holds the lock on starting.

    Args:
        runtime_dir: Where it will be found.
        site_file: The site's own file.
        worker: Command that starts it; the file and a descriptor are added.
        within: Seconds to wait.

    Raises:
        NoWorkerError: It does not start.
        TimeoutError: It takes longer.
    """
    end = monotonic() + within
    reading, writing = os.pipe()
    try:
        _launch([*worker, str(site_file), str(writing)], writing, runtime_dir, site_file.parent, within)
        told = _heard(reading, end - monotonic())
    except TimeoutError:
        raise
    except OSError as error:
        raise NoWorkerError("the site's worker cannot be started", str(error)) from error
    finally:
        os.close(reading)
    if told != READY:
        raise NoWorkerError("the site's worker does not start", last_words(runtime_dir.words))


def _launch(command: Sequence[str], ready: int, runtime_dir: RuntimeDir, folder: Path, within: float) -> None:
    """Start a process that leaves a worker behind, and wait for its end."""
    try:
        with private_file(runtime_dir.words).open("wb") as words:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                pass_fds=(ready,),
                start_new_session=True,
                cwd=folder,
                env={**os.environ, **whole(os.environ)},
            )
    finally:
        os.close(ready)
    if code(process, within=within) is None:
        process.kill()
        process.wait()
        raise TimeoutError("the worker's process did not begin")


def whole(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of paths so that they mean in another folder what they mean here.

    Example:
        >>> whole({"PYTHONPATH": "/lib:/more", "HOME": "/root", "TMPDIR": ""})
        {'PYTHONPATH': '/lib:/more'}
    """
    given = {name: environment[name] for name in _PATHS if environment.get(name)}
    return {name: os.pathsep.join(map(os.path.abspath, paths.split(os.pathsep))) for name, paths in given.items()}


def _heard(reading: int, within: float) -> bytes:
    """Return what a worker tells once it serves, or nothing if it ended before."""
    if not select.select([reading], [], [], max(within, 0.0))[0]:
        raise TimeoutError("the worker did not begin to serve")
    return os.read(reading, len(READY))


def write_ending(log: Path, status: int) -> None:
    """Write down how a process ended, unless it ended as it should and has said why itself.

    Args:
        log: The worker's log.
        status: What ``waitpid`` told.
    """
    if status:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        with private_file(log).open("a", encoding="utf-8") as file:
            file.write(f"{now} {_ENDED}it {in_words(os.waitstatus_to_exitcode(status))}\n")


def read_ending(log: Path) -> tuple[str, str]:
    """Return how a worker ended, as far as it is known, and the last line that it wrote itself."""
    lines = last_words(log).splitlines()
    if lines and _ENDED in lines[-1]:
        how = lines.pop().partition(_ENDED)[2]
        return f"the site's worker ended while it worked: {how}", lines[-1] if lines else ""
    return "the site's worker ended while it worked", lines[-1] if lines else ""
