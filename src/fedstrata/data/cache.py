"""Prepared tensors on disk: computed once per content, stored as safetensors beside a JSON manifest."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fedstrata.files import private_file, private_folder, write_private

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
    if tensors.exists() and manifest.exists():
        try:
            return load_file(tensors), json.loads(manifest.read_text())["facts"]
        except (SafetensorError, ValueError, KeyError):
            pass  # a damaged cache entry is worth nothing: write it again
    private_folder(folder)
    draft = folder / f".{stem}.{uuid.uuid4().hex}"
    try:
        facts = dict(write(draft))
        draft.chmod(0o600)  # rows: a library wrote them as the umask has it, in a folder that may be older
        draft.replace(tensors)
        write_private(draft, json.dumps({"key": json.loads(text), "facts": facts}, indent=1))
        draft.replace(manifest)
    finally:
        draft.unlink(missing_ok=True)
    return load_file(tensors), facts


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
