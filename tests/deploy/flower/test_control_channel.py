"""What a run's server and whoever started it tell each other."""

from __future__ import annotations

import errno
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedstrata.deploy.flower.control_channel as module
from fedstrata.deploy.flower.control_channel import Result, Talk
from fedstrata.errors import StorageError


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    (tmp_path / "talk").mkdir()
    return Talk(tmp_path / "talk")


def log(talk: Talk) -> Path:
    assert talk.path is not None
    return talk.path / "said.log"


def full(*arguments: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_lines_are_heard_in_order_each_once(talk: Talk) -> None:
    talk.say("one")
    talk.say("zwei ä")
    text, place = talk.heard(0)
    assert text.splitlines() == ["one", "zwei ä"]
    talk.say("three")
    assert talk.heard(place) == ("three", place + len("three\n"))
    assert talk.heard(place + len("three\n")) == ("", place + len("three\n"))


def test_before_anything_is_said_nothing_is_heard(talk: Talk) -> None:
    assert talk.heard(0) == ("", 0)


def test_a_line_that_is_half_written_is_not_heard_before_it_is_whole(talk: Talk) -> None:
    talk.say("one")
    with log(talk).open("ab") as file:
        file.write("half a l\N{LATIN SMALL LETTER O WITH DIAERESIS}".encode()[:-1])
    text, place = talk.heard(0)
    assert text == "one"
    assert talk.heard(place) == ("", place)
    with log(talk).open("ab") as file:
        file.write(b"\xb6w\n")
    assert talk.heard(place)[0] == "half a löw"


@given(st.lists(st.binary(max_size=6) | st.sampled_from([b"\n", b"a\n", "ö".encode()[:1]]), max_size=8))
def test_however_the_bytes_arrive_every_line_is_heard_once(pieces: list[bytes]) -> None:
    heard, place = "", 0
    with TemporaryDirectory() as folder:
        talk = Talk(Path(folder))
        for piece in pieces:
            with log(talk).open("ab") as file:
                file.write(piece)
            text, then = talk.heard(place)
            heard += f"{text}\n" if then > place else ""
            place = then
    whole, end, _ = b"".join(pieces).rpartition(b"\n")
    assert heard == (whole + end).decode(errors="replace")


def test_what_is_said_is_in_flowers_own_log_too(talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    talk.say("round 1 of 3")
    Talk(None).say("round 2 of 3")
    assert capsys.readouterr().out == "round 1 of 3\nround 2 of 3\n"


def test_letters_that_cannot_be_written_end_no_run(talk: Talk) -> None:
    talk.say("the folder b\udcf6se")
    assert talk.heard(0)[0] == "the folder b?se"


def test_the_result_is_there_once_the_run_has_ended(talk: Talk) -> None:
    assert talk.result() is None
    talk.say("round 3 of 3")
    result = Result(130, "stopped", "/runs/ä", "interrupted")
    talk.finish(result)
    assert talk.result() == result
    assert Talk(talk.path).result() == result


def test_whoever_sees_the_result_hears_everything_that_was_said_before(talk: Talk) -> None:
    talk.say("one")
    _, place = talk.heard(0)
    talk.say("the last word")
    talk.finish(Result(0))
    assert talk.result() is not None
    assert talk.heard(place)[0] == "the last word"


def test_a_result_is_whole_or_not_there(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"result\.json cannot be written: No space left on device"):
        talk.finish(Result(0))
    assert talk.result() is None
    assert talk.path is not None
    assert list(talk.path.iterdir()) == []


def test_a_run_ends_after_its_round_when_it_is_asked_to(talk: Talk) -> None:
    assert not talk.stop_wanted()
    talk.ask_to_stop()
    assert Talk(talk.path).stop_wanted()
    talk.ask_to_stop()
    assert talk.stop_wanted()


def test_a_server_that_nobody_watches_says_what_it_has_to_say_to_flower_alone() -> None:
    talk = Talk(None)
    talk.say("one")
    talk.ask_to_stop()
    talk.finish(Result(0))
    assert not talk.stop_wanted()
    assert talk.heard(5) == ("", 5)
    assert talk.result() is None


def test_a_run_goes_on_when_nobody_watches_any_more(talk: Talk) -> None:
    assert talk.path is not None
    talk.say("one")
    rmtree(talk.path)
    talk.say("two")
    talk.finish(Result(0))
    assert not talk.stop_wanted()
    assert not talk.path.exists()


def test_a_full_disk_ends_no_run(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def append(*arguments: object, **options: object) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(module, "append", append)
    talk.say("one")
    assert capsys.readouterr().out == "one\n"
