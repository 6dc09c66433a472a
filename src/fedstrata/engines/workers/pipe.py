"""Small messages over a socket: four bytes of length, then JSON."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]
_LENGTH = struct.Struct("<I")
_CHUNK = 2**16


class Pipe:
    """One end of a stream socket.

    Example:
        >>> here, there = (Pipe(end) for end in socket.socketpair())
        >>> here.send({"n": 1})
        >>> here.close()
        >>> there.receive(), there.receive(), there.close()
        ({'n': 1}, None, None)
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._got = bytearray()

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self._end.fileno()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: The other end is gone.
        """
        data = json.dumps(message).encode()
        self._end.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> Message | None:
        """Wait for the next message and return it, or ``None`` once the other end is gone."""
        while (message := self.taken()) is None:
            if not self.fill():
                return None
        return message

    def fill(self) -> bool:
        """Take in what has come, waiting for something if nothing has; return whether the other end is there."""
        try:
            part = self._end.recv(_CHUNK)
        except OSError:  # a reset: the other end was killed with something unread
            return False
        self._got += part
        return bool(part)

    def taken(self) -> Message | None:
        """Return the next message that was taken in whole, if there is one."""
        if len(self._got) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(self._got)[0]
        if len(self._got) < end:
            return None
        message: Message = json.loads(self._got[_LENGTH.size : end])
        del self._got[:end]
        return message

    def close(self) -> None:
        """Close it; the other end sees the end."""
        self._end.close()
