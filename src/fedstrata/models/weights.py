"""Which files a model's weights are read from: plain safetensors inside its folder, and nothing else.

``transformers`` reads whatever the index beside the weights names, pickles included, and puts an adapter that lies in
the same folder into the model; both are decided by files that came with the model. So they are looked at first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedstrata.errors import ModelError
from fedstrata.parsing.bounded_files import UnreadableError
from fedstrata.parsing.json_text import read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The names under which weights are looked for, in this order."""

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.bin.index.json")
_CONVERT = (
    "pickled weights are not read, since they can run code; convert them where you trust them, with "
    "AutoModel.from_pretrained(folder).save_pretrained(folder)"
)
_KERNELS = ("attn_implementation", "experts_implementation")


def check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are not safetensors of its own.

    Args:
        folder: A model folder.

    Raises:
        ModelError: There are no such weights, the index names something else, or an adapter lies beside them.

    Example:
        See ``tests/models/test_weights.py``.
    """
    check_no_adapter(folder)
    if (folder / SINGLE).is_file():
        _check_file(folder, SINGLE, where=f"'{folder / SINGLE}'")
    elif (folder / INDEX).is_file():
        for name in _shards(folder / INDEX):
            _check_file(folder, name, where=f"'{folder / INDEX}' names '{name}', which")
    else:
        found = sorted(p.name for pattern in _PICKLED for p in folder.glob(pattern))
        hint = f" (it has {found[0]}; {_CONVERT})" if found else ""
        raise ModelError(f"model folder '{folder}' has no {SINGLE}{hint}")


def check_no_adapter(folder: Path) -> None:
    """Refuse a folder with an adapter, which would be put into the model without a word.

    Raises:
        ModelError: It has an ``adapter_config.json``.
    """
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"model folder '{folder}' holds an adapter (adapter_config.json); give the folder of a whole model: merge "
            "the adapter into its base model with peft's merge_and_unload() and save_pretrained(), or move it elsewhere"
        )


def check_config(file: Path) -> None:
    """Refuse a configuration that names code or weights outside of what is read.

    Args:
        file: The folder's ``config.json``.

    Raises:
        ModelError: It names kernels of the hub, or weights under another name.
    """
    config = _json(file)
    if not isinstance(config, dict):
        raise ModelError(f"{file} holds {type(config).__name__} where a mapping is expected")
    for key, value in _settings(config):
        if key.strip("_").removesuffix("_internal") in _KERNELS and isinstance(value, str) and "/" in value:
            raise ModelError(f"{file} asks for '{value}' as {key}, which is code from the hub; remove the key")
        if key == "transformers_weights":
            raise ModelError(f"{file} names its weights '{value}'; rename the file to {SINGLE} and remove the key")


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of a configuration and of those inside it."""
    waiting = [config]
    while waiting:
        for key, value in waiting.pop().items():
            yield key, value
            if isinstance(value, dict):
                waiting.append(value)


def _shards(index: Path) -> list[str]:
    """Return the files that an index names, each once."""
    content = _json(index)
    named = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise ModelError(f"'{index}' has no weight_map from tensors to files; copy the model's own index there")
    return sorted(set(named.values()))


def _json(file: Path) -> Any:  # noqa: ANN401
    try:
        return read_json(file)
    except (OSError, UnreadableError) as error:
        raise ModelError(f"cannot read '{file}': {getattr(error, 'strerror', None) or error}") from error


def _check_file(folder: Path, name: str, *, where: str) -> None:
    if not name.endswith(".safetensors"):
        raise ModelError(f"{where} is no safetensors file; {_CONVERT}")
    if Path(name).name != name or "\\" in name:
        raise ModelError(f"{where} is not inside the folder; put the weights beside config.json")
    file = folder / name
    if not file.is_file():
        raise ModelError(f"{where} is missing; copy it there")
    if not _inside(file.resolve(), folder.resolve()):
        raise ModelError(f"{where} is a link to a file outside of the folder; copy the file there")


def _inside(file: Path, folder: Path) -> bool:
    """Return whether a file lies in a folder, or among the blobs of the hub's cache whose snapshot the folder is."""
    blobs = folder.parent.parent / "blobs" if folder.parent.name == "snapshots" else None
    return file.parent == folder or (blobs is not None and file.parent == blobs)
