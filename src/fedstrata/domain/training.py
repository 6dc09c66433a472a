"""What a client trains and measures by: the keys of a configuration's ``train`` and ``probe`` that requests carry.

A key stands here once, with what a configuration may say of it (``Field``), what a site takes of it whatever machine
it comes from (``Within``), and whether it may change while a run lasts (``ANEW``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Field

ANEW = "read anew in every round"
"""Marks a key that may change while a run lasts; one that decides how rows are cut into steps must not have it."""
MOST_STEPS = 1_000_000
"""Local steps, or epochs, of one update: their batches are listed, so they have an end."""
MOST_BATCH = 2**31 - 1
MOST_RATE = 1000.0
MOMENTS = {"sgd": 0, "momentum": 1, "adamw": 2}
"""Copies of a trained tensor that an optimizer remembers."""


@dataclass(frozen=True, slots=True)
class Within:
    """Numbers that no honest run leaves, from ``least`` to ``most``; the ends count."""

    least: float
    most: float


Precision = Literal["auto", "fp32", "bf16", "fp16"]
Dropout = Literal["all", "trained"]
"""Where dropout is on in training: everywhere, or from the lowest trained layer on."""
Held = Literal["fp32", "bf16", "fp16"]
"""How outputs of the frozen prefix are kept; ``fp32`` as they were computed."""
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), Within(0, MOST_RATE), ANEW]
Passes = Annotated[int, Field(ge=1, le=MOST_STEPS), Within(1, MOST_STEPS)]
Rows = Annotated[int, Field(ge=0, le=MOST_BATCH), Within(0, MOST_BATCH)]


@dataclass(frozen=True)
class Training:
    """How clients train, the same for every client of a run; ``train.py`` and the trainers read it.

    Attributes:
        steps: Local steps tau; exclusive with ``epochs``.
        epochs: Passes over the client's rows; exclusive with ``steps``.
        batch_size: Rows per step; 0 means all rows (full batch).
        optimizer: ``sgd`` (the paper), ``momentum`` or ``adamw``.
        lr: Learning rate.
        momentum: Coefficient for ``momentum``.
        weight_decay: Decoupled for ``adamw``, L2 otherwise.
        clip_norm: Clip the global gradient norm to this; ``None`` for no clipping.
        precision: ``fp32``, ``bf16``, ``fp16`` (autocast), or ``auto``.
        dropout: Where dropout is on: in ``all`` layers, or from the lowest ``trained`` one on.
    """

    steps: Passes | None = None
    epochs: Passes | None = None
    batch_size: Rows = 32
    optimizer: Literal["sgd", "momentum", "adamw"] = "adamw"
    lr: Rate = 5e-4
    momentum: Annotated[float, Field(ge=0, lt=1), Within(0, 0.9999), ANEW] = 0.9
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False), Within(0, 10), ANEW] = 0.0
    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False), Within(1e-12, 1e12), ANEW] | None = None
    precision: Precision = "auto"
    dropout: Dropout = "all"


@dataclass(frozen=True)
class Probing:
    """How clients measure their gradient statistics.

    Attributes:
        batches: Number of mini-batches; 0 means every row of the client.
        batch_size: Rows per mini-batch.
    """

    batches: Rows = 1
    batch_size: Annotated[int, Field(ge=1, le=MOST_BATCH), Within(1, MOST_BATCH)] = 32


def marked(record: type, mark: object) -> tuple[str, ...]:
    """Return the keys of a record that have a mark.

    Example:
        >>> marked(Training, ANEW)
        ('lr', 'momentum', 'weight_decay', 'clip_norm')
    """
    return tuple(key for key, types in keys_of(record).items() if any(mark in marks for _, marks in types))


@cache
def keys_of(record: type) -> Mapping[str, list[tuple[Any, tuple[object, ...]]]]:
    """Return the keys of a record, each with the types that it may have and their marks.

    Example:
        >>> keys_of(Probing)["batches"][0][0]
        <class 'int'>
    """
    return {key: types_of(hint) for key, hint in get_type_hints(record, include_extras=True).items()}


def types_of(hint: Any) -> list[tuple[Any, tuple[object, ...]]]:  # noqa: ANN401  whatever stands behind a key
    """Return the types that a key may have, each with its marks.

    Example:
        >>> types_of(Annotated[int, "even"] | None)
        [(<class 'int'>, ('even',)), (<class 'NoneType'>, ())]
    """
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return [(part.__origin__, part.__metadata__) if hasattr(part, "__metadata__") else (part, ()) for part in parts]
