"""A run whose rows lie at sites is made of what the sites declare, and is the run that it would be here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedstrata.assembly.run import prepare_run
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError
from fedstrata.report.write_report import write_report
from fedstrata.wire.declaration import Declaration
from site_rows import SITES, of_files, offices, play, remote, words
from small_runs import essence, events

NORTH, SOUTH, WEST = (ClientId(site) for site in SITES)


def test_profiles_are_what_sites_declare(home: Path, tmp_path: Path) -> None:
    opened = remote(home, tmp_path / "run")
    assert (opened.data.clients, opened.data.labels, len(opened.data.test)) == ({}, ("dark", "light"), 6)
    said = {WEST: Declaration(7, 3), NORTH: Declaration(4), SOUTH: Declaration(20, 8)}
    prepared = opened.prepare(said)
    found = {c: (p.num_examples, p.held_out) for c, p in prepared.setting.profiles.items()}
    assert found == {NORTH: (4, 0), SOUTH: (20, 8), WEST: (7, 3)}
    assert list(found) == [NORTH, SOUTH, WEST]


def test_nothing_is_written_before_the_sites_are_known(home: Path, tmp_path: Path) -> None:
    opened = remote(home, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="data: no site has declared its rows, so there is nobody to train"):
        opened.prepare({})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_run_of_remote_sites_has_the_bits_of_a_run_that_has_their_rows(home: Path, tmp_path: Path, kind: str) -> None:
    here = prepare_run(of_files(home, kind, output=str(tmp_path / "here")))
    play(here, None)
    prepared = remote(home, tmp_path / "there", kind).prepare(words(home, kind))
    play(prepared, offices(home, kind, prepared.data.labels))
    ours, theirs = essence(tmp_path / "here"), essence(tmp_path / "there")
    assert ours["model"] == theirs["model"] is not None
    if kind == "image":  # the prices of texts are guessed
        assert (ours["selection"], ours["metrics"], ours["events"]) == (
            theirs["selection"],
            theirs["metrics"],
            theirs["events"],
        )


def test_the_log_and_the_model_card_count_the_sites(home: Path, tmp_path: Path) -> None:
    prepared = remote(home, tmp_path / "run").prepare(words(home, "image"))
    play(prepared, offices(home, "image", prepared.data.labels))
    (header,) = events(tmp_path / "run", "run")
    assert (header["clients"], header["data"]) == ([NORTH, SOUTH, WEST], "test-photos")
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "clients: 3, training rows: 40, labels: 2; partition: rows at the sites" in card


def test_the_data_card_has_rows_as_declared_and_no_labels(home: Path, tmp_path: Path) -> None:
    remote(home, tmp_path / "run").prepare({NORTH: Declaration(9, 1), SOUTH: Declaration(20)})
    card = json.loads((tmp_path / "run" / "data_card.json").read_text())
    assert card["clients"] == {
        "north": {"train": 9, "held_out": 1, "labels": {}},
        "south": {"train": 20, "held_out": 0, "labels": {}},
    }
    assert (card["rows_kept"], card["rows_test"], card["partition"]) == (30, 6, "rows at the sites")
    assert "labels per site are not known to the server" in card["warnings"]


def test_the_report_shows_the_rows_of_sites_without_labels(home: Path, tmp_path: Path) -> None:
    prepared = remote(home, tmp_path / "run").prepare(words(home, "image"))
    play(prepared, offices(home, "image", prepared.data.labels))
    write_report([tmp_path / "run"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "labels per site are not known to the server" in page
    assert "3 clients; partition: rows at the sites; 56 rows kept" in page
    assert "Rows per client" in page
    assert "Rows per client, by label" not in page


def test_prices_of_images_are_those_that_the_rows_would_have(home: Path, tmp_path: Path) -> None:
    here = prepare_run(of_files(home, "image", output=str(tmp_path / "here")))
    there = remote(home, tmp_path / "there").prepare(words(home, "image"))
    for client in here.setting.profiles:
        full = here.setting.layers.everything
        ours, theirs = (p.setting.method.cost.prices(client, ClientRound()).of(full) for p in (here, there))
        assert (str(ours), ours.flops > 0) == (str(theirs), True)


def test_that_lengths_of_texts_are_guessed_is_said(home: Path, tmp_path: Path) -> None:
    prepared = remote(home, tmp_path / "run", "text").prepare(words(home, "text"))
    (note,) = prepared.notes
    assert note.startswith("the server does not know how long the sites' texts are: operations and seconds are priced")
    assert note.endswith("memory for texts of 32 tokens")  # the model's positions; data.max_length is 128
    counted = remote(home, tmp_path / "other", "text", cost="layers").prepare(words(home, "text"))
    assert counted.notes == ()


def test_a_site_with_more_rows_than_can_be_priced_is_named(home: Path, tmp_path: Path) -> None:
    opened = remote(home, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"^data: site south: 1099511627776 rows make 137438953472 local steps"):
        opened.prepare({NORTH: Declaration(9), SOUTH: Declaration(2**40)})
