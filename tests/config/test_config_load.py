"""Reading a configuration: values, overrides, defaults, and the way back to YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.assembly.provenance import resolved
from fedstrata.budgets.fixed import Fixed
from fedstrata.budgets.unlimited import Unlimited
from fedstrata.config.catalog import CATALOG, build, describe
from fedstrata.config.load import Loaded, check_config, load_config
from fedstrata.data.kinds import Files
from fedstrata.errors import ConfigError
from fedstrata.parsing.yaml_file import read_yaml
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Full, Top
from fedstrata.selectors.periodic import Periodic
from fedstrata.selectors.random import Random

SMALL: Mapping[str, Any] = {"model": {"path": "embedded:vit-digits"}, "data": {"kind": "digits"}}


def load(tmp_path: Path, text: str, *overrides: str) -> Loaded:
    path = tmp_path / "c.yaml"
    path.write_text("model: {path: m}\ndata: {kind: digits}\n" + text, encoding="utf-8")
    return load_config(path, overrides)


@pytest.mark.parametrize(
    ("text", "value"), [("5e-1", 0.5), ("1e-3", 0.001), ("2", 2.0), (".inf", math.inf), ("inf", math.inf)]
)
def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    loaded = load(tmp_path, f"selector: {{kind: consensus, rho: {text}}}\n")
    assert loaded.components.selector == Consensus(rho=value)


def test_a_learning_rate_in_scientific_notation_is_a_number(tmp_path: Path) -> None:
    assert load(tmp_path, "train: {lr: 5e-5}\n").config.train.lr == 5e-5


def test_an_override_in_scientific_notation_is_a_number(tmp_path: Path) -> None:
    assert load(tmp_path, "", "train.lr=1e-4").config.train.lr == 1e-4


def test_a_bare_kind_is_a_component_without_options(tmp_path: Path) -> None:
    assert load(tmp_path, "selector: top\n").components.selector == Top()


def test_an_empty_section_is_left_out(tmp_path: Path) -> None:
    loaded = load(tmp_path, "train:\nselector:\nbudget:\n")
    assert (loaded.config.train.rounds, loaded.components.selector) == (10, Consensus())


def test_the_last_override_wins(tmp_path: Path) -> None:
    assert load(tmp_path, "seed: 1\n", "seed=2", "seed=3").config.seed == 3


def test_an_override_adds_an_option_to_a_bare_kind(tmp_path: Path) -> None:
    assert load(tmp_path, "selector: consensus\n", "selector.rho=2").components.selector == Consensus(rho=2.0)


def test_an_override_adds_an_option_to_a_default_component(tmp_path: Path) -> None:
    assert load(tmp_path, "", "selector.rho=2").components.selector == Consensus(rho=2.0)


def test_an_override_changes_a_number_that_is_short_for_a_budget(tmp_path: Path) -> None:
    assert load(tmp_path, "budget: 1\n", "budget.layers=2").components.budget == Fixed(layers=2)


def test_an_override_replaces_a_whole_component(tmp_path: Path) -> None:
    text = "selector: {kind: consensus, rho: 2}\n"
    assert load(tmp_path, text, "selector={kind: periodic, every: 2, inner: random}").components.selector == Periodic(
        every=2, inner=Random()
    )


def test_a_file_is_not_changed_by_overrides() -> None:
    values = {**SMALL, "train": {"lr": 0.5}}
    check_config(values, overrides=["train.lr=0.1"])
    assert values["train"] == {"lr": 0.5}


def test_a_number_alone_is_a_fixed_budget() -> None:
    assert check_config({**SMALL, "budget": 3}).components.budget == Fixed(layers=3)


def test_full_and_head_only_are_unlimited_unless_a_budget_is_given() -> None:
    loaded = check_config({**SMALL, "selector": "full"})
    assert (loaded.components.selector, loaded.components.budget) == (Full(), Unlimited())


def test_other_selectors_get_one_layer_unless_a_budget_is_given() -> None:
    assert check_config({**SMALL, "selector": {"kind": "top"}}).components.budget == Fixed(layers=1)


def test_data_without_a_kind_are_files(tmp_path: Path) -> None:
    values = {"train": "a.parquet", "test": "b.parquet", "text": "t", "partition": {"kind": "iid", "clients": 2}}
    assert isinstance(check_config({"model": {"path": "m"}, "data": values}).components.data, Files)


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, "").base == tmp_path


def test_merged_mappings_give_way_to_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {x: 9, z: 4}]}\n")
    values, _ = read_yaml(path)
    assert values["b"] == {"x": 1, "y": 3}
    assert values["c"] == {"x": 1, "y": 2, "z": 4}


def test_every_value_knows_its_place(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a:\n  b: [x, y]\n")
    _, marks = read_yaml(path)
    assert marks[("a",)] == f"{path}:1:1"
    assert marks[("a", "b")] == f"{path}:2:3"
    assert marks[("a", "b", 1)] == f"{path}:2:10"


def test_a_mapping_has_no_places_but_says_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"^train: has to be a mapping of keys to values, got 3$"):
        check_config({**SMALL, "train": 3})


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"selector": {"kind": "periodic", "every": 2, "inner": {"kind": "warmup", "rounds": 1, "inner": "random"}}},
        {"budget": {"kind": "half-normal", "low": 1, "high": 3}, "score": "signal-to-noise"},
        {"selector": {"kind": "fixed", "layers": ["last:1", 0]}, "budget": "unlimited", "model": {"path": "x:y"}},
        {
            "budget": {"kind": "per-client", "clients": {"a": 1}, "default": 2},
            "selector": {"kind": "consensus", "rho": math.inf},
        },
        {
            "data": {"sites": "s", "test_fraction": 0.2, "image": "image"},
            "train": {"lr": 1e-7, "epochs": 2, "clip_norm": 1.0},
        },
    ],
)
def test_the_resolved_configuration_builds_the_same_run(sections: Mapping[str, Any]) -> None:
    loaded = check_config({**SMALL, **sections})
    again = check_config(yaml.safe_load(resolved(loaded)))
    assert again.components == loaded.components
    assert again.config.model_dump(include={"train", "model", "seed", "threads"}) == loaded.config.model_dump(
        include={"train", "model", "seed", "threads"}
    )
    assert resolved(again) == resolved(loaded)


@pytest.mark.parametrize(("family", "kind"), [(f, k) for f, kinds in CATALOG.items() for k in kinds])
def test_every_kind_of_the_catalog_names_a_class_that_is_documented(family: str, kind: str) -> None:
    module, _, name = CATALOG[family][kind].partition(":")
    component = getattr(__import__(module, fromlist=[name]), name)
    assert component.__doc__
    assert not component.__doc__.startswith(f"{name}(")


def test_what_is_described_is_built_again() -> None:
    selector = Periodic(every=3, inner=Consensus(rho=-1.0))
    assert build("selector", describe(selector), ()) == selector
