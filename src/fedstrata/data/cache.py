"""Prepared tensors on disk: computed once per content, stored as safetensors beside a JSON manifest."""

from __future__ import annotations

import errno
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fedstrata.errors import DataError
from fedstrata.files import private_file, private_folder, write_private
from fedstrata.parsing.json_text import read_json

log = logging.getLogger(__name__)

UNUSABLE = "the cache %s cannot be used (%s): rows are prepared anew each time; FEDSTRATA_CACHE names another"
_OF_THE_FOLDER = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
VERSION = 2
"""Raised when prepared tensors change meaning, so that old files are not read."""


def cached(
    folder: Path, key: Mapping[str, object], write: Callable[[Path], Mapping[str, object]]
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return the tensors and facts of a key, writing them first if they are not there.

    Args:
        folder: Made if missing.
        key: Everything the tensors depend on, as JSON values.
        write: Writes the tensors to a safetensors file and returns facts about them, as JSON values.

    Example:
        See ``tests/data/test_cache.py``.
    """
    text = json.dumps({"version": VERSION, **key}, sort_keys=True)
    stem = sha256(text.encode()).hexdigest()[:32]
    tensors, manifest = folder / f"{stem}.safetensors", folder / f"{stem}.json"
    found = _found(tensors, manifest)
    if found is not None:
        return found
    draft = folder / f".{stem}.{uuid.uuid4().hex}"
    try:
        _begin(draft)
    except OSError as error:
        return _elsewhere(folder, write, error.strerror or str(error))
    try:
        facts = dict(write(draft))
    except (OSError, SafetensorError) as error:
        draft.unlink(missing_ok=True)
        if (why := _no_room(error)) is None:
            raise
        return _elsewhere(folder, write, why)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return _kept(draft, tensors, manifest, json.dumps({"key": json.loads(text), "facts": facts}, indent=1)), facts


def _kept(draft: Path, tensors: Path, manifest: Path, said: str) -> dict[str, Tensor]:
    """Give a draft its name, and return its tensors, also where it cannot be kept after all."""
    try:
        draft.chmod(0o600)  # rows: a library wrote them as the umask has it, in a folder that may be older
        draft.replace(tensors)
        write_private(draft, said)
        draft.replace(manifest)
    except OSError as error:
        log.warning(UNUSABLE, tensors.parent, error.strerror)
    try:
        found: dict[str, Tensor] = load_file(tensors if tensors.is_file() else draft)
        return found
    finally:
        draft.unlink(missing_ok=True)


def _found(tensors: Path, manifest: Path) -> tuple[dict[str, Tensor], dict[str, object]] | None:
    """Return an entry; one that is damaged, or is something else, is worth nothing and is written again."""
    try:
        if not (tensors.is_file() and manifest.is_file()):
            return None
        facts = read_json(manifest)["facts"]
        return (load_file(tensors), facts) if isinstance(facts, dict) else None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def _begin(draft: Path) -> None:
    """Make the folder and an empty file, which tells whether anything can be kept here at all."""
    private_folder(draft.parent)
    draft.touch(mode=0o600, exist_ok=False)


def _no_room(error: Exception) -> str | None:
    """Return what the system says of an error that the folder is to blame for, and not the rows."""
    for number in _OF_THE_FOLDER:
        said = os.strerror(number)
        if (isinstance(error, OSError) and error.errno == number) or said in str(error):
            return said
    return None


def fault_of(folder: Path, error: Exception) -> str | None:
    """Return what is wrong with a folder if an error of another library may come of that, or ``None``."""
    cause: BaseException | None = error
    while isinstance(cause, Exception):
        if (why := _no_room(cause)) is not None:
            return why
        cause = cause.__cause__ or cause.__context__
    probe = folder / f".{uuid.uuid4().hex}"
    try:
        _begin(probe)
        probe.unlink()
    except OSError as unusable:
        return unusable.strerror or str(unusable)
    return None


def _elsewhere(
    folder: Path, write: Callable[[Path], Mapping[str, object]], why: str
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Prepare the tensors without keeping them."""
    log.warning(UNUSABLE, folder, why)
    try:
        with TemporaryDirectory(prefix="fedstrata-rows-") as place:
            file = Path(place) / "rows.safetensors"
            facts = dict(write(file))
            return load_file(file), facts
    except (OSError, SafetensorError) as error:
        said = _no_room(error)
        if said is None:
            raise
        raise DataError(
            f"there is no room to prepare the rows: neither in the cache {folder} ({why}) nor in the folder for "
            f"temporary files ({said}); make room, or name another folder with FEDSTRATA_CACHE"
        ) from error


def write_float32(path: Path, name: str, shape: tuple[int, ...], batches: Iterable[Tensor]) -> None:
    """Write one float32 tensor to a safetensors file, batch by batch, so that it never has to fit in memory.

    Args:
        path: The file to write.
        name: Key of the tensor.
        shape: ``[rows, ...]``; the batches together have this many rows.
        batches: Float32, each ``[batch, ...]``.
    """
    size = int(np.prod(shape)) * 4
    header = json.dumps({name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)
    with private_file(path).open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for batch in batches:
            file.write(np.ascontiguousarray(batch.numpy(), dtype="<f4").tobytes())
