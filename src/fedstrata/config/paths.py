"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from fedstrata.errors import ConfigError

LONGEST = 255
"""Bytes of a file's name, on every usual file system."""


def expanded(text: str) -> Path:
    """Return a path with its ``~`` written out.

    Raises:
        ConfigError: It begins at the home of a user that does not exist, or a name in it is too long.

    Example:
        >>> expanded("models/vit").as_posix()
        'models/vit'
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"'{text}': {str(error).rstrip('.')}; write the path out") from error
    for part in path.parts:
        if len(part.encode()) > LONGEST:
            raise ConfigError(f"'{part[:40]}...' is a name of {len(part.encode())} bytes; {LONGEST} at most")
    return path
