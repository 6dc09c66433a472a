"""Locks between processes: held on an open file, so that the system releases them however their holder ends."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out there
    fcntl = None  # type: ignore[assignment]

_POLL = 0.02


class Lock:
    """A lock that processes which are forked from its holder hold with it.

    Args:
        path: The file, which is made and stays; or a folder that is there.
        within: Seconds that ``with`` waits for it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "lock"
        >>> with Lock(path, within=0):
        ...     Lock(path).take(within=0)
        False
    """

    def __init__(self, path: Path, *, within: float = 0.0) -> None:
        self._path, self._within = path, within
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether it is held through this object."""
        return self._descriptor is not None

    @property
    def displaced(self) -> bool:
        """Whether its file no longer lies at its path: it was deleted or moved, and the lock excludes nobody.

        Raises:
            OSError: The path cannot be looked at.
        """
        if self._descriptor is None:
            return False
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return True

    def take(self, *, within: float) -> bool:
        """Wait for the lock for so many seconds, and return whether it is held now."""
        descriptor = os.open(self._path, os.O_RDONLY if self._path.is_dir() else os.O_RDWR | os.O_CREAT, 0o600)
        end = monotonic() + within
        while True:
            with suppress(BlockingIOError):
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._descriptor = descriptor
                return True
            if monotonic() >= end:
                os.close(descriptor)
                return False
            sleep(_POLL)

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            TimeoutError: Somebody else holds it for too long.
        """
        if not self.take(within=self._within):
            raise TimeoutError(f"{self._path} is locked by another process")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self.release()
