"""Messages over a socket: whole, bounded, between two that know the key, and never waited for without an end."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from fedstrata.deploy.site.channel import MOST_BYTES, MOST_SAID, Channel, StrangerError

KEY = b"k" * 32
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def beside(work: Callable[[], Any]) -> Callable[[], Any]:
    """Do a piece of work beside, and return what waits for its result or its error."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = Thread(target=run)
    thread.start()

    def result() -> Any:  # noqa: ANN401
        thread.join(20)
        return found[0]

    return result


def test_a_message_arrives_whole(ends: Ends) -> None:
    here, there = (Channel(end, 20) for end in ends)
    blobs = (b"", b"x" * 3_000_000, bytes(7))
    sent = beside(lambda: here.send({"a": [1, None, "ä"]}, blobs))
    assert there.receive() == ({"a": [1, None, "ä"]}, blobs)
    assert sent() is None


def test_two_that_know_the_key_find_each_other(ends: Ends) -> None:
    worker, caller = (Channel(end, 20) for end in ends)
    welcomed = beside(lambda: worker.welcome(KEY))
    caller.introduce(KEY)
    assert welcomed() is None


def test_a_caller_without_the_key_is_turned_away(ends: Ends) -> None:
    worker, caller = (Channel(end, 20) for end in ends)

    def welcome() -> None:
        try:
            worker.welcome(KEY)
        finally:
            ends[0].close()

    welcomed = beside(welcome)
    with pytest.raises((EOFError, ConnectionError)):
        caller.introduce(b"x" * 32)
    assert str(welcomed()) == "the caller does not know the key"


def test_a_worker_without_the_key_is_not_spoken_to(ends: Ends) -> None:
    """It may have sent back what it was sent: a proof of one side is none of the other's."""
    caller, theirs = Channel(ends[0], 20), ends[1]
    introduced = beside(lambda: caller.introduce(KEY))
    theirs.sendall(b"n" * 32)
    said = b""
    while len(said) < 64:
        said += theirs.recv(64)
    theirs.sendall(said[32:])
    assert str(introduced()) == "the worker does not know the key"


@pytest.mark.parametrize(
    "header",
    [
        b"no json",
        b"[]",
        b'{"said": {}}',
        b'{"said": 5, "sizes": []}',
        b'{"said": {}, "sizes": [-1]}',
        b'{"said": {}, "sizes": [1.5]}',
        b'{"said": {}, "sizes": [true]}',
        b'{"said": {}, "sizes": "12"}',
        json.dumps({"said": {}, "sizes": [0] * 70_000}).encode(),
        json.dumps({"said": {}, "sizes": [MOST_BYTES, 1]}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_header_that_is_none_is_refused(ends: Ends, header: bytes) -> None:
    here = Channel(ends[0], 20)
    sent = beside(lambda: ends[1].sendall(struct.pack("<I", len(header)) + header))
    with pytest.raises(StrangerError):
        here.receive()
    assert sent() is None


def test_a_header_that_is_too_long_is_not_read(ends: Ends) -> None:
    ends[1].sendall(struct.pack("<I", MOST_SAID + 1))
    with pytest.raises(StrangerError, match="too long"):
        Channel(ends[0], 20).receive()


def test_the_end_of_the_other_side_is_seen(ends: Ends) -> None:
    ends[1].sendall(struct.pack("<I", 10) + b"{")
    ends[1].close()
    with pytest.raises(EOFError):
        Channel(ends[0], 20).receive()


def test_every_wait_has_an_end(ends: Ends) -> None:
    here = Channel(ends[0], 0.05)
    with pytest.raises(TimeoutError):
        here.receive()
    here.until(0.05)
    with pytest.raises(TimeoutError):
        here.send({}, [bytes(50_000_000)])


def test_another_user_s_process_is_a_stranger(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedstrata.deploy.site.channel.os.getuid", lambda: 12345)
    with pytest.raises(StrangerError, match="another user's process"):
        Channel(ends[0], 1)
