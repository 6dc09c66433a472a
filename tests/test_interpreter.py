"""Messages between a process and its workers: JSON, whole or none, and nothing is unpickled."""

from __future__ import annotations

import os
import pickle
import socket
import struct
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest

from fedstrata.interpreter import Interpreter, receive, send

Ends = tuple[Connection, Connection]


@pytest.fixture
def ends() -> Iterator[Ends]:
    here, there = Pipe()
    with here, there:
        yield here, there


def test_messages_arrive_one_by_one_in_order(ends: Ends) -> None:
    here, there = ends
    for message in ({"a": [1, None, "ä"]}, {}, {"text": "x" * 50_000}):
        send(here, message)
    assert [receive(there), receive(there), receive(there)] == [{"a": [1, None, "ä"]}, {}, {"text": "x" * 50_000}]
    assert not there.poll()


@pytest.mark.parametrize("part", [b"", b"\0\0", struct.pack("!i", 10), struct.pack("!i", 10) + b'{"a"'])
def test_a_message_that_was_broken_off_is_the_end(ends: Ends, part: bytes) -> None:
    here, there = ends
    os.write(here.fileno(), part)
    here.close()
    assert receive(there) is None


def test_a_message_that_is_too_long_is_not_read(ends: Ends) -> None:
    os.write(ends[0].fileno(), struct.pack("!i", 2**30))
    assert receive(ends[1]) is None


def test_who_sends_to_nobody_hears_of_it(ends: Ends) -> None:
    ends[1].close()
    with pytest.raises(BrokenPipeError):
        send(ends[0], {})


class Harmful:
    """Does something when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


def test_a_pickle_is_no_message(ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ends[0].send_bytes(pickle.dumps(Harmful()))
    with pytest.raises(ValueError):
        receive(ends[1])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interpreter]:
    """A worker that says half a message, and reads nothing; both are waited for during 10 ms alone."""
    monkeypatch.setattr("fedstrata.interpreter._LIMIT", struct.pack("ll", 0, 10_000))
    socket.setdefaulttimeout(0.001)  # as a library may
    try:
        with Path(os.devnull).open("w") as output:
            worker = Interpreter("worker_that_says_half", output=output.fileno())
    finally:
        socket.setdefaulttimeout(None)
    yield worker
    worker.end()
    assert worker.ended()


def test_a_worker_that_stops_in_the_middle_of_a_message_counts_as_gone(stuck: Interpreter) -> None:
    assert os.get_blocking(stuck.pipe.fileno())
    wait([stuck.pipe])
    assert receive(stuck.pipe) is None


def test_a_worker_that_does_not_read_counts_as_gone(stuck: Interpreter) -> None:
    with pytest.raises(OSError):
        send(stuck.pipe, {"text": "x" * 10_000_000})
