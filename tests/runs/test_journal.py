"""The journal: outcomes that survive the process, and nothing that was not written whole."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from answering import flipped, frame, training, update
from fedstrata.domain.reasons import Reason
from fedstrata.errors import StorageError
from fedstrata.runs.journal import FileJournal
from fedstrata.runs.journal_records import record_of
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import Failure, Reject, Update
from toys import same_bits

KEY = {"run": "r", "round": 4, "attempt": 0, "phase": "train", "client": "a", "base": "b"}


def said(**changes: object) -> bytes:
    """Return what a record of an answer says, without its checksum."""
    values = {"key": KEY, "sha256": "0", "kept": None, "encoding": "float32", "kind": "accept", **changes}
    return json.dumps(values, separators=(",", ":")).encode()


def opened(folder: Path, *, keep: bool = True) -> FileJournal:
    journal = FileJournal(folder / "journal.jsonl", keep=keep)
    journal.begin("run")
    return journal


def again(folder: Path, *, offset: int = 0) -> FileJournal:
    journal = FileJournal(folder / "journal.jsonl", keep=True)
    journal.reopen(offset, None)
    return journal


def accept(journal: FileJournal, client: str, value: float = 1.0, *, as_frame: bool = False, round: int = 4) -> None:
    reply = update(client, value, round=round)
    data = frame(reply).data if as_frame else None
    journal.accept(training(client, round=round), reply, digest=content_of(reply), frame=data)


@pytest.mark.parametrize("as_frame", [False, True])
def test_an_answer_that_was_kept_comes_back_to_the_bit(tmp_path: Path, as_frame: bool) -> None:
    accept(opened(tmp_path), "a", 1 / 3, as_frame=as_frame)
    found = again(tmp_path).recall(training("a"))
    assert isinstance(found, Update)
    assert same_bits(found.deltas, update("a", 1 / 3).deltas)
    assert content_of(found) == content_of(update("a", 1 / 3))


def test_a_client_that_was_lost_stays_lost(tmp_path: Path) -> None:
    opened(tmp_path).lose(training("a"), Reject(Reason.LATE, "too slow"))
    found = again(tmp_path).recall(training("a"))
    assert isinstance(found, Failure)
    assert (found.reason, found.message) == (Reason.LATE, "too slow")


def test_the_record_that_the_others_are_changed_from_is_one() -> None:
    body = said()
    assert record_of(body[:-1] + b',"crc":"%08x"}\n' % crc32(body)) is not None


def test_whatever_a_loss_says_is_journalled(tmp_path: Path) -> None:
    """The name of a file may hold half a character, which no reader takes: that client is asked again."""
    journal = opened(tmp_path)
    journal.lose(training("a"), Reject(Reason.CLIENT_ERROR, "no file caf\udce9"))
    journal.lose(training("b"), Reject(Reason.LATE, 'a "quoted"\nline'))
    lost = journal.recall(training("a"))
    assert isinstance(lost, Failure)
    assert isinstance(again(tmp_path).recall(training("a")), Failure | None)


def test_of_an_answer_that_was_not_kept_only_its_hash_is_known(tmp_path: Path) -> None:
    accept(opened(tmp_path, keep=False), "a")
    assert again(tmp_path).recall(training("a")) is None
    assert content_of(update("a")) in (tmp_path / "journal.jsonl").read_text()
    assert not (tmp_path / "accepted").exists()


def test_another_answer_after_a_restart_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    accept(opened(tmp_path, keep=False), "a", 1.0)
    journal = again(tmp_path)
    accept(journal, "a", 1.0)
    assert not caplog.text
    accept(journal, "a", 2.0)
    assert "client a answered differently in round 4 than before the interruption" in caplog.text


def test_the_same_answer_is_journalled_once(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for _ in range(3):
        accept(journal, "a")
    assert (tmp_path / "journal.jsonl").read_text().count('"accept"') == 1


@pytest.mark.parametrize("other", ["round", "attempt", "run", "base", "client"])
def test_an_outcome_is_of_its_key_alone(tmp_path: Path, other: str) -> None:
    accept(opened(tmp_path), "a")
    asked = training("a")
    changed = {
        "round": replace(asked, round=5),
        "attempt": replace(asked, origin=replace(asked.origin, attempt=1)),
        "run": replace(asked, origin=replace(asked.origin, run="x")),
        "base": replace(asked, origin=replace(asked.origin, base="x")),
        "client": training("b"),
    }
    assert again(tmp_path).recall(changed[other]) is None


def test_every_record_is_a_line_of_json_with_its_checksum(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    accept(journal, "a")
    journal.lose(training("b"), Reject(Reason.LATE, 'a "quoted"\nline'))
    journal.commit(5, "base", kept_from=0)
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert kinds == ["run", "accept", "loss", "commit"]


def test_wherever_it_is_cut_whole_records_are_read_and_the_rest_is_gone(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for client in "abc":
        accept(journal, client)
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        journal = again(tmp_path)
        known = [c for c in "abc" if journal.recall(training(c)) is not None]
        assert len(known) == max(sum(end <= length for end in ends) - 1, 0)
        assert path.stat().st_size == max([end for end in ends if end <= length], default=0)


def test_a_damaged_record_and_what_follows_it_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened(tmp_path)
    for client in "abc":
        accept(journal, client)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"b"', b'"z"')
    path.write_bytes(b"".join(lines))
    journal = again(tmp_path)
    assert [journal.recall(training(c)) is not None for c in "abc"] == [True, False, False]
    assert "are damaged and left out" in caplog.text


def test_a_kept_answer_that_was_damaged_is_asked_for_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    accept(opened(tmp_path), "a", as_frame=True)
    (kept,) = (tmp_path / "accepted").iterdir()
    kept.write_bytes(flipped(frame(update("a")), 8 * 200).data)
    assert again(tmp_path).recall(training("a")) is None
    assert "the kept answer of a cannot be read" in caplog.text


def test_a_commit_drops_the_answers_that_no_checkpoint_needs(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for round in (4, 5, 6):
        accept(journal, "a", round=round)
    journal.commit(7, "base", kept_from=5)
    assert sorted(p.name for p in (tmp_path / "accepted").iterdir()) == ["0005-0-train.frames", "0006-0-train.frames"]


def test_only_what_lies_behind_the_checkpoint_is_read(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    accept(journal, "a", round=4)
    offset = journal.commit(5, "base", kept_from=0)
    accept(journal, "b", round=5)
    reopened = again(tmp_path, offset=offset)
    assert reopened.recall(training("a", round=4)) is None
    assert reopened.recall(training("b", round=5)) is not None


def test_a_journal_that_cannot_be_written_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    before = (tmp_path / "journal.jsonl").read_bytes()
    durable = FileJournal(tmp_path / "journal.jsonl", durable=True)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"journal\.jsonl cannot be written: No space left on device"):
        durable.lose(training("a"), Reject(Reason.LATE, "slow"))
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    assert journal.size == len(before)


@pytest.mark.parametrize("stray", ["notes.frames", "0001-notes.frames", ".frames", "9" * 200 + "-0-train.frames"])
def test_a_commit_leaves_what_is_not_its_own(tmp_path: Path, stray: str) -> None:
    journal = opened(tmp_path)
    accept(journal, "a", round=4)
    (tmp_path / "accepted" / stray).write_text("mine")
    journal.commit(6, "ef", kept_from=6)
    assert [p.name for p in (tmp_path / "accepted").iterdir()] == [stray]


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"3", b"{}"[:1], b"[" * 5000, b'{"kind":"accept"}', b'{"kind":"loss","client":[]}',
        said(key={**KEY, "round": []}), said(key={**KEY, "more": 1}), said(key={"run": "r"}), said(more=1),
        said().replace(b'"sha256":"0"', b'"sha256":"0","sha256":"0"'), said().replace(b',"encoding":"float32"', b""),
        said(kept=["a", 0, 1]), said(kept=["0004-0-train.frames", 0.5, 1]),
        said(kept=["0004-0-train.frames", 0, 10**20]),
        b'{"kind":"another","round":4}',
    ],
)  # fmt: skip
def test_a_whole_line_that_is_no_record_of_ours_is_left_out_as_damage(
    tmp_path: Path, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    accept(opened(tmp_path), "a")
    path = tmp_path / "journal.jsonl"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + body[:-1] + b',"crc":"%08x"}\n' % crc32(body[:-1] + b"}"))
    again(tmp_path)
    assert path.stat().st_size == size
    assert "are damaged and left out" in caplog.text


def test_a_kept_answer_is_no_longer_than_its_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The journal may say anything of it; the memory that reading takes is that of the file."""
    accept(opened(tmp_path), "a")
    path = tmp_path / "journal.jsonl"
    first, line = path.read_bytes().splitlines(keepends=True)
    body = re.sub(rb'"kept":\["([^"]*)",0,[0-9]+\]', rb'"kept":["\1",0,1000000000000]', line.rpartition(b',"crc"')[0])
    assert b"1000000000000" in body
    path.write_bytes(first + body + b',"crc":"%08x"}\n' % crc32(body + b"}"))
    journal = again(tmp_path)
    assert isinstance(journal.recall(training("a")), Update)
    path.with_name("accepted").joinpath("0004-0-train.frames").write_bytes(b"")
    assert journal.recall(training("a")) is None
    assert "the kept answer of a cannot be read" in caplog.text
