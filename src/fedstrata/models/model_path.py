"""Where a model lies: a folder of the user's, or one that comes with fedstrata; told without ``transformers``."""

from __future__ import annotations

from pathlib import Path

from fedstrata.errors import ModelError, nearest
from fedstrata.files import too_long
from fedstrata.models.weights import check_config, check_no_adapter, check_weights

EMBEDDED = {"embedded:vit-digits": Path(__file__).parent / "assets" / "vit-digits"}
"""Models that come with fedstrata: a 6-block ViT pretrained on upright digits (``experiments/pretrain_digits.py``)."""


def model_folder(path: Path | str, *, weights: bool = True) -> Path:
    """Return the folder if it holds a model, with ``config.json`` and, if asked for, safetensors weights.

    Args:
        path: A folder, or the name of a model that comes with fedstrata, such as ``embedded:vit-digits``.
        weights: Whether the folder needs its weights.

    Raises:
        ModelError: It does not, with the nearest folder names.

    Example:
        >>> model_folder("no/such/model")
        Traceback (most recent call last):
        fedstrata.errors.ModelError: model folder 'no/such/model' does not exist, and neither does 'no/such'
    """
    folder = _embedded(str(path)) if str(path).startswith("embedded:") else Path(path)
    if reason := too_long(folder):
        raise ModelError(f"there is no such model folder: {reason}")
    if not folder.is_dir():
        raise ModelError(f"model folder '{folder}' {_missing(folder)}")
    if not (folder / "config.json").is_file():
        check_no_adapter(folder)
        found = sorted(p.parent.name for p in folder.glob("*/config.json"))
        hint = f"; {nearest('model', found)}" if found else ""
        raise ModelError(f"model folder '{folder}' has no config.json{hint}")
    check_config(folder / "config.json")
    if weights:
        check_weights(folder)
    return folder


def _embedded(name: str) -> Path:
    if name not in EMBEDDED:
        raise ModelError(f"no model '{name}' comes with fedstrata; {nearest(name, EMBEDDED)}")
    return EMBEDDED[name]


def _missing(folder: Path) -> str:
    if folder.exists():
        return "is a file; name the folder that holds config.json and model.safetensors"
    if not folder.parent.is_dir():
        return f"does not exist, and neither does '{folder.parent}'"
    beside = sorted(p.name for p in folder.parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    return f"does not exist; {nearest(folder.name, beside)}" if beside else "does not exist; its parent has no folders"


def is_custom(model: str) -> bool:
    r"""Return whether a model is named as ``module:function`` rather than as a folder.

    Example:
        >>> is_custom("nets:small"), is_custom("./models/bert"), is_custom(r"C:\models")
        (True, False, False)
    """
    module, colon, function = model.partition(":")
    return bool(colon) and function.isidentifier() and all(p.isidentifier() for p in module.split("."))
