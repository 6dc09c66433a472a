"""What a causal language model needs that a classifier does not: one direction, and a head that stays as it is.

The head holds as many numbers as the embeddings, and often the same ones. If it were trained by everyone it would be
most of what is sent, so it is frozen unless the user's ``always`` names it; and where it is tied to the embeddings they
have to be named instead, since training the one trains the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from torch import nn

from fedstrata.domain.layer_language import LayerSpec
from fedstrata.domain.layers import LayerMap
from fedstrata.errors import LayerError, ModelError
from fedstrata.models.objective import output_head
from fedstrata.models.unused import always_block, frozen, is_named


def check_causal(config: Any, folder: Path, head: str) -> None:  # noqa: ANN401
    """Refuse what cannot score continuations.

    Args:
        config: The folder's configuration.
        folder: The model's folder.
        head: What the user wants of the head.

    Raises:
        ModelError: The model reads texts in both directions, or a new head is asked for.

    Example:
        See ``tests/models/test_causal_head.py``.
    """
    if head == "new":
        raise ModelError(
            "multiple-choice scores texts with the language-model head that the folder has; leave model.head out"
        )
    if type(config) in transformers.AutoModelForMaskedLM._model_mapping and not getattr(config, "is_decoder", False):
        raise ModelError(
            f"'{folder}' holds a {config.model_type} model, which sees the tokens after the one that it predicts; "
            "multiple-choice needs a causal model, such as a llama, qwen2 or gpt2"
        )


def with_frozen_head(model: nn.Module, found: LayerMap, always: LayerSpec) -> LayerMap:
    """Return the blocks of a causal model with its head frozen, unless ``always`` names it.

    Args:
        model: The causal model.
        found: Its blocks, as ``partition`` gives them.
        always: The user's terms for what everyone trains.

    Raises:
        LayerError: ``always`` names a head that is tied to the embeddings, and owns no weight of its own.
        ModelError: The model has no head.

    Example:
        See ``tests/models/test_causal_head.py``.
    """
    head = output_head(model)
    name = next(path for path, module in model.named_modules() if module is head)
    block = always_block(found, name)
    if block is None:
        return found
    if not is_named(block, found, always):
        return frozen(block, found)
    if block.tied_with and not block.tensors:
        raise LayerError(
            f"'{name}' shares its weights with '{block.tied_with[0]}'; name '{block.tied_with[0]}' in 'always' to "
            f"train both, or leave '{name}' out"
        )
    return found
