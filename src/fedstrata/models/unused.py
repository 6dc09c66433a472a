"""Blocks that a classifier of ``transformers`` has and never computes its logits with: freezing them costs nothing.

A few classes classify by the mean over all patches and yet hold what only other uses of the tower need: the norm after
the class token, or the pooling head. Left to be trained by everyone, those weights would be sent in every round and
would move by weight decay alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from fedstrata.domain.layer_language import LayerSpec, counts_layers, parse_blocks, split_terms
from fedstrata.domain.layers import Layer, LayerMap, Role

UNUSED: Mapping[str, str] = {
    "CLIPForImageClassification": "vision_model.post_layernorm",
    "MetaClip2ForImageClassification": "vision_model.post_layernorm",
    "SiglipForImageClassification": "vision_model.head",
}
"""The block that is not used, by class."""


def without_unused(model: nn.Module, found: LayerMap, always: LayerSpec) -> LayerMap:
    """Return the blocks of a classifier with those frozen that its logits do not depend on.

    Args:
        model: The classifier.
        found: Its blocks, as ``partition`` gives them.
        always: The user's terms for what everyone trains; a block that they name stays as they want it.

    Example:
        See ``tests/models/test_unused.py``.
    """
    block = always_block(found, UNUSED.get(type(model).__name__))
    return found if block is None or is_named(block, found, always) else frozen(block, found)


def always_block(found: LayerMap, name: str | None) -> Layer | None:
    """Return the block of this name that everyone trains, or ``None``."""
    return next((block for block in found.always if block.name == name), None)


def is_named(block: Layer, found: LayerMap, always: LayerSpec) -> bool:
    """Return whether the user's terms for what everyone trains name a block that is no layer."""
    return block in parse_blocks([term for term in split_terms(always) if not counts_layers(term)], found)


def frozen(block: Layer, found: LayerMap) -> LayerMap:
    """Return the blocks with one that everyone would train frozen."""
    others = tuple(other for other in found.always if other is not block)
    return LayerMap(found.layers, others, (*found.never, replace(block, role=Role.NEVER)))
