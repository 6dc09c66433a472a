"""Errors of the machine that are no bugs: a file or folder that cannot be reached, and memory that has run out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from fedstrata.errors import ConfigError, StorageError, shortened
from fedstrata.files import too_long

_NAMES = {
    errno.EACCES: "have its owner let you in, or name another one",
    errno.EPERM: "have its owner let you in, or name another one",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ELOOP: "its links lead in a circle; name what they should lead to",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "it is a file; name a folder",
}
"""What to do where the name, or the rights of what it names, are wrong."""
_MACHINE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "make room, or raise the limit ('ulimit -f' shows one of this shell)",
    errno.EROFS: "name a folder that can be written to",
    errno.EIO: "look at the disk",
    errno.EMFILE: "raise the limit of open files ('ulimit -n' shows it)",
    errno.ENFILE: "end programs that hold many files open",
}
"""What to do where the machine does not let it be."""
_SAYINGS = ("cannot allocate memory", "can't allocate memory", "out of memory", "failed to map segment")
"""What libraries say whose errors have no type of their own."""


def out_of_reach(error: BaseException) -> tuple[str, int] | None:
    """Return a sentence and an exit code for an error of the system about a file or folder, or ``None``.

    Example:
        >>> out_of_reach(PermissionError(errno.EACCES, "Permission denied", "rows.csv"))
        ('rows.csv cannot be used: Permission denied; have its owner let you in, or name another one', 2)
        >>> out_of_reach(FileNotFoundError(errno.ENOENT, "No such file or directory", "x"))
    """
    if not isinstance(error, OSError) or not isinstance(error.filename, str | bytes):
        return None
    code = ConfigError.exit_code if error.errno in _NAMES else StorageError.exit_code
    advice = {**_NAMES, **_MACHINE}.get(error.errno or 0)
    if advice is None:
        return None
    path = os.fsdecode(error.filename)
    if error.errno == errno.ENAMETOOLONG:
        return f"{too_long(Path(path)) or shortened(path)}; {advice}", code
    return f"{path} cannot be used: {error.strerror}; {advice}", code


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error says that memory has run out, of the machine or of a GPU, or one that led to it.

    Example:
        >>> out_of_memory(MemoryError()), out_of_memory(OSError(12, "x")), out_of_memory(ValueError("out of memory"))
        (True, True, False)
    """
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, RuntimeError | ImportError | OSError):
            said = str(error).lower()
            if any(saying in said for saying in _SAYINGS):
                return True
        error = error.__cause__ or error.__context__
    return False
