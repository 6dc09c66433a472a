"""Messages between a site's worker and its callers: over a Unix socket, with a deadline on every wait.

Both sides prove that they know the key of the runtime folder (HMAC-SHA256 over a nonce of each), and Linux says whose
process the other side is. A message is one JSON header that lists the sizes of the blobs behind it. Nothing is ever
unpickled.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import socket
import struct
import sys
from collections.abc import Iterable
from time import monotonic
from typing import Any

MOST_SAID = 32 * 2**20
"""Bytes of a header, at most."""
MOST_BLOBS, MOST_BYTES = 2**16, 2**36
"""Blobs of a message, and their bytes together, at most."""
_LENGTH = struct.Struct("<I")
_NONCE = 32
_PIECE = 2**20


class StrangerError(Exception):
    """The other side does not know the key, belongs to another user, or does not speak as it should."""


class Channel:
    """One end of a connection.

    Args:
        end: A connected socket.
        seconds: Until when it waits, from now on.

    Raises:
        StrangerError: The other end is another user's.
    """

    def __init__(self, end: socket.socket, seconds: float) -> None:
        self._end = end
        self.until(seconds)
        if _user_of(end) not in (None, os.getuid()):
            raise StrangerError("the other side is another user's process")

    def until(self, seconds: float) -> None:
        """Set how long it waits from now on, all waits together."""
        self._limit = monotonic() + seconds

    def welcome(self, key: bytes) -> None:
        """Check that the caller knows the key, and prove that this side does.

        Raises:
            StrangerError: It does not.
        """
        mine = secrets.token_bytes(_NONCE)
        self._send(mine)
        theirs, proof = self._take(_NONCE), self._take(_NONCE)
        if not hmac.compare_digest(proof, _proof(key, b"caller", mine, theirs)):
            raise StrangerError("the caller does not know the key")
        self._send(_proof(key, b"worker", theirs, mine))

    def introduce(self, key: bytes) -> None:
        """Prove that this side knows the key, and check that the worker does.

        Raises:
            StrangerError: It does not.
        """
        theirs = self._take(_NONCE)
        mine = secrets.token_bytes(_NONCE)
        self._send(mine + _proof(key, b"caller", theirs, mine))
        if not hmac.compare_digest(self._take(_NONCE), _proof(key, b"worker", mine, theirs)):
            raise StrangerError("the worker does not know the key")

    def send(self, said: dict[str, Any], blobs: Iterable[bytes] = ()) -> None:
        """Send a message."""
        parts = tuple(blobs)
        header = json.dumps({"said": said, "sizes": [len(part) for part in parts]}).encode()
        if len(header) > MOST_SAID:
            raise ValueError(f"{len(header)} bytes are too many for what is said in one message")
        self._send(_LENGTH.pack(len(header)) + header)
        for part in parts:
            self._send(part)

    def receive(self) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """Wait for a message and return it.

        Raises:
            StrangerError: It is not one.
            EOFError: The other side is gone.
        """
        length = _LENGTH.unpack(self._take(_LENGTH.size))[0]
        if length > MOST_SAID:
            raise StrangerError(f"a header of {length} bytes is too long")
        said, sizes = _read(self._take(length))
        return said, tuple(self._take(size) for size in sizes)

    def _send(self, data: bytes) -> None:
        self._end.settimeout(self._left())
        self._end.sendall(data)

    def _take(self, size: int) -> bytes:
        """Return exactly so many bytes; memory grows with what comes, not with what is announced."""
        got = bytearray()
        while len(got) < size:
            self._end.settimeout(self._left())
            piece = self._end.recv(min(size - len(got), _PIECE))
            if not piece:
                raise EOFError("the other side is gone")
            got += piece
        return bytes(got)

    def _left(self) -> float:
        left = self._limit - monotonic()
        if left <= 0:
            raise TimeoutError("the other side takes too long")
        return left


def _proof(key: bytes, role: bytes, first: bytes, second: bytes) -> bytes:
    return hmac.digest(key, role + first + second, "sha256")


def _read(header: bytes) -> tuple[dict[str, Any], list[int]]:
    try:
        found = json.loads(header)
        said, sizes = found["said"], found["sizes"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StrangerError("the header is not one of ours") from error
    whole = isinstance(sizes, list) and all(type(size) is int and size >= 0 for size in sizes)
    if not isinstance(said, dict) or not whole or len(sizes) > MOST_BLOBS or sum(sizes) > MOST_BYTES:
        raise StrangerError("the header announces what no message holds")
    return said, sizes


def _user_of(end: socket.socket) -> int | None:
    """Return the user id of the process at the other end, where the system tells."""
    if not sys.platform.startswith("linux"):
        return None
    credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", credentials)[1]
    return user
