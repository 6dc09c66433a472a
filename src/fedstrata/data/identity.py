"""What a tokenizer or an image processor is, as a hash of all that it would be saved as, and not of a list of parts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fedstrata.data.quiet import quiet
from fedstrata.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OF_THE_LAST_CALL = ("truncation", "padding")
"""What a saved ``tokenizer.json`` keeps of the last call; every call says both anew."""


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of everything that a tokenizer's ids depend on: its saved files, its settings, the libraries.

    Raises:
        DataError: The folder for temporary files has no room.
        ModelError: It cannot be saved.

    Example:
        See ``tests/data/test_identity.py``.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with quiet():
                tokenizer.save_pretrained(folder)
        except OSError as error:
            raise DataError(
                f"the model's tokenizer cannot be looked at in {tempfile.gettempdir()}: {error.strerror or error}; make"
                " room, or name another folder with TMPDIR"
            ) from error
        except Exception as error:  # tokenizers raise whatever their writers raise
            cause = str(error).split("\n")[0]
            raise ModelError(f"the model's tokenizer cannot be saved, so a run could not export it: {cause}") from error
        files = {str(path.relative_to(folder)): _mark(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    return _hash(
        {"files": files, "settings": _settings(tokenizer), "class": _class(tokenizer)}, "tokenizers", "transformers"
    )


def processor_identity(processor: Any) -> str:  # noqa: ANN401  an image processor of transformers
    """Return a hash of everything that a processor's pixels depend on: all that it holds, and the libraries.

    Example:
        See ``tests/data/test_identity.py``.
    """
    held = {"saved": processor.to_dict(), "settings": _settings(processor), "class": _class(processor)}
    return _hash(held, "pillow", "transformers", "numpy")


def _mark(path: Path) -> str:
    data = path.read_bytes()
    if path.name == "tokenizer.json":
        state = json.loads(data)
        data = json.dumps({k: v for k, v in state.items() if k not in _OF_THE_LAST_CALL}, sort_keys=True).encode()
    return sha256(data).hexdigest()


def _settings(thing: object) -> dict[str, object]:
    """Return the plain values that an object holds, such as ``truncation_side``; not where it was read from."""
    return {
        name: value
        for name, value in vars(thing).items()
        if isinstance(value, str | int | float | bool | None) and not name.endswith(("_file", "name_or_path"))
    }


def _class(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _hash(held: Mapping[str, object], *libraries: str) -> str:
    text = json.dumps({**held, "libraries": {name: version(name) for name in libraries}}, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()
