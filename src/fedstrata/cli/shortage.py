"""Whether an error says that memory has run out: of the machine, a limit such as ``ulimit -v``, or a GPU."""

from __future__ import annotations

import errno

_SAYINGS = ("cannot allocate memory", "can't allocate memory", "out of memory", "failed to map segment")
"""What libraries say whose errors have no type of their own."""


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether it does, or one that led to it.

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
