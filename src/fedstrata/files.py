"""Files that are whole or absent: written under a temporary name, synced, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path

from fedstrata.errors import StorageError


def write_atomic(path: Path, text: str) -> None:
    """Replace a file's text at once; readers see the old text or the new, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def append(path: Path, data: bytes, *, durable: bool) -> int:
    """Append bytes to a file, whole or not at all, and return where they begin.

    Args:
        path: The file; made if missing.
        data: What to append.
        durable: Whether to wait until not even a power failure can undo it.

    Raises:
        StorageError: They cannot be written, as on a full disk; the file is as it was.
    """
    try:
        with path.open("ab", buffering=0) as file:
            start = file.tell()
            try:
                _write_all(file, data)
                if durable:
                    os.fsync(file.fileno())
                if durable and start == 0:
                    sync(path.parent)  # the file may be new, and then so is its name
            except OSError:
                os.truncate(path, start)
                raise
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    return start


def _write_all(file: RawIOBase, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` if the block ends well, and vanishes if it does not."""
    temporary, old = (path.with_name(f".{path.name}.{ending}") for ending in ("tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for file in temporary.iterdir():
        sync(file)
    sync(temporary)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    temporary.rename(path)
    sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync(path: Path) -> None:
    """Make a file's content, or the renames inside a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
