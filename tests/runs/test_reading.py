"""Run folders: the log is required, other files are missed aloud, and contradictions are told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fedstrata.errors import CheckpointError
from fedstrata.runs.reading import read_run
from report.synthetic_run import write_run


def test_whole_folder_has_no_notes(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a"))
    assert run.notes == ()
    assert run.name == "a"
    assert run.data_card is not None
    assert run.data_card.clients["client-00"].train == 50


def test_missing_side_files_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    for name in ("summary.json", "env.json", "data_card.json", "config.resolved.yaml"):
        (folder / name).unlink()
    run = read_run(folder)
    assert [note.split()[0] for note in run.notes] == [
        "summary.json",
        "env.json",
        "data_card.json",
        "config.resolved.yaml",
    ]
    assert run.data_card is None
    assert run.config is None


def test_broken_side_files_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    (folder / "env.json").write_text('{"python": ')
    (folder / "data_card.json").write_text('{"clients": {"a": {"held_out": 3}}}')
    notes = read_run(folder).notes
    assert "env.json is not a JSON object" in notes[0]
    assert "clients.a.train: this key is needed" in notes[1]


def test_hidden_counts_of_a_data_card_are_kept_as_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    card = {"clients": {"a": {"train": 10, "held_out": "<5", "labels": {"no": "<5"}}}}
    (folder / "data_card.json").write_text(json.dumps(card))
    read = read_run(folder).data_card
    assert read is not None
    assert read.clients["a"].held_out == "<5"


def test_summary_that_contradicts_the_log_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=2)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "rounds": 3}))
    assert read_run(folder).notes == ("summary.json says rounds 3, but the event log adds up to 2.",)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_run(tmp_path / "nowhere")


def test_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        read_run(tmp_path / "a.html")


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"events.jsonl is missing \(it is empty\)"):
        read_run(tmp_path)


def test_foreign_folder_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("")
    with pytest.raises(CheckpointError, match=r"is missing \(it holds photo.png\)"):
        read_run(tmp_path)


def test_folder_of_runs_is_refused_with_their_names(tmp_path: Path) -> None:
    write_run(tmp_path / "full", rounds=1)
    write_run(tmp_path / "top", rounds=1)
    with pytest.raises(CheckpointError, match="its folders full, top do; pass those"):
        read_run(tmp_path)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": ' + "1" * 5000 + "}", '{"a": "\\ud800"}'])
def test_side_files_that_no_reader_likes_are_told_as_any_other(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path / "a")
    for name in ("env.json", "data_card.json"):
        (folder / name).write_text(text)
    assert read_run(folder).notes == (
        "env.json is not a JSON object, so what it would say is left out.",
        "data_card.json is not a JSON object, so what it would say is left out.",
    )


def test_side_files_that_are_something_else_are_told_and_never_waited_for(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    for name in ("env.json", "config.resolved.yaml"):
        (folder / name).unlink()
    os.mkfifo(folder / "env.json")
    (folder / "config.resolved.yaml").mkdir()
    assert read_run(folder).notes == (
        "env.json cannot be read (it is not a plain file), so what it would say is left out.",
        "config.resolved.yaml cannot be read (Is a directory), so what it would say is left out.",
    )
