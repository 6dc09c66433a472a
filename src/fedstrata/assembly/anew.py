"""Keys that every round reads anew, so that they may change while a run lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from fedstrata.config.schema import TrainSection
from fedstrata.domain import training
from fedstrata.server.rules import Rules

OF_ROUNDS = (
    *(f"train.{key}" for key in training.marked(TrainSection, training.ANEW)),
    "aggregator.server_lr",
    "upload.max_norm",
)
"""Settings that change the bits of the rounds to come, and so are logged when they change."""

ANEW = (
    "train.rounds",
    *OF_ROUNDS,
    *(f"round.{field.name}" for field in fields(Rules)),
    "evaluate.every",
    "checkpoint.every",
    "cache.memory",
    "engine",
    "workers",
)
"""Every key that may change while a run lasts."""


def settings_of(values: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of a resolved configuration that change the rounds to come.

    Example:
        >>> settings_of({"train": {"lr": 0.1, "steps": 3}})
        {'train.lr': 0.1}
    """
    return dict(_settings(values))


def _settings(values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for path in OF_ROUNDS:
        section, _, key = path.partition(".")
        inside = values.get(section)
        if isinstance(inside, Mapping) and key in inside:
            yield path, inside[key]


def without_anew(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration without the keys that may change.

    Example:
        >>> without_anew({"engine": "local", "seed": 1, "train": {"lr": 0.1, "steps": 3}})
        {'seed': 1, 'train': {'steps': 3}}
    """
    out = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for path in ANEW:
        section, _, key = path.partition(".")
        inside = out.get(section)
        if not key:
            out.pop(section, None)
        elif isinstance(inside, dict):
            inside.pop(key, None)
    return out
