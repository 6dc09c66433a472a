"""The event log: appended, cut, read back."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path

import pytest

from fedstrata.domain.records import SCHEMA
from fedstrata.errors import CheckpointError
from fedstrata.runs.folder import LogDigest, RunFolder


def test_events_come_back_with_their_schema(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append([{"event": "a", "x": 1}])
    folder.append([{"event": "b"}])
    assert folder.read() == [{"event": "a", "schema": SCHEMA, "x": 1}, {"event": "b", "schema": SCHEMA}]


def test_the_length_is_the_file_s(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append([{"event": "ä"}])
    assert folder.append([{"event": "b"}]) == folder.events.stat().st_size


def test_what_is_not_finite_becomes_null_in_strict_json(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append([{"event": "a", "x": [inf, {"y": nan}], "z": (1.5,)}])
    assert folder.read()[0]["x"] == [None, {"y": None}]
    assert json.loads(folder.events.read_text())["z"] == [1.5]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append([{"event": "a"}])
    with folder.events.open("a") as file:
        file.write('{"event": "b"')
    assert [e["event"] for e in folder.read()] == ["a"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append([{"event": "a"}])
    with folder.events.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(CheckpointError, match=r"events.jsonl:2: this line is not an event"):
        folder.read()


def test_truncating_cuts_back_to_the_length(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    length = folder.append([{"event": "a"}])
    folder.append([{"event": "b"}])
    folder.truncate(length)
    assert [e["event"] for e in folder.read()] == ["a"]


def test_truncating_a_log_that_is_not_there_to_nothing_does_nothing(tmp_path: Path) -> None:
    RunFolder(tmp_path).truncate(0)
    assert RunFolder(tmp_path).read() == []


def test_a_checkpoint_may_claim_any_length_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b"{}\n")
    with pytest.raises(CheckpointError, match=f"has 3 bytes, the checkpoint expects {2**62}; it was cut"):
        LogDigest(tmp_path / "events.jsonl").upto(2**62)
