"""Writes a trained model as an ordinary Hugging Face folder, all at once or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, bfloat16, nn
from transformers import PreTrainedModel

from fedstrata.domain.ids import TensorName
from fedstrata.errors import ModelError, nearest
from fedstrata.files import new_folder
from fedstrata.models.folder_config import has_tokenizer, quiet
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.merging import FOLDER, merged, save_adapter

_COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
    "preprocessor_config.json",
    "processor_config.json",
)


WEIGHTS = "model.safetensors"


def save_model(
    loaded: LoadedModel,
    model_state: Mapping[TensorName, Tensor],
    folder: Path | str,
    *,
    card: str,
    tokenizer_files_from: Path | str | None = None,
) -> Path:
    """Write config, weights, card and tokenizer or processor files; plain ``from_pretrained`` reads them.

    The folder appears whole under its name, and replaces one that was there. A custom network, which has no
    configuration, gets weights and card alone. An adapter is merged into the weights, and is also written alone, to
    ``adapter/``, as ``peft`` reads it.

    Args:
        loaded: The model that was trained.
        model_state: Values by tensor name; what it leaves out is taken from the model.
        folder: Where to write.
        card: Text of ``README.md``.
        tokenizer_files_from: Folder whose tokenizer and processor files are copied.

    Raises:
        ModelError: A tensor name or shape is not the model's, or ``folder`` is a file.
    """
    target = Path(folder)
    state = full_state(loaded.model, model_state)
    if target.exists() and not target.is_dir():
        raise ModelError(f"cannot write the model to '{target}': it is a file")
    if loaded.form.base_dtype == "bf16":  # what is added to it is not rounded, and every reader takes float32
        state = {name: value.float() if value.dtype is bfloat16 else value for name, value in state.items()}
    adapter = loaded.form.adapter
    plain = state if adapter is None else merged(loaded.model, state)
    with new_folder(target, shared=True) as scratch:
        if isinstance(loaded.model, PreTrainedModel):
            with quiet():
                loaded.model.save_pretrained(scratch, state_dict=plain)
            if loaded.form.base_dtype == "bf16":
                _update(scratch / "config.json", {"dtype": "float32"})
        else:
            tensors = {name: value.detach().cpu().contiguous().clone() for name, value in plain.items()}
            save_file(tensors, scratch / WEIGHTS, metadata={"format": "pt"})
        if adapter is not None:
            save_adapter(loaded, adapter, state, scratch / FOLDER)
        (scratch / "README.md").write_text(card, encoding="utf-8")
        if tokenizer_files_from is not None:
            _copy_companions(Path(tokenizer_files_from), scratch)
            _set_tokenizer(scratch, loaded.tokenizer)
    return target


def rehearse(loaded: LoadedModel) -> None:
    """Write all of the folder but the weights, somewhere else, so that a model that cannot be written is known early.

    Raises:
        ModelError: The model's own code refuses to write it.

    Example:
        See ``tests/models/test_export.py``.
    """
    if not isinstance(loaded.model, PreTrainedModel):
        return
    with TemporaryDirectory() as scratch:
        try:
            with quiet():
                loaded.model.save_pretrained(scratch, state_dict={})
        except (OSError, SafetensorError):
            return  # the disk for temporary files is not the one that the model is written to
        except Exception as error:  # whatever transformers raises as it writes
            raise ModelError(
                f"the model of '{loaded.source}' could not be written once it is trained: {sentence(error)}; mend its "
                "config.json or generation_config.json"
            ) from error


def save_weights(values: Mapping[TensorName, Tensor], folder: Path) -> Path:
    """Write tensors alone, to a file of a folder that appears whole, and return the file.

    Example:
        See ``tests/models/test_export.py``.
    """
    with new_folder(folder) as scratch:
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in values.items()}
        save_file(plain, scratch / WEIGHTS, metadata={"format": "pt"})
    return folder / WEIGHTS


def sentence(error: Exception) -> str:
    r"""Return a library's message in one line.

    Example:
        >>> sentence(ValueError("no good:\n  too long"))
        'ValueError: no good: too long'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def full_state(model: nn.Module, values: Mapping[TensorName, Tensor]) -> dict[str, Tensor]:
    """Return the model's state dict with these values in it, under every name that a tied tensor goes by.

    Raises:
        ModelError: A name or shape is not the model's.

    Example:
        >>> import torch
        >>> net = nn.Linear(2, 1, bias=False)
        >>> full_state(net, {TensorName("weight"): torch.ones(1, 2)})["weight"].tolist()
        [[1.0, 1.0]]
    """
    state: dict[str, Tensor] = dict(model.state_dict())
    aliases: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(name)
    groups = {name: names for names in aliases.values() for name in names}
    for name, value in values.items():
        if name not in state:
            raise ModelError(f"the model has no tensor '{name}'; {nearest(name, state)}")
        if value.shape != state[name].shape:
            raise ModelError(f"tensor '{name}' is {list(value.shape)}; the model's is {list(state[name].shape)}")
        for alias in groups.get(name, [name]):
            state[alias] = value.detach()
    return state


def _copy_companions(source: Path, target: Path) -> None:
    for pattern in _COMPANIONS:
        for file in sorted(source.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, target / file.name)


def _set_tokenizer(folder: Path, settings: Mapping[str, str]) -> None:
    """Write settings of the tokenizer where a reader looks for them."""
    if not settings or not has_tokenizer(folder):
        return
    _update(folder / "tokenizer_config.json", settings)
    if "pad_token" in settings and (folder / "special_tokens_map.json").is_file():
        _update(folder / "special_tokens_map.json", {"pad_token": settings["pad_token"]})


def _update(file: Path, settings: Mapping[str, str]) -> None:
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**known, **settings}, indent=2, ensure_ascii=False), encoding="utf-8")
