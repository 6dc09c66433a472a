"""The worker's side of the socket: one caller after the other, until it has been idle for some time."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from fedstrata.deploy.site.answer import Answering
from fedstrata.deploy.site.channel import Channel, StrangerError

log = logging.getLogger(__name__)

_GREETING = 60.0  # seconds that a caller has to show who it is
_TRANSFER = 600.0  # seconds that a message may take, in or out
_WAITING = 128  # callers who may wait their turn
_LOOK = 15.0  # seconds between two looks at whether the worker can still be found


@dataclass(frozen=True, slots=True)
class Reception:
    """Where callers are served.

    Attributes:
        key: What a caller has to know.
        hello: What each is told first: ``pid``, ``version``, ``log``, ``state``.
        stale: Says why the worker is of no use any more, such as a site file that is another one now; else ``None``.
        idle: Seconds without a caller after which it closes.
        answer: Answers what is said, with the blobs that go with it.
    """

    key: bytes
    hello: Mapping[str, Any]
    stale: Callable[[], str | None]
    idle: float
    answer: Answering

    def serve(self, listening: socket.socket) -> str:
        """Serve until there is a reason to end, and return it.

        Args:
            listening: A listening socket; who has connected waits in it, in order.
        """
        why, since = None, monotonic()
        while why is None:
            left = self.idle - (monotonic() - since)
            if left <= 0:
                why = f"nobody has asked for {self.idle:g} s"
                break
            listening.settimeout(min(left, _LOOK))
            try:
                end, _ = listening.accept()
            except TimeoutError:
                why = self.stale()
                continue
            with end:
                why = self._serve(end)
            since = monotonic()
        return why

    def _serve(self, end: socket.socket) -> str | None:
        """Serve one caller; one that fails authentication or disconnects changes nothing."""
        try:
            channel = Channel(end, _GREETING)
            channel.welcome(self.key)
            why = self.stale()
            if why is not None:
                channel.send({"ending": True})
                return why
            channel.send(dict(self.hello))
            channel.until(_TRANSFER)
            said, blobs = channel.receive()
            if said.get("do") == "end":
                return "it was asked to"
            self._answer(channel, said, blobs)
        except StrangerError as error:
            log.warning("turned a caller away: %s", error)
            return self.stale()
        except (EOFError, OSError):
            pass  # it looked whether somebody is here, or does not want to know any more
        return None

    def _answer(self, channel: Channel, said: Mapping[str, Any], blobs: tuple[bytes, ...]) -> None:
        try:
            asked, layers = dict(said["said"]), dict(zip(said["layers"], blobs, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise StrangerError("it asks for nothing") from error
        answer = self.answer(asked, layers)
        channel.until(_TRANSFER)
        channel.send({"said": answer.said, "blocks": list(answer.blocks)}, answer.parts)


def listen(address: str) -> socket.socket:
    """Return a socket that listens at a path, in the place of a stale one."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(address)
        listening.listen(_WAITING)
    except OSError:
        listening.close()
        raise
    return listening
