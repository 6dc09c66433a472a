"""Changing a configuration's plain values: single keys by path, and mappings that are merged into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedstrata.config.components import DEFAULTS
from fedstrata.errors import ConfigError
from fedstrata.parsing.problems import Loc
from fedstrata.parsing.yaml_text import yaml_value


def override(values: dict[str, Any], text: str, marks: dict[Loc, str]) -> None:
    """Put one ``key.path=value`` into the values; a bare kind on the way becomes a mapping.

    Args:
        values: Changed in place; mappings inside it are copied first.
        text: What ``--set`` takes; the value is read as YAML.
        marks: Where each value stands; changed in place.

    Raises:
        ConfigError: It is not such a text, or there is no place for it.

    Example:
        >>> values = {"selector": "consensus"}
        >>> override(values, "selector.rho=0.5", {})
        >>> values
        {'selector': {'kind': 'consensus', 'rho': 0.5}}
    """
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"override '{text}': write it as key.path=value, such as train.lr=0.1")
    said = f"override '{text}'"
    try:
        read, _ = yaml_value(value, said)
    except ConfigError as error:
        raise ConfigError(f"{said}: '{value}' is not a YAML value; put it in quotes") from error
    _holder(values, keys, said)[keys[-1]] = read
    _moved(tuple(keys), marks, {(): said})


def change(
    values: dict[str, Any], changes: Mapping[str, Any], marks: dict[Loc, str], places: Mapping[Loc, str]
) -> None:
    """Merge a mapping into the values: keys may be paths such as ``train.lr``.

    A mapping is merged key by key; one that names a ``kind`` replaces what was there, as does any other value.

    Args:
        values: Changed in place; mappings inside it are copied first.
        changes: What is different.
        marks: Where each value stands; changed in place.
        places: Where each value of ``changes`` stands.

    Raises:
        ConfigError: A path leads through a single value; with its place.

    Example:
        >>> values = {"selector": {"kind": "top"}, "train": {"lr": 0.1, "steps": 5}}
        >>> change(values, {"selector": {"kind": "consensus", "rho": 1.0}, "train.lr": 0.2}, {}, {})
        >>> values
        {'selector': {'kind': 'consensus', 'rho': 1.0}, 'train': {'lr': 0.2, 'steps': 5}}
    """
    for key, value in changes.items():
        inner = {loc[1:]: place for loc, place in places.items() if loc[:1] == (key,)}
        _put(values, tuple(key.split(".")), value, marks, inner)


def _put(
    values: dict[str, Any], keys: Sequence[str], value: object, marks: dict[Loc, str], places: Mapping[Loc, str]
) -> None:
    if isinstance(value, Mapping) and value and "kind" not in value:
        for key, inner in value.items():
            _put(
                values,
                (*keys, *str(key).split(".")),
                inner,
                marks,
                {p[1:]: w for p, w in places.items() if p[:1] == (key,)},
            )
        return
    where = places.get((), "")
    target = _holder(values, keys, where)
    target[keys[-1]] = value
    _moved(tuple(keys), marks, places)


def _holder(values: dict[str, Any], keys: Sequence[str], said: str) -> dict[str, Any]:
    """Return the mapping that holds the last key, made on the way where it is missing."""
    target = values
    for depth, key in enumerate(keys[:-1]):
        inner = target.get(key, DEFAULTS.get(key) if depth == 0 else None)
        if isinstance(inner, str):
            inner = {"kind": inner}
        if key == "budget" and depth == 0 and isinstance(inner, int) and not isinstance(inner, bool):
            inner = {"kind": "fixed", "layers": inner}
        if not isinstance(inner, Mapping | None):
            where = f"{said}: " if said else ""
            raise ConfigError(f"{where}'{'.'.join(keys[: depth + 1])}' is a single value and has no keys")
        target[key] = {**(inner or {})}
        target = target[key]
    return target


def _moved(keys: Loc, marks: dict[Loc, str], places: Mapping[Loc, str]) -> None:
    """Forget where the values under a path stood, and note where they stand now."""
    for loc in [m for m in marks if m[: len(keys)] == keys]:
        del marks[loc]
    marks.update({(*keys, *loc): place for loc, place in places.items()})
