"""Imports of a user's own modules, from a folder that is on the path only while they are looked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import invalidate_caches
from pathlib import Path


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let ``module:name`` name files of this folder inside the block."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(entry)
