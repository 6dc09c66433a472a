"""A trial: clients are sites, and their rows are here, too, so that what they declare can be held to them."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from fedstrata.assembly.engine import engine_of
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import open_run, reopen, reopen_run
from fedstrata.config.load import Loaded, check_config
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId
from fedstrata.engines.protocol import Engine
from fedstrata.errors import ConfigError
from fedstrata.wire.declaration import Declaration
from site_rows import play
from small_runs import after, digits, essence, events, start

TRIAL = {"engine": "flower-simulation"}


def trial(path: Path, **sections: object) -> Loaded:
    return check_config(digits(path, **TRIAL, **sections))


def here(loaded: Loaded) -> dict[ClientId, Declaration]:
    rows = open_run(loaded).data.clients
    return {c: Declaration(len(own.train), len(own.held_out)) for c, own in rows.items()}


def test_a_trial_has_the_setting_and_the_bits_of_a_run_on_this_machine(tmp_path: Path) -> None:
    start(digits(tmp_path / "local"))
    opened = open_run(trial(tmp_path / "trial"))
    prepared = opened.prepare(here(opened.loaded))
    assert prepared.notes == ()
    play(prepared, local(prepared))
    assert essence(tmp_path / "trial") == essence(tmp_path / "local")
    assert (tmp_path / "trial" / "sites.json").exists()
    assert not (tmp_path / "local" / "sites.json").exists()


def local(prepared: PreparedRun) -> Engine:
    return engine_of(check_config(digits(Path("unused"))), prepared.resident, prepared.data)


def test_a_site_whose_rows_are_not_those_of_the_configuration_is_named(tmp_path: Path) -> None:
    opened = open_run(trial(tmp_path / "run"))
    said = here(opened.loaded)
    one = ClientId("client-01")
    rows = said[one].num_examples
    for other in (Declaration(rows + 1, said[one].held_out), Declaration(rows, said[one].held_out - 1)):
        with pytest.raises(
            ConfigError, match=rf"^data: site client-01 declares .* gives it {rows} and 30; let its site"
        ):
            opened.prepare({**said, one: other})
    with pytest.raises(
        ConfigError, match=r"^data: site client-07 has no rows in the configuration's data; did you mean"
    ):
        opened.prepare({**said, ClientId("client-07"): Declaration(5)})


def test_clients_that_do_not_join_a_trial_are_left_out_and_named(tmp_path: Path) -> None:
    opened = open_run(trial(tmp_path / "run"))
    said = here(opened.loaded)
    del said[ClientId("client-01")]
    prepared = opened.prepare(said)
    assert list(prepared.setting.profiles) == ["client-00", "client-02"]
    assert prepared.notes == ("1 of the sites that may take part have not joined and are not in this run: client-01",)
    result = play(prepared, local(prepared))
    assert events(result.folder, "run")[0]["clients"] == ["client-00", "client-02"]


def test_limits_and_refusals_count_in_a_trial_and_when_it_is_resumed_here(tmp_path: Path) -> None:
    opened = open_run(trial(tmp_path / "run", budget="unlimited"))
    layer = opened.place.network.layers.layers[2].name
    said = here(opened.loaded)
    one = ClientId("client-01")
    said[one] = Declaration(said[one].num_examples, said[one].held_out, {"layers": 3.0}, refused=(layer,))
    prepared = opened.prepare(said)
    assert [p.budget.layers for p in prepared.setting.profiles.values()] == [inf, 3.0, inf]
    again = reopen_run(tmp_path / "run", ["engine=local"])
    assert again.setting.profiles == prepared.setting.profiles
    assert again.setting.method.cost.prices(one, ClientRound()).of(frozenset({2})).layers == 7


def test_a_run_that_began_here_may_go_on_at_sites_that_have_the_same_rows(tmp_path: Path) -> None:
    start(digits(tmp_path / "run"), stop=after(1))
    said = here(check_config(digits(tmp_path / "other")))
    opened = reopen(tmp_path / "run", ["engine=flower-simulation"])
    assert opened.prepare(said).setting.profiles.keys() == said.keys()
    with pytest.raises(ConfigError, match="site client-00 declares 5 training rows"):
        reopen(tmp_path / "run").prepare({ClientId("client-00"): Declaration(5)})
