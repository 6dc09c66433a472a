"""Changing plain values: paths, mappings that merge, kinds that replace, and where each value then stands."""

from __future__ import annotations

from typing import Any

import pytest

from fedstrata.config.changes import change
from fedstrata.errors import ConfigError
from fedstrata.parsing.problems import Loc


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    change(values, changes, {}, {})
    return values


def test_a_mapping_without_kind_is_merged_key_by_key() -> None:
    assert changed({"train": {"lr": 0.1, "steps": 5}}, {"train": {"lr": 0.2}}) == {"train": {"lr": 0.2, "steps": 5}}


def test_a_mapping_with_a_kind_replaces_what_was_there() -> None:
    before = {"selector": {"kind": "periodic", "every": 5, "inner": "top"}}
    assert changed(before, {"selector": {"kind": "top"}}) == {"selector": {"kind": "top"}}


def test_a_path_reaches_inside_a_bare_kind_and_a_default() -> None:
    assert changed({"selector": "consensus"}, {"selector.rho": 0.5}) == {"selector": {"kind": "consensus", "rho": 0.5}}
    assert changed({}, {"selector": {"rho": 0.5}}) == {"selector": {"kind": "consensus", "rho": 0.5}}


def test_paths_and_mappings_mix() -> None:
    before = {"data": {"partition": {"kind": "iid", "clients": 3}, "held_out": 0.1}}
    after = changed(before, {"data": {"partition.clients": 5}})
    assert after == {"data": {"partition": {"kind": "iid", "clients": 5}, "held_out": 0.1}}


def test_what_is_not_changed_is_shared_and_what_was_given_is_left_as_it_was() -> None:
    given = {"train": {"lr": 0.1}}
    changed(dict(given), {"train.lr": 0.2})
    assert given == {"train": {"lr": 0.1}}


def test_a_path_through_a_single_value_is_an_error_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^s\.yaml:3:5: 'seed' is a single value and has no keys$"):
        change({"seed": 3}, {"seed.x": 1}, {}, {("seed.x",): "s.yaml:3:5"})


def test_places_follow_what_they_are_of() -> None:
    marks: dict[Loc, str] = {("train",): "base:1:1", ("train", "lr"): "base:2:3", ("train", "steps"): "base:3:3"}
    places: dict[Loc, str] = {("train",): "sweep:5:1", ("train", "lr"): "sweep:6:3"}
    change({"train": {"lr": 0.1, "steps": 5}}, {"train": {"lr": 0.2}}, marks, places)
    assert marks == {("train",): "base:1:1", ("train", "steps"): "base:3:3", ("train", "lr"): "sweep:6:3"}
