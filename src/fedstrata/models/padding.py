"""One token that pads: for the model, for its tokenizer, in training and in what is exported.

Texts of a batch are padded to one length, on the right. A causal classifier reads its answer at the last token that is
not ``config.pad_token_id``, so a tokenizer that pads with another one moves the answer onto the padding; other models
are told by the attention mask, and some count positions from ``config.pad_token_id``. So the two are made equal before
the first step, and the exported tokenizer says what training did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers

from fedstrata.errors import ModelError
from fedstrata.models.folder_config import has_tokenizer, load_config, load_tokenizer

SIDE = "right"


@dataclass(frozen=True, slots=True)
class Padding:
    """What pads.

    Attributes:
        token: The tokenizer's pad token.
        id: Its id.
        model: ``pad_token_id`` of the model's configuration.
        tokenizer: Settings in which the tokenizer differs from the folder's.
        note: What was changed, as one sentence.
    """

    token: str
    id: int
    model: int
    tokenizer: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


def padding_of(folder: Path) -> Padding | None:
    """Return what pads the texts of a model folder; ``None`` if it has no tokenizer and the model names a token.

    Raises:
        ModelError: There is no token to pad with.

    Example:
        See ``tests/models/test_padding.py``.
    """
    config = load_config(folder)
    if not has_tokenizer(folder) and model_pad(config) is not None:
        return None
    return agreed(config, load_tokenizer(folder), folder)


def padded_tokenizer(folder: Path) -> tuple[Any, str | None]:
    """Return the tokenizer of a model folder, padding as training will, and a note of what was changed.

    Raises:
        ModelError: The folder has no tokenizer, or there is no token to pad with.

    Example:
        See ``tests/models/test_padding.py``.
    """
    tokenizer = load_tokenizer(folder)
    found = agreed(load_config(folder), tokenizer, folder)
    if "pad_token" in found.tokenizer:
        tokenizer.pad_token = found.token
    return tokenizer, found.note


def set_padding(config: Any, token: int) -> None:  # noqa: ANN401
    """Set the pad token of a configuration, in place."""
    config.get_text_config().pad_token_id = token
    config.pad_token_id = token


def model_pad(config: Any) -> int | None:  # noqa: ANN401
    """Return the pad token that a configuration names, or ``None`` if it is none of the vocabulary.

    Example:
        >>> model_pad(transformers.LlamaConfig(pad_token_id=-1)), model_pad(transformers.BertConfig(pad_token_id=3))
        (None, 3)
    """
    text = config.get_text_config()
    given, size = getattr(text, "pad_token_id", None), getattr(text, "vocab_size", None)
    return given if isinstance(given, int) and 0 <= given < (given + 1 if size is None else size) else None


def agreed(config: Any, tokenizer: Any, folder: Path) -> Padding:  # noqa: ANN401
    """Return the token that both pad with.

    Where both name one, a causal model follows its tokenizer, since it only looks where padding begins; any other model
    keeps its own, since it may count positions from it, if that token is special to the tokenizer.

    Args:
        config: The model's configuration, as the folder has it.
        tokenizer: Its tokenizer, as the folder has it.
        folder: Where both come from, for messages.

    Raises:
        ModelError: There is no token to pad with.

    Example:
        See ``tests/models/test_padding.py``.
    """
    own, size = model_pad(config), getattr(config.get_text_config(), "vocab_size", None)
    theirs = _known(tokenizer.pad_token_id, size)
    special = own if own in tokenizer.all_special_ids else None
    end = _known(tokenizer.eos_token_id, size)
    order = (theirs, special, end) if _follows(config) else (special, theirs, end)
    token = next((found for found in order if found is not None), None)
    if token is None:
        raise ModelError(
            f"neither config.json nor the tokenizer of '{folder}' names a padding token of the vocabulary, which "
            'batches need; add "pad_token": "<pad>" with a token that it has to its tokenizer_config.json'
        )
    model = token if own is None or _follows(config) else own
    word = str(tokenizer.convert_ids_to_tokens(token))
    changed = {} if tokenizer.pad_token_id == token else {"pad_token": word}
    sides = {} if tokenizer.padding_side == SIDE else {"padding_side": SIDE}
    return Padding(word, token, model, {**changed, **sides}, _note(config, tokenizer, word, token, model))


def _known(token: int | None, size: int | None) -> int | None:
    """Return a token if the model has an embedding of it."""
    return token if token is not None and (size is None or 0 <= token < size) else None


def _follows(config: Any) -> bool:  # noqa: ANN401
    """Return whether a model looks for the padding in its input, and at its own pad token for nothing else."""
    causal = type(config) in transformers.AutoModelForCausalLM._model_mapping
    return causal and type(config) not in transformers.AutoModelForMaskedLM._model_mapping


def _note(config: Any, tokenizer: Any, word: str, token: int, model: int) -> str | None:  # noqa: ANN401
    had, said = tokenizer.pad_token, getattr(config.get_text_config(), "pad_token_id", None)
    parts = []
    if tokenizer.pad_token_id != token:
        was = f"which has '{had}'" if had is not None else "which has no pad token"
        parts.append(f"the tokenizer, {was}, pads with '{word}'")
    if said is not None and said != model:
        parts.append(f"the model's pad_token_id, {said}, is {model} as the tokenizer's")
    return " and ".join(parts) or None
