"""Files that are whole or absent: written under a temporary name, synced, renamed. Their owner's alone.

Whatever holds updates, weights, rows, keys or logs is made here: folders that their owner alone may enter, files that
their owner alone may read, under any umask. What is meant to be passed on (an exported model, a report, a table) is
made with ``shared=True`` and follows the umask; where it lies in a private folder, the folder decides.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from shlex import quote

from fedstrata.errors import FedstrataError, StorageError

LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes of a name and of a path; beyond them even the question whether a file is there is an error."""


def too_long(path: Path) -> str | None:
    """Return why no file can have a path, as the end of a sentence, or ``None`` where one can.

    Example:
        >>> too_long(Path("rows.csv")), too_long(Path("x" * 300))[-40:]
        (None, "...' is a name of 300 bytes; 255 at most")
    """
    for part in path.parts:
        if (size := len(os.fsencode(part))) > LONGEST_NAME:
            return f"'{part[:40]}...' is a name of {size} bytes; {LONGEST_NAME} at most"
    if (size := len(os.fsencode(path))) > LONGEST_PATH:
        return f"'{str(path)[:40]}...' is a path of {size} bytes; {LONGEST_PATH} at most"
    return None


def argument(path: Path | str) -> str:
    """Return a path as a shell takes it in a command that someone copies.

    Example:
        >>> argument("my runs/a"), argument("-a")
        ("'my runs/a'", './-a')
    """
    return quote(f"./{path}" if str(path).startswith("-") else str(path))


def private_file(path: Path) -> Path:
    """Make an empty file that its owner alone may read, and return it; one that is there stays as it is.

    Raises:
        OSError: It cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    return path


def private_folder(path: Path) -> Path:
    """Make a folder that its owner alone may enter, and return it; one that is there keeps its mode.

    Raises:
        OSError: It cannot be made, or is a file.
    """
    try:
        path.mkdir(mode=0o700, parents=True)
        path.chmod(0o700)  # a umask may take bits away from its owner
    except FileExistsError:
        if not path.is_dir():
            raise
    return path


def write_private(path: Path, data: str | bytes) -> None:
    """Write a file that its owner alone may read.

    Raises:
        OSError: It cannot be written.
    """
    with private_file(path).open("wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_atomic(path: Path, text: str, *, shared: bool = False) -> None:
    """Replace a file's text at once; readers see the old text or the new, never a part.

    Args:
        path: The file.
        text: What it will hold.
        shared: Whether the umask decides who may read it; else its owner alone may.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with (temporary if shared else private_file(temporary)).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def writing(place: Path, advice: str = "", *, refused: type[FedstrataError] = StorageError) -> Iterator[None]:
    """Raise an error that says so, and what to do, where a file or folder cannot be written."""
    try:
        yield
    except OSError as error:
        tail = f"; {advice}" if advice else ""
        raise refused(f"{place} cannot be written: {error.strerror or error}{tail}") from error


def append(path: Path, data: bytes, *, durable: bool) -> int:
    """Append bytes to a file, whole or not at all, and return where they begin.

    Args:
        path: The file; made if missing.
        data: What to append.
        durable: Whether to wait until not even a power failure can undo it.

    Raises:
        StorageError: They cannot be written, as on a full disk; the file is as it was.
    """
    with writing(path), private_file(path).open("ab", buffering=0) as file:
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
    return start


def _write_all(file: RawIOBase, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]


@contextmanager
def new_folder(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` if the block ends well, and vanishes if it does not.

    Args:
        path: The folder.
        shared: Whether the umask decides who may read what is in it; else its owner alone may.
    """
    temporary, old = (path.with_name(f".{path.name}.{ending}") for ending in ("tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    if shared:
        temporary.mkdir(parents=True)
    else:
        private_folder(temporary)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for file in temporary.iterdir():
        if not shared:
            file.chmod(0o700 if file.is_dir() else 0o600)  # libraries write as the umask has it
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
