"""What a trial leaves outside of its processes, and its removal, also after its starter was killed.

    <runtime folder>/trial-XXXXXXXX/
        life   locked for as long as whoever started the trial lives
        files  path of the trial's folder: keys, certificates, sites' files
        9091   sockets that stand for ports

    python -m fedstrata.deploy.flower.remains PLACE

waits for the end of its standard input, which is that of whoever started it, and clears what is left then. What even
that process could not clear, since the machine went down, the next trial does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from fedstrata.deploy.site.runtime_dir import runtime_dir_of, runtime_folder
from fedstrata.deploy.site.worker_client import stop as stop_worker
from fedstrata.errors import FedstrataError
from fedstrata.files import write_private
from fedstrata.locks import Lock

_PREFIX = "trial-"
_SETTLED, _PATIENCE = 1.0, 30.0  # seconds in which nothing is written any more; and to wait for that, at most


class Remains:
    """What one trial will have to clear.

    Args:
        folder: The trial's folder.
    """

    def __init__(self, folder: Path) -> None:
        begun = Path(tempfile.mkdtemp(prefix="new-", dir=runtime_folder()))
        write_private(begun / "files", str(folder.absolute()))
        self._life = Lock(begun / "life")
        self._life.take(within=0)
        self.place = begun.with_name(f"{_PREFIX}{begun.name.removeprefix('new-')}")
        begun.rename(self.place)  # locked before anybody looks for it
        self._caretaker = subprocess.Popen(
            [sys.executable, "-P", "-m", "fedstrata.deploy.flower.remains", str(self.place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def clear(self, site_files: Iterable[Path]) -> None:
        """Clear the sockets, and the sites' workers and rooms; the trial's folder stays."""
        leave(site_files)
        shutil.rmtree(self.place, ignore_errors=True)
        self._life.release()
        self._caretaker.communicate()


def leave(site_files: Iterable[Path]) -> None:
    """End the workers of sites that are no more, and delete their rooms."""
    for file in site_files:
        if file.exists():
            with suppress(FedstrataError):  # a worker that does not end is found by nobody any more
                stop_worker(file)
            runtime_dir_of(file).leave()


def clear(place: Path) -> None:
    """Clear all that a trial has left whose starter is gone, once its processes have ended.

    Args:
        place: As above; nothing happens where it is gone.
    """
    try:
        folder = Path((place / "files").read_text(encoding="utf-8"))
    except OSError:
        return
    end, quiet = monotonic() + _PATIENCE, monotonic()
    while monotonic() < end and monotonic() - quiet < _SETTLED:
        if folder.exists():
            leave(folder.glob("sites/*/site.yaml"))
            shutil.rmtree(folder, ignore_errors=True)
            quiet = monotonic()
        sleep(0.05)
    shutil.rmtree(place, ignore_errors=True)


def clear_abandoned() -> None:
    """Clear what trials have left whose starters ended without doing so."""
    for place in runtime_folder().glob(f"{_PREFIX}*"):
        life = Lock(place / "life")
        with suppress(OSError):  # somebody else was faster
            if life.take(within=0):
                clear(place)
                life.release()


def main(place: Path) -> None:
    """Wait for the end of standard input, and clear."""
    sys.stdin.read()
    if place.exists():
        clear(place)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
