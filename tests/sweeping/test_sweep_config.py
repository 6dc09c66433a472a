"""A sweep's file: the runs that it stands for, and every sentence that it is refused with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.errors import ConfigError
from fedstrata.sweeping.jobs import Sweep, load_sweep
from sweep_files import base, loaded, sweep_file, two_clients

TOP: dict[str, Any] = {"set": {"selector": "top"}}


def lines(sweep: Sweep) -> list[tuple[str, str, int, str | None]]:
    return [(job.cell.method, job.cell.budget, job.seed, job.client) for job in sweep.jobs]


def test_methods_run_under_the_first_budget_with_all_seeds_unless_they_say_otherwise(tmp_path: Path) -> None:
    sweep = loaded(
        tmp_path,
        budgets={"R1": {"budget": 1}, "R2": {"budget": 2}},
        methods={"a": TOP, "b": {**TOP, "budgets": "all", "seeds": [1]}, "c": {**TOP, "budgets": ["R2"], "seeds": [0]}},
    )
    assert lines(sweep) == [
        ("a", "R1", 0, None),
        ("a", "R1", 1, None),
        ("b", "R1", 1, None),
        ("b", "R2", 1, None),
        ("c", "R2", 0, None),
    ]


def test_a_range_of_seeds(tmp_path: Path) -> None:
    assert loaded(tmp_path, seeds={"from": 3, "count": 2}).seeds == (3, 4)


def test_the_later_is_stronger_base_sweep_budget_method_grid_option(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "config": {**base(), "train": {"rounds": 2, "steps": 1, "lr": 0.1, "momentum": 0.1, "lr_decay": 0.1}},
        "set": {"train": {"steps": 2, "lr": 0.2, "momentum": 0.2, "lr_decay": 0.2}},
        "budgets": {"R": {"train.lr": 0.3, "train.momentum": 0.3, "train.lr_decay": 0.3}},
        "methods": {
            "m": {"set": {"train.momentum": 0.4, "train.lr_decay": 0.4}, "grid": {"train.lr_decay": [0.5, 0.6]}}
        },
    }
    train = loaded(tmp_path, overrides=["train.rounds=9"], **keys).jobs[0].values["train"]
    assert [train[key] for key in ("rounds", "steps", "lr", "momentum", "lr_decay")] == [9, 2, 0.3, 0.4, 0.5]


def test_grid_points_are_methods_named_after_their_values(tmp_path: Path) -> None:
    grid = {"selector.rho": [0.1, 1.0], "train.lr": [0.5]}
    sweep = loaded(tmp_path, seeds=[0], methods={"consensus": {"set": {"selector": "consensus"}, "grid": grid}})
    assert [job.cell.method for job in sweep.jobs] == ["consensus rho=0.1 lr=0.5", "consensus rho=1.0 lr=0.5"]
    assert [job.values["selector"]["rho"] for job in sweep.jobs] == [0.1, 1.0]
    assert [job.values["name"] for job in sweep.jobs] == [job.cell.method for job in sweep.jobs]
    assert [str(job.folder.relative_to(tmp_path)) for job in sweep.jobs] == [
        "out/consensus-rho=0.1-lr=0.5/default/s0",
        "out/consensus-rho=1.0-lr=0.5/default/s0",
    ]


def test_each_client_is_one_run_per_client_that_takes_part_alone(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, seeds=[5], methods={"alone": {**TOP, "each_client": True}})
    assert lines(sweep) == [("alone", "default", 5, "a"), ("alone", "default", 5, "b")]
    assert [job.values["sampler"] for job in sweep.jobs] == [
        {"kind": "only", "clients": ["a"]},
        {"kind": "only", "clients": ["b"]},
    ]
    assert [job.folder.name for job in sweep.jobs] == ["a", "b"]


def test_the_base_may_be_a_file_whose_paths_start_beside_it(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "base.yaml").write_text(yaml.safe_dump(base()), encoding="utf-8")
    sweep = loaded(tmp_path, config="rows/base.yaml")
    assert sweep.jobs[0].values["base"] == str(tmp_path / "rows")


def test_methods_may_come_from_a_file_and_be_added_to_or_replaced(tmp_path: Path) -> None:
    shared = {"a": TOP, "b": TOP}
    (tmp_path / "methods.yaml").write_text(yaml.safe_dump(shared), encoding="utf-8")
    own = {"b": {"set": {"selector": "bottom"}}, "c": TOP}
    sweep = loaded(tmp_path, seeds=[0], methods_from="methods.yaml", methods=own)
    assert [(j.cell.method, j.values["selector"]["kind"]) for j in sweep.jobs] == [
        ("a", "top"),
        ("b", "bottom"),
        ("c", "top"),
    ]


def test_runs_are_played_seed_by_seed_and_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    sweep = loaded(tmp_path)
    assert [(j.cell.method, j.seed) for j in sweep.jobs] == [("top", 0), ("top", 1), ("bottom", 0), ("bottom", 1)]
    played = [(j.cell.method, j.seed) for j in sweep.chosen([])]
    assert played == [("top", 0), ("bottom", 0), ("top", 1), ("bottom", 1)]


@pytest.mark.parametrize(
    ("patterns", "methods"),
    [(["top"], ["top"]), (["c*"], ["c rho=0.1", "c rho=1.0"]), (["c"], ["c rho=0.1", "c rho=1.0"])],
)
def test_only_takes_names_patterns_and_whole_grids(tmp_path: Path, patterns: list[str], methods: list[str]) -> None:
    grid = {"set": {"selector": "consensus"}, "grid": {"selector.rho": [0.1, 1.0]}}
    sweep = loaded(tmp_path, seeds=[0], methods={"top": TOP, "c": grid})
    assert [job.cell.method for job in sweep.chosen(patterns)] == methods


def test_only_a_method_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--only botom: no method is called so; did you mean 'bottom'\?$"):
        loaded(tmp_path).chosen(["botom"])


def test_tables_lie_in_the_folder_and_where_the_file_says(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, results="../tables/digits.csv")
    assert sweep.spared is None
    assert sweep.tables == (tmp_path / "out" / "results.csv", tmp_path / "../tables/digits.csv")


def test_overridden_values_leave_the_table_beside_the_file_alone(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, results="r.csv", overrides=["train.rounds=1"])
    assert (sweep.tables, sweep.spared) == ((tmp_path / "out" / "results.csv",), tmp_path / "r.csv")


def test_runs_in_another_folder_leave_the_table_beside_the_file_alone(tmp_path: Path) -> None:
    file = sweep_file(tmp_path, results="r.csv")
    sweep = load_sweep(file, output=tmp_path / "there", clients=two_clients)
    assert (sweep.tables, sweep.spared) == ((tmp_path / "there" / "results.csv",), tmp_path / "r.csv")


def test_without_output_runs_go_under_runs_sweeps_by_row_and_size(tmp_path: Path) -> None:
    assert loaded(tmp_path, output=None).output == Path("runs/sweeps/digits-tiny")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"methdos": {}}, r"methdos: no such key; did you mean 'methods' or"),
    ({"methods": {"a": {"sets": {}}}}, r"sweep\.yaml:\d+:\d+: methods\.a\.sets: no such key; did you mean 'set'"),
    ({"methods": {}}, "methods: has to name at least one method"),
    ({"budgets": {}}, "budgets: has to name at least one, or be left out"),
    ({"row": None}, "row: has to be text, got nothing"),
    ({"row": "a/b"}, "row: 'a/b' cannot be a name: up to 200 bytes that print, without / and backslash"),
    ({"seeds": []}, "seeds: has to hold at least one seed"),
    ({"seeds": [1, 1]}, "seeds: names a seed twice; keep one"),
    ({"seeds": [-1]}, "seeds: -1 is no seed; the least is 0"),
    ({"seeds": "six"}, "seeds: has to be a list, got 'six'"),
    ({"seeds": {"count": 0}}, "seeds: a range of seeds begins at 0 or above and has a count of at least 1"),
    ({"seeds": {"to": 3}}, r"seeds: a range of seeds is \{from: 0, count: 6\}, both whole numbers"),
    ({"target": 40}, r"target: has to be less than or equal to 1"),
    ({"reference": "tpo"}, r"reference: no method is called 'tpo'; did you mean 'top'\?"),
    ({"methods": {"a": {"budgets": "R9"}}}, "methods.a.budgets: no budget is called 'R9'; known: default"),
    ({"methods": {"a": {"seeds": [7]}}}, "methods.a.seeds: 7 is none of the sweep's seeds; add it to 'seeds'"),
    ({"methods": {"a": {"grid": {"train.lr": []}}}}, "methods.a.grid: 'train.lr' has no values to try"),
    ({"methods": {"a": TOP, "A": TOP}}, "methods.A: 'A' would have the same folder as 'a'; rename one"),
    ({"methods": {"a": {"grid": {"train.lr": [0.1, 0.1]}}}}, "methods: two methods are called 'a lr=0.1'; keep one"),
    ({"methods": {"a": {"set": {"seed": 3}}}}, "methods.a.set.seed: follows from the key 'seeds' of the sweep"),
    ({"set": {"output": "x"}}, "set.output: follows from the sweep itself; leave it out here"),
    ({"config": "nowhere.yaml"}, r"config: there is no configuration file .*nowhere\.yaml; did you mean"),
    ({"methods_from": "nowhere.yaml"}, r"methods_from: there is no configuration file"),
    ({"set": {"engine": "flower"}}, "engine: a sweep plays its runs on this machine, not over flower; use local or"),
    ({"set": {"engine": "flower-simulation"}}, "engine: a sweep plays its runs on this machine, not over flower-sim"),
    (
        {"methods": {"a": {"set": {"train": {"lrr": 1}}}, "b": TOP}},
        r"sweep\.yaml:\d+:\d+: train\.lrr: no such key; did you mean 'lr'.*\(method 'a'\)$",
    ),
    (
        {"methods": {"a": {"set": {"selector": "tops"}}}},
        r"sweep\.yaml:\d+:\d+: selector.kind: no selector is called 'tops'; did you mean 'top'",
    ),
]


@pytest.mark.parametrize(("keys", "sentence"), WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        loaded(tmp_path, **keys)
    assert "sweep.yaml:" in str(caught.value)


def test_a_problem_that_all_methods_have_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, set={"train.lr": -1})
    assert len(str(caught.value).splitlines()) == 1


def test_problems_of_several_methods_are_said_together(tmp_path: Path) -> None:
    methods = {"a": {"set": {"train.lr": -1}}, "b": {"set": {"selector": "nix"}}}
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, methods=methods)
    first, second = str(caught.value).splitlines()
    assert "train.lr" in first
    assert "(method 'a')" in first
    assert "nix" in second


@pytest.mark.parametrize("text", ["seed=3", "output=x", "name=x"])
def test_keys_that_a_sweep_sets_cannot_be_overridden(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^override '{text}': '\w+' follows from"):
        loaded(tmp_path, overrides=[text])


def test_clients_are_asked_only_where_each_trains_alone(tmp_path: Path) -> None:
    asked = []

    def clients(of: object) -> tuple[str, ...]:
        asked.append(of)
        return two_clients(of)  # type: ignore[arg-type]

    load: Callable[..., Sweep] = load_sweep
    load(sweep_file(tmp_path), clients=clients)
    assert asked == []
