"""The section ``flower``, the engines that it is for, and ``--engine``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from commands import Said
from fedstrata.assembly.engine import engine_of
from fedstrata.assembly.model_card import model_card
from fedstrata.assembly.provenance import identity, resolved
from fedstrata.assembly.run import prepare_run
from fedstrata.cli.options import engine_overrides
from fedstrata.config.flower import FlowerSection, client_names
from fedstrata.config.load import Loaded, check_config
from fedstrata.engines.local import LocalEngine
from fedstrata.errors import ConfigError
from fedstrata.server.observers import Quiet
from small_runs import digits, never, write_config

SITES = {"sites": {"north": "north.pub", "south": "south.pub"}}


def check(tmp_path: Path, **sections: object) -> Loaded:
    return check_config(digits(tmp_path / "run", **sections))


def test_what_a_section_says_and_what_it_leaves_out(tmp_path: Path) -> None:
    loaded = check(tmp_path, engine="flower", flower={"sites": "keys", "join_timeout": 5, "min_sites": 2})
    assert loaded.config.flower == FlowerSection(sites="keys", join_timeout=5.0, min_sites=2)
    assert FlowerSection() == FlowerSection(
        superlink=None, sites=None, join_timeout=600.0, min_sites=1, secagg=False, dp="none"
    )


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"secagg": True}, r"flower.secagg: .*in plain text whose type is not exactly 'train'.*round.layer_quorum"),
        ({"dp": "local"}, r"flower.dp: .*clients here send different layers.*round.layer_quorum.*scores"),
        ({"dp": "central"}, r"flower.dp: .*the probe's statistics are sent without protection"),
        ({"dp": "some"}, r"flower.dp: has to be 'none', 'local' or 'central', got 'some'"),
        ({"join_timeout": 0}, r"flower.join_timeout: has to be greater than 0, got 0"),
        ({"min_sites": 0}, r"flower.min_sites: has to be greater than or equal to 1, got 0"),
        ({"min_sites": 3}, r"flower.min_sites: 3 sites are needed, and 2 may take part"),
        ({"sites": {}}, r"flower.sites: no site is named"),
        ({"sites": {"St. Mary": "a.pub"}}, r"flower.sites: 'St. Mary' is no name of a site; use 1 to 64 of a-z, 0-9"),
        ({"sites": {"n" * 65: "a.pub"}}, r"flower.sites: 'n+' is no name of a site"),
        (
            {"sites": {"North": "a.pub", "north": "b.pub"}},
            r"flower.sites: 'North' and 'north' would be the same site, 'north'; rename one",
        ),
        ({"sites": ["north"]}, r"flower.sites: has to be text or a mapping of keys to values, got \['north'\]"),
        ({"superlnk": "x"}, r"flower.superlnk: no such key; did you mean 'superlink'"),
    ],
)
def test_what_cannot_be_is_said_at_its_key(tmp_path: Path, section: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}"):
        check(tmp_path, engine="flower", flower={**SITES, **section})


def test_engine_flower_needs_to_know_its_sites(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^flower.sites: engine: flower needs to know who may take part; give a fol"):
        check(tmp_path, engine="flower")
    with pytest.raises(ConfigError, match=r"^flower.sites: engine: flower needs to know"):
        check(tmp_path, engine="flower", flower={"min_sites": 2})


@pytest.mark.parametrize("engine", ["local", "processes", "flower-simulation"])
def test_other_engines_leave_the_section_alone(tmp_path: Path, engine: str) -> None:
    assert check(tmp_path, engine=engine).config.engine == engine
    assert check(tmp_path, engine=engine, flower=SITES).config.flower.sites == SITES["sites"]


@pytest.mark.parametrize("engine", ["local", "flower", "flower-simulation"])
def test_only_processes_have_workers(tmp_path: Path, engine: str) -> None:
    with pytest.raises(ConfigError, match=rf"^workers: engine: {engine} has no workers; set engine: processes"):
        check(tmp_path, engine=engine, flower=SITES, workers=2)


def test_names_of_sites_are_written_small() -> None:
    assert client_names(["St-Mary", "ward_3"]) == {"St-Mary": "st-mary", "ward_3": "ward_3"}


def test_who_takes_part_changes_no_bits_and_so_not_the_identity(tmp_path: Path) -> None:
    one = check(tmp_path)
    other = check(tmp_path, engine="flower", flower={**SITES, "superlink": "mine", "join_timeout": 5})
    assert identity(one) == identity(other)
    assert identity(one) != identity(check(tmp_path, seed=5))
    assert "superlink: mine" in resolved(other)


def test_the_models_card_does_not_name_the_sites(tmp_path: Path) -> None:
    prepared = prepare_run(check(tmp_path, flower={"sites": {"st-mary": "m.pub"}}))
    summary = {"final": {"accuracy": 0.5, "loss": 1.0}, "rounds": 2, "seed": 3, "bytes_up": 1}
    card = model_card(prepared.loaded, prepared.setting, prepared.data, summary)
    assert "st-mary" in resolved(prepared.loaded)
    assert "st-mary" not in card
    assert "clients: 3, training rows: 809, labels: 10; partition: iid" in card


@pytest.mark.parametrize("kind", ["flower", "flower-simulation"])
def test_an_engine_of_flowers_is_handed_to_the_run(tmp_path: Path, kind: str) -> None:
    prepared = prepare_run(check(tmp_path, engine=kind, flower=SITES))
    with pytest.raises(RuntimeError, match=f"engine {kind} is handed to PreparedRun.run"):
        prepared.run(observer=Quiet(), stop=never)
    local = engine_of(check(tmp_path), prepared.resident, prepared.data)
    assert isinstance(local, LocalEngine)
    assert prepared.run(observer=Quiet(), stop=never, engine=local).engine is local


@pytest.mark.parametrize(
    ("engine", "workers", "expected"),
    [
        (None, None, []),
        (None, 3, ["engine=processes", "workers=3"]),
        (None, 0, ["engine=processes", "workers=null"]),
        ("processes", None, ["engine=processes"]),
        ("processes", 2, ["engine=processes", "workers=2"]),
        ("local", None, ["engine=local", "workers=null"]),
        ("flower", None, ["engine=flower", "workers=null"]),
    ],
)
def test_what_the_options_change(engine: str | None, workers: int | None, expected: list[str]) -> None:
    assert engine_overrides(engine, workers) == expected


def test_engine_on_the_command_line_overrides_the_configurations(cli: Callable[..., Said], tmp_path: Path) -> None:
    write_config(tmp_path / "c.yaml", digits(Path("out"), engine="processes", workers=2))
    assert cli("run", "c.yaml", "--engine", "local", "--quiet").code == 0
    assert "engine: local" in (tmp_path / "out" / "config.resolved.yaml").read_text()


def test_an_engine_and_workers_that_do_not_go_together_are_an_error(cli: Callable[..., Said], tmp_path: Path) -> None:
    write_config(tmp_path / "c.yaml", digits(Path("out")))
    said = cli("run", "c.yaml", "--engine", "local", "--workers", "2")
    assert (said.code, "workers: engine: local has no workers" in said.err) == (2, True)
    said = cli("run", "c.yaml", "--engine", "flowr")
    assert (said.code, "engine: has to be 'local', 'processes', 'ray', 'flower'" in said.err) == (2, True)


def test_a_run_can_be_resumed_on_another_engine(cli: Callable[..., Said], tmp_path: Path) -> None:
    write_config(tmp_path / "c.yaml", digits(Path("out"), engine="flower-simulation"))
    assert cli("run", "c.yaml", "--engine", "local", "--quiet").code == 0
    (tmp_path / "out" / "model").rename(tmp_path / "gone")
    assert cli("resume", "out", "--engine", "processes", "--workers", "1", "--quiet").code == 0
