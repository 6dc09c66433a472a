"""Layers that were sent once: on disk under their content hash, so that a worker that was started anew has them.

It is a cache and nothing more: whatever is damaged, deleted or finds no space costs a transfer, never a round. Several
processes may use one.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from time import time
from typing import NamedTuple

from fedstrata.files import private_folder, write_private

log = logging.getLogger(__name__)

_HASH = re.compile(r"[0-9a-f]{64}")
_ENDING = ".safetensors"
_DRAFT_AGE = 3600.0  # seconds after which a file that somebody began to write is nobody's any more


class _Entry(NamedTuple):
    used: float
    size: int
    path: Path


class LayerCache:
    """Blobs by the content hash of their layer, never more than so many bytes of them.

    Args:
        folder: Where; it is made on first use.
        limit: Bytes, at most; what was used least recently goes first.

    Example:
        >>> import tempfile
        >>> cache = LayerCache(Path(tempfile.mkdtemp()), 100)
        >>> cache.put("a" * 64, b"x" * 60)
        >>> cache.put("b" * 64, b"y" * 60)
        >>> cache.get("a" * 64), cache.get("b" * 64)[:2]
        (None, b'yy')
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._complained = False

    def hashes(self) -> frozenset[str]:
        """Return the hashes of all layers that lie there, whether or not they are sound."""
        return frozenset(entry.path.name.removesuffix(_ENDING) for entry in self._entries())

    def get(self, digest: str) -> bytes | None:
        """Return the blob under a hash, if there is one; the caller checks it against the hash."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # it then seems to have been used a little earlier
            os.utime(path)
        return data

    def drop(self, digest: str) -> None:
        """Delete a blob that is not what its hash says."""
        log.warning("the layer %s in the cache is damaged and is deleted; it will be sent again", digest[:12])
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)

    def put(self, digest: str, blob: bytes, needed: Collection[str] = ()) -> None:
        """Keep a blob, if there is room for it or can be made.

        Args:
            digest: Content hash of its layer.
            blob: The bytes.
            needed: Hashes that are wanted next: they go last.
        """
        path = self._path(digest)
        if len(blob) > self._limit or path.exists():
            return
        draft = self._folder / f"{secrets.token_hex(8)}.draft"
        try:
            private_folder(self._folder)
            self._make_room(len(blob), needed)
            write_private(draft, blob)
            draft.replace(path)
        except OSError as error:
            self._complain(error)
            with suppress(OSError):
                draft.unlink()

    def _make_room(self, size: int, needed: Collection[str]) -> None:
        entries = list(self._entries())
        excess = sum(entry.size for entry in entries) + size - self._limit
        for entry in sorted(entries, key=lambda e: (e.path.name.removesuffix(_ENDING) in needed, e.used)):
            if excess <= 0:
                break
            entry.path.unlink(missing_ok=True)
            excess -= entry.size
        for draft in self._folder.glob("*.draft"):
            if _age(draft) > _DRAFT_AGE:
                draft.unlink(missing_ok=True)

    def _entries(self) -> Iterator[_Entry]:
        for path in self._folder.glob(f"*{_ENDING}"):
            if _HASH.fullmatch(path.name.removesuffix(_ENDING)):
                try:
                    found = path.stat()
                except OSError:  # another process was faster
                    continue
                yield _Entry(found.st_mtime, found.st_size, path)

    def _path(self, digest: str) -> Path:
        if not _HASH.fullmatch(digest):
            raise ValueError(f"{digest[:20]!r} is no content hash")
        return self._folder / f"{digest}{_ENDING}"

    def _complain(self, error: OSError) -> None:
        """Say once that the cache does not work as it should."""
        if not self._complained:
            self._complained = True
            said = "the layer cache %s cannot be written (%s); layers are sent again instead"
            log.warning(said, self._folder, error.strerror or error)


def _age(path: Path) -> float:
    try:
        return time() - path.stat().st_mtime
    except OSError:
        return 0.0
