"""Who may read what lies in a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask of this process for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def open_to_others(*folders: Path, but: str = "") -> list[str]:
    """Return what others than its owner may enter or read of folders, with its mode.

    Args:
        folders: They themselves, and all that is in them.
        but: Name of an entry of them that is meant to be passed on.
    """
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    passed = [path for folder in folders for path in (folder / but, *(folder / but).rglob("*")) if but]
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in found if path not in passed}
    return [f"{path} {mode:o}" for path, mode in modes.items() if mode & 0o077 and not path.is_socket()]
