"""Files without a name that processes share by inherited descriptor: they go with the last process that holds them.

Written with ``pwrite`` rather than through a mapping: a disk that is full is then an ``OSError``, not a signal.
"""

from __future__ import annotations

import os
from fcntl import F_GETFL, F_SETFL, fcntl
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryFile, gettempdir

_MEMORY = Path("/dev/shm")  # memory that looks like a disk, on Linux; 64 MB of it in a container by default


def shared_folder(bytes: int) -> Path:
    """Return a folder for so many bytes of shared files: in memory where there is room, else the temporary folder."""
    roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and disk_usage(_MEMORY).free >= bytes
    return _MEMORY if roomy else Path(gettempdir())


class SharedFile:
    """A file that no folder lists.

    Args:
        folder: Whose disk it lies on.
        bytes: Room that is taken at once; more is taken as it is written.
        appended: Whether processes that write without an offset write at its end, wherever that has come to be.

    Example:
        >>> file = SharedFile(Path("."))
        >>> write_at(file.descriptor, b"weights", 3), read_at(file.descriptor, 4, 6), file.close()
        (None, b'ghts', None)
    """

    def __init__(self, folder: Path, bytes: int = 0, *, appended: bool = False) -> None:
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        if appended:
            fcntl(self.descriptor, F_SETFL, fcntl(self.descriptor, F_GETFL) | os.O_APPEND)
        if bytes:
            _reserve(self.descriptor, bytes)

    @property
    def descriptor(self) -> int:
        """The file's descriptor in this process."""
        return self._file.fileno()

    @property
    def bytes(self) -> int:
        """Its present size."""
        return os.fstat(self.descriptor).st_size

    def empty(self) -> None:
        """Give its memory back."""
        os.ftruncate(self.descriptor, 0)

    def close(self) -> None:
        """Unmap the memory in this process."""
        self._file.close()


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of some bytes at an offset."""
    view = memoryview(data)
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def read_at(descriptor: int, size: int, offset: int = 0) -> bytes:
    """Return the bytes from an offset on, fewer than asked for only where the file ends."""
    parts: list[bytes] = []
    while size and (part := os.pread(descriptor, size, offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _reserve(descriptor: int, bytes: int) -> None:
    reserve = getattr(os, "posix_fallocate", None)  # macOS has none
    if reserve is None:
        os.ftruncate(descriptor, bytes)
    else:
        reserve(descriptor, 0, bytes)
