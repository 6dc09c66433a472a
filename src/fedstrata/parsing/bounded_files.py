"""Files and texts that may be anything: as much of them as is allowed, and an error in words for the rest."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MEBIBYTE = 2**20


class UnreadableError(ValueError):
    """A text is too large, too deep or no text; the message names neither a file nor what to do."""


def read_text(path: Path, *, most: int, pipes: bool = False) -> str:
    """Return a file's text.

    Args:
        path: The file.
        most: Bytes that it may have.
        pipes: Whether it may be something else than a plain file, such as the pipe of ``<(command)``, which may keep
            the caller waiting.

    Raises:
        OSError: It cannot be opened or read.
        UnreadableError: It is larger, no plain file, or not in UTF-8.
    """
    try:
        return read_bytes(path, most=most, pipes=pipes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError("it is not a text in UTF-8") from error


def read_bytes(path: Path, *, most: int | None = None, pipes: bool = False) -> bytes:
    """Return a file's bytes, by default however many they are; see ``read_text``."""
    flags = os.O_RDONLY | os.O_CLOEXEC | (0 if pipes else os.O_NONBLOCK)  # or a pipe without a writer blocks for ever
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not pipes and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnreadableError("it is not a plain file")
        data = file.read() if most is None else file.read(most + 1)
    if most is not None and len(data) > most:
        raise UnreadableError(f"it is larger than {most / MEBIBYTE:g} MiB")
    return data


def read_part(path: Path, start: int, length: int) -> bytes:
    """Return a part of a file, or what of it there is; a length that another file asks for takes no memory of its own.

    Raises:
        OSError: It cannot be opened or read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if start >= size:
            return b""
        file.seek(start)
        return file.read(min(length, size - start))


def is_text(text: str) -> bool:
    r"""Return whether a text can be written: it has no half of a surrogate pair, as the escape ``\ud800`` makes it.

    Example:
        >>> is_text("caf\u00e9"), is_text("\ud800")
        (True, False)
    """
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
