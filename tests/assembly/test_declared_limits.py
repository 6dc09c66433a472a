"""What sites declare limits what they are given: budgets, and layers that they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedstrata.assembly.prepared import PreparedRun
from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.errors import ConfigError
from fedstrata.wire.declaration import Declaration
from site_rows import SITES, offices, play, remote, words
from small_runs import events

NORTH, SOUTH, WEST = (ClientId(site) for site in SITES)


def budgets(prepared: PreparedRun) -> dict[str, str]:
    return {client: str(profile.budget) for client, profile in prepared.setting.profiles.items()}


def test_a_budget_is_the_smaller_of_the_configurations_and_the_sites_in_every_unit(home: Path, tmp_path: Path) -> None:
    said = words(home, "image")
    said[NORTH] = Declaration(4, 0, {"layers": 1.0, "bytes_up": 5e6})
    said[SOUTH] = Declaration(4, 0, {"layers": 9.0})
    prepared = remote(home, tmp_path / "run", budget={"layers": 2, "bytes_up": "9 MB"}).prepare(said)
    assert budgets(prepared) == {
        "north": "1 layer, 5.00 MB up",
        "south": "2 layers, 9.00 MB up",
        "west": "2 layers, 9.00 MB up",
    }


def test_a_site_that_limits_what_has_no_price_is_said_to_need_one(home: Path, tmp_path: Path) -> None:
    said = words(home, "image", south=Declaration(4, 0, {"seconds": 5.0}))
    with pytest.raises(
        ConfigError, match="budget: client south has a budget in seconds, which needs the client's mach"
    ):
        remote(home, tmp_path / "run").prepare(said)


def test_refused_layers_are_never_trained_by_who_refuses_them(home: Path, tmp_path: Path) -> None:
    layers = [layer.name for layer in remote(home, tmp_path / "unused").place.network.layers]
    said = words(home, "image")
    said[NORTH] = Declaration(said[NORTH].num_examples, said[NORTH].held_out, refused=(layers[0],))
    said[SOUTH] = Declaration(said[SOUTH].num_examples, said[SOUTH].held_out, refused=tuple(layers))
    prepared = remote(home, tmp_path / "run", selector="independent", budget="unlimited").prepare(said)
    assert prepared.notes == (
        f"site north refuses {layers[0]}; it is given none of them",
        "site south refuses every layer; it trains what everyone trains, and no layer",
    )
    play(prepared, offices(home, "image", prepared.data.labels))
    masks = {(e["client"], tuple(e["mask"])) for e in events(tmp_path / "run", "client")}
    assert masks == {("north", (1,)), ("south", ()), ("west", (0, 1))}


def test_a_refused_name_that_is_no_layer_is_a_warning(home: Path, tmp_path: Path) -> None:
    said = words(home, "image", west=Declaration(7, 3, refused=(LayerName("vit.layerz.0"),)))
    prepared = remote(home, tmp_path / "run").prepare(said)
    (note,) = prepared.notes
    assert note.startswith("site west refuses 'vit.layerz.0', which is no layer of this model; did you mean 'vit.layer")
    assert prepared.setting.profiles[WEST].budget.layers == 1


def test_a_site_cannot_refuse_what_everyone_trains(home: Path, tmp_path: Path) -> None:
    opened = remote(home, tmp_path / "run")
    head = opened.place.network.layers.always[-1].name
    said = words(home, "image", west=Declaration(7, 3, refused=(head,)))
    with pytest.raises(ConfigError, match=rf"^flower.sites: site west refuses {head}, which everyone trains"):
        opened.prepare(said)


def test_a_frozen_block_may_be_refused(home: Path, tmp_path: Path) -> None:
    opened = remote(home, tmp_path / "run")
    stem = opened.place.network.layers.never[0].name
    assert opened.prepare(words(home, "image", west=Declaration(7, 3, refused=(stem,)))).notes == ()


def test_a_selector_that_gives_everybody_the_same_says_who_refuses_it(home: Path, tmp_path: Path) -> None:
    opened = remote(home, tmp_path / "run", selector="full", budget="unlimited")
    layer = opened.place.network.layers.layers[0].name
    said = words(home, "image", west=Declaration(7, 3, refused=(layer,)))
    with pytest.raises(
        ConfigError, match=rf"^selector: selector 'full' needs .* of client west.*; site west refuses {layer}"
    ):
        opened.prepare(said)


def test_a_share_is_of_full_fine_tuning_as_if_nothing_were_refused(home: Path, tmp_path: Path) -> None:
    layer = remote(home, tmp_path / "unused").place.network.layers.layers[0].name
    said = words(home, "image", west=Declaration(7, 3, refused=(layer,)))
    prepared = remote(home, tmp_path / "run", budget={"layers": "50%"}).prepare(said)
    assert {p.budget.layers for p in prepared.setting.profiles.values()} == {1.0}


def test_tables_may_name_sites_that_have_not_joined(home: Path, tmp_path: Path) -> None:
    clients: dict[str, object] = {"north": 1, "south": 2, "west": {"layers": "50%"}}
    table = {"kind": "per-client", "clients": clients}
    prepared = remote(home, tmp_path / "run", budget=table).prepare({NORTH: Declaration(9), SOUTH: Declaration(8)})
    assert budgets(prepared) == {"north": "1 layer", "south": "2 layers"}
    assert prepared.notes == ("1 of the sites that may take part have not joined and are not in this run: west",)
    clients["nobody"] = 1
    with pytest.raises(ConfigError, match="names client 'nobody', which does not exist"):
        remote(home, tmp_path / "other", budget=table).prepare({NORTH: Declaration(9)})


def test_sites_of_a_folder_of_keys_may_be_absent_too(home: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for name in ("North", "east"):
        (tmp_path / "keys" / f"{name}.pub").write_text("a key")
    opened = remote(home, tmp_path / "run", flower={"sites": str(tmp_path / "keys")})
    assert opened.prepare({NORTH: Declaration(9)}).notes == (
        "1 of the sites that may take part have not joined and are not in this run: east",
    )
