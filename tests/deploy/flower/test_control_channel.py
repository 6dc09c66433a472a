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
from fedstrata.deploy.flower.control_channel import ControlChannel, Result
from fedstrata.errors import StorageError


@pytest.fixture
def channel(tmp_path: Path) -> ControlChannel:
    (tmp_path / "channel").mkdir()
    return ControlChannel(tmp_path / "channel")


def log(channel: ControlChannel) -> Path:
    assert channel.path is not None
    return channel.path / "said.log"


def full(*arguments: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_lines_are_heard_in_order_each_once(channel: ControlChannel) -> None:
    channel.say("one")
    channel.say("zwei ä")
    text, place = channel.heard(0)
    assert text.splitlines() == ["one", "zwei ä"]
    channel.say("three")
    assert channel.heard(place) == ("three", place + len("three\n"))
    assert channel.heard(place + len("three\n")) == ("", place + len("three\n"))


def test_before_anything_is_said_nothing_is_heard(channel: ControlChannel) -> None:
    assert channel.heard(0) == ("", 0)


def test_a_line_that_is_half_written_is_not_heard_before_it_is_whole(channel: ControlChannel) -> None:
    channel.say("one")
    with log(channel).open("ab") as file:
        file.write("half a l\N{LATIN SMALL LETTER O WITH DIAERESIS}".encode()[:-1])
    text, place = channel.heard(0)
    assert text == "one"
    assert channel.heard(place) == ("", place)
    with log(channel).open("ab") as file:
        file.write(b"\xb6w\n")
    assert channel.heard(place)[0] == "half a löw"


@given(st.lists(st.binary(max_size=6) | st.sampled_from([b"\n", b"a\n", "ö".encode()[:1]]), max_size=8))
def test_however_the_bytes_arrive_every_line_is_heard_once(pieces: list[bytes]) -> None:
    heard, place = "", 0
    with TemporaryDirectory() as folder:
        channel = ControlChannel(Path(folder))
        for piece in pieces:
            with log(channel).open("ab") as file:
                file.write(piece)
            text, then = channel.heard(place)
            heard += f"{text}\n" if then > place else ""
            place = then
    whole, end, _ = b"".join(pieces).rpartition(b"\n")
    assert heard == (whole + end).decode(errors="replace")


def test_what_is_said_is_in_flowers_own_log_too(channel: ControlChannel, capsys: pytest.CaptureFixture[str]) -> None:
    channel.say("round 1 of 3")
    ControlChannel(None).say("round 2 of 3")
    assert capsys.readouterr().out == "round 1 of 3\nround 2 of 3\n"


def test_letters_that_cannot_be_written_end_no_run(channel: ControlChannel) -> None:
    channel.say("the folder b\udcf6se")
    assert channel.heard(0)[0] == "the folder b?se"


def test_the_result_is_there_once_the_run_has_ended(channel: ControlChannel) -> None:
    assert channel.result() is None
    channel.say("round 3 of 3")
    result = Result(130, "stopped", "/runs/ä", "interrupted")
    channel.finish(result)
    assert channel.result() == result
    assert ControlChannel(channel.path).result() == result


def test_whoever_sees_the_result_hears_everything_that_was_said_before(channel: ControlChannel) -> None:
    channel.say("one")
    _, place = channel.heard(0)
    channel.say("the last word")
    channel.finish(Result(0))
    assert channel.result() is not None
    assert channel.heard(place)[0] == "the last word"


def test_a_result_is_whole_or_not_there(channel: ControlChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"result\.json cannot be written: No space left on device"):
        channel.finish(Result(0))
    assert channel.result() is None
    assert channel.path is not None
    assert list(channel.path.iterdir()) == []


def test_a_run_ends_after_its_round_when_it_is_asked_to(channel: ControlChannel) -> None:
    assert not channel.stop_wanted()
    channel.ask_to_stop()
    assert ControlChannel(channel.path).stop_wanted()
    channel.ask_to_stop()
    assert channel.stop_wanted()


def test_a_server_that_nobody_watches_says_what_it_has_to_say_to_flower_alone() -> None:
    channel = ControlChannel(None)
    channel.say("one")
    channel.ask_to_stop()
    channel.finish(Result(0))
    assert not channel.stop_wanted()
    assert channel.heard(5) == ("", 5)
    assert channel.result() is None


def test_a_run_goes_on_when_nobody_watches_any_more(channel: ControlChannel) -> None:
    assert channel.path is not None
    channel.say("one")
    rmtree(channel.path)
    channel.say("two")
    channel.finish(Result(0))
    assert not channel.stop_wanted()
    assert not channel.path.exists()


def test_a_full_disk_ends_no_run(
    channel: ControlChannel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def append(*arguments: object, **options: object) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(module, "append", append)
    channel.say("one")
    assert capsys.readouterr().out == "one\n"
