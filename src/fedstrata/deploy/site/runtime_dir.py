"""A site's runtime folder: a private folder with the socket, key and locks of its worker.

    <runtime folder>/fedstrata-<uid>/<digest of the site file's path>/
        socket    where the worker listens
        key       random bytes that both sides have to know
        life      locked for as long as the worker, or what watches over it, lives
        door      locked by whoever starts or ends a worker
        pid       the worker's process id, true while ``life`` is locked
        words     what a worker said that could not start

Who may open the socket, may also read the key; the key is for systems on which a socket's mode does not count.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fedstrata.errors import StorageError

LONGEST_ADDRESS = 100
"""Bytes of a socket's path: Linux ends at 107, macOS at 103."""
READY = b"ready"
"""What a worker tells who started it once it serves."""
_KEY_BYTES = 32
_SHARED = "/tmp"


@dataclass(frozen=True, slots=True)
class RuntimeDir:
    """Where a site's worker is found.

    Attributes:
        path: The folder; nobody else may enter it.
    """

    path: Path

    @property
    def socket(self) -> Path:
        """Where the worker listens."""
        return self.path / "socket"

    @property
    def life(self) -> Path:
        """File that is locked while a worker lives."""
        return self.path / "life"

    @property
    def door(self) -> Path:
        """File that is locked while a worker is started or ended."""
        return self.path / "door"

    @property
    def pid(self) -> Path:
        """File that holds the worker's process id."""
        return self.path / "pid"

    @property
    def words(self) -> Path:
        """File that takes what a worker says before it has a log."""
        return self.path / "words"

    def key(self) -> bytes:
        """Return the key, which is made on first use."""
        path = self.path / "key"
        if not path.exists():
            self._make_key(path)
        return path.read_bytes()

    def leave(self) -> None:
        """Delete it with all that is in it, after its worker's end; for a site that is no more."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _make_key(self, path: Path) -> None:
        """Write a key atomically; of two writers at a time, one wins."""
        draft = self.path / f"key.{secrets.token_hex(8)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()


def runtime_dir_of(site_file: Path) -> RuntimeDir:
    """Return the runtime folder of a site, which is made if it is not there.

    Args:
        site_file: The site's own file; links and ``..`` make no difference.

    Raises:
        StorageError: The folder cannot be made, or others could enter it.
    """
    name = sha256(f"{os.getuid()} {site_file.resolve()}".encode()).hexdigest()[:16]
    path = runtime_folder() / name
    _private(path)
    return RuntimeDir(path)


def runtime_folder() -> Path:
    """Return the folder of all rooms of this user, in the first place that serves.

    A place serves whose path is short enough and that can be written to. A name there that somebody else took, or that
    others may enter, is passed over: who takes names in a folder for all denies nobody a worker. Last comes the home.

    Raises:
        StorageError: None serves.
    """
    longest, why = LONGEST_ADDRESS - len("/0123456789abcdef/socket"), []
    for path in _places():
        if len(os.fsencode(path)) > longest:
            why.append(f"{path} is too long")
            continue
        try:
            _private(path)
        except StorageError as error:
            why.append(str(error))
        else:
            return path
    advice = "set XDG_RUNTIME_DIR to a folder of yours with a short path"
    raise StorageError(f"no folder for the worker's socket: {'; '.join(why)}; {advice}")


def _places() -> list[Path]:
    name = f"fedstrata-{os.getuid()}"
    places = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), _SHARED]
    found = [Path(place).absolute() / name for place in places if place and Path(place).is_dir()]
    with suppress(RuntimeError):  # a user without a home
        found.append(Path.home() / f".{name}-{platform.node()}")  # a home may be shared by machines
    return found


def _private(path: Path) -> None:
    """Make a folder that only this user can enter, or make sure that it is one."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise StorageError(f"{path} cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StorageError(f"{path} is not a folder of this user alone")
