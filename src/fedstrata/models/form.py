"""What is said of any network: which blocks are its layers, what is trained of them, and how the rest is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from fedstrata.parsing.section import Count, LayerTerms, Positive

Task = Literal["image-classification", "text-classification", "multiple-choice"]
Head = Literal["auto", "keep", "new"]
"""Whether the folder's head is kept, where a classifier has one."""
Units = Literal["blocks", "halves"]
"""What a layer is."""
Base = Literal["fp32", "bf16"]
"""How frozen blocks are held."""
_Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


@dataclass(frozen=True)
class Lora:
    """A LoRA adapter for every layer (``models/lora.py``): low-rank matrices beside every linear module.

    Attributes:
        rank: Rank of each matrix product.
        alpha: The product counts ``alpha / rank`` times.
        dropout: Probability, on the product's input, in training.
        targets: Names of the linear modules to adapt, or endings of their paths; ``auto`` is all of a layer.
    """

    rank: Count = 8
    alpha: Positive = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["auto"] | _Names = "auto"


@dataclass(frozen=True)
class Form:
    """How a network is divided into layers and held; beside its path, all that a configuration says of a model.

    Attributes:
        candidates: Layers that clients may select, in the layer language; the others are frozen.
        always: More blocks to train by everyone, beyond the default.
        never: More blocks to freeze, beyond the default.
        blocks: Where the blocks are, for networks whose are not found.
        units: Whether a layer is a block, or its attention half or its MLP half.
        adapter: What to train in the place of the layers' weights.
        base_dtype: How what nobody trains is held: ``bf16`` is half the bytes, and products are then made in it.
        checkpointing: Whether layers keep their input alone and are computed again in the backward pass.
    """

    candidates: LayerTerms = "all"
    always: LayerTerms = ()
    never: LayerTerms = ()
    blocks: str | tuple[str, ...] | None = None
    units: Units = "blocks"
    adapter: Lora | None = None
    base_dtype: Base = "fp32"
    checkpointing: bool = False


PLAIN = Form()
"""Every block is a layer, and its weights are trained."""
