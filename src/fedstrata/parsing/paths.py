"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from fedstrata.errors import ConfigError
from fedstrata.files import too_long


def expanded(text: str) -> Path:
    """Return a path with its ``~`` written out.

    Raises:
        ConfigError: It begins at the home of a user that does not exist, or it is too long.

    Example:
        >>> expanded("models/vit").as_posix()
        'models/vit'
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"'{text}': {str(error).rstrip('.')}; write the path out") from error
    reason = too_long(path)
    if reason is not None:
        raise ConfigError(reason)
    return path
