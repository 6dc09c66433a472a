"""What sites declared when a run began counts until it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedstrata.assembly.run import reopen
from fedstrata.domain.ids import ClientId
from fedstrata.errors import CheckpointError
from fedstrata.runs.sites_file import read_sites
from fedstrata.wire.declaration import Declaration
from site_rows import offices, play, remote, words
from small_runs import after, essence


def test_what_sites_declared_is_kept_and_counts_when_the_run_goes_on(home: Path, tmp_path: Path) -> None:
    whole = remote(home, tmp_path / "whole").prepare(words(home, "image"))
    play(whole, offices(home, "image", whole.data.labels))
    begun = remote(home, tmp_path / "run").prepare(words(home, "image"))
    play(begun, offices(home, "image", begun.data.labels), stop=after(1))
    opened = reopen(tmp_path / "run")
    assert opened.stored == words(home, "image")
    now = words(home, "image", north=Declaration(99, 4), south=Declaration(20, 8, {"layers": 1.0}))
    again = opened.prepare(now | {ClientId("east"): Declaration(5)})
    assert again.setting.profiles == begun.setting.profiles
    assert list(again.notes) == [
        "site east was not there when the run began, and takes no part in it",
        "site north declared 13 training rows when the run began, and 99 now; the 13 count, so that its weight stays",
        "site north declares another held_out than when the run began; what it said then counts, and what it no longer"
        " does is lost",
        "site south declares another budget than when the run began; what it said then counts, and what it no longer"
        " does is lost",
    ]
    assert play(again, offices(home, "image", again.data.labels), resume=True).state == "finished"
    assert essence(tmp_path / "run") == essence(tmp_path / "whole")


def test_a_run_can_be_opened_again_without_anybody_there(home: Path, tmp_path: Path) -> None:
    begun = remote(home, tmp_path / "run").prepare(words(home, "image"))
    again = reopen(tmp_path / "run").prepare({})
    assert (again.setting.profiles, again.notes) == (begun.setting.profiles, ())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "sites.json is missing"),
        ("[]", "sites.json cannot be read"),
        ('{"north": {}}', "sites.json cannot be read: 'north': num_examples: this key is needed"),
    ],
)
def test_a_run_whose_declarations_are_lost_does_not_go_on(
    home: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    remote(home, tmp_path / "run").prepare(words(home, "image"))
    file = tmp_path / "run" / "sites.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(CheckpointError, match=said):
        reopen(tmp_path / "run")


def test_what_was_written_can_be_read(home: Path, tmp_path: Path) -> None:
    said = words(home, "image", west=Declaration(7, 3, {"layers": 1.0}, holds=frozenset("a")))
    prepared = remote(home, tmp_path / "run").prepare(said)
    assert read_sites(prepared.folder, needed=True) == said
