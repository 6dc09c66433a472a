"""Messages out and in: pushed one by one, pulled as they come, told apart by what Flower knows of them.

Flower's own ``send_and_receive`` looks for replies every three seconds; this looks as often as it is told to.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import monotonic

import httpx
from flwr.app import Message
from flwr.serverapp import Grid

from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.envelope import Envelope, enclose, opened, words
from fedstrata.engines.flower.roster import Node

log = logging.getLogger(__name__)

_UNAVAILABLE = frozenset({3, 4, 5})
"""Flower's error codes for messages, replies and nodes that are not there (flwr.common.constant.ErrorCode)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is on its way.

    Attributes:
        client: To whom.
        node: Over which connection.
        nonce: What a reply has to repeat; nobody else has seen it.
        bytes: Bytes of its blobs.
        at: When it was sent, on the machine's monotonic clock.
    """

    client: ClientId
    node: Node
    nonce: str
    bytes: int
    at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A message without a proper answer.

    Attributes:
        why: One sentence.
        again: Whether the site may be asked again: it was not there, or somebody answered in its place.
    """

    why: str
    again: bool = False


class Transport:
    """The messages of one run over a grid.

    Args:
        grid: Flower's.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._sent: dict[str, Sent] = {}

    @property
    def waiting(self) -> frozenset[ClientId]:
        """Whom an answer is awaited from."""
        return frozenset(sent.client for sent in self._sent.values())

    def sent_to(self, client: ClientId) -> tuple[Sent, ...]:
        """Return the messages to a client that have no answer yet."""
        return tuple(sent for sent in self._sent.values() if sent.client == client)

    def send(self, client: ClientId, node: Node, kind: str, envelope: Envelope, *, ttl: float | None) -> bool:
        """Send a message; return whether Flower took it.

        Args:
            client: To whom.
            node: Over which connection.
            kind: Flower's message type.
            envelope: What is in it.
            ttl: Seconds for which it and its answer are of use.
        """
        nonce = secrets.token_hex(16)
        content = enclose(replace(envelope, said={**envelope.said, "nonce": nonce}))
        numbers = list(self._grid.push_messages([Message(content, node.id, kind, ttl=ttl)]))
        if not numbers or not numbers[0]:  # Flower returns nothing, None or "" for what it does not take
            return False
        self._sent[numbers[0]] = Sent(client, node, nonce, envelope.bytes, monotonic())
        return True

    def receive(self) -> Iterator[tuple[Sent, Envelope | Lost]]:
        """Yield the answers that have come."""
        if not self._sent:
            return
        for number, message in self._pulled():
            sent = self._sent.pop(number, None)
            if sent is not None:
                yield sent, message if isinstance(message, Lost) else _read(message, sent)

    def _pulled(self) -> Iterator[tuple[str, Message | Lost]]:
        """Yield what has come, by the message that it answers.

        Flower puts all answers together before it hands over one: one that cannot be put together would stop all.
        """
        try:
            found = list(self._grid.pull_messages(list(self._sent)))
        except httpx.HTTPError:  # the SuperLink is gone, after all the tries that Flower makes
            raise
        except Exception as error:
            log.warning("an answer cannot be put together (%s); asking for each one by itself", words(str(error), 200))
            yield from self._pulled_singly()
            return
        yield from ((message.metadata.reply_to_message_id, message) for message in found)

    def _pulled_singly(self) -> Iterator[tuple[str, Message | Lost]]:
        for number in list(self._sent):
            try:
                yield from ((number, message) for message in self._grid.pull_messages([number]))
            except httpx.HTTPError:
                raise
            except Exception as error:
                yield number, Lost(f"its answer cannot be put together: {words(str(error), 200)}")

    def forget(self) -> None:
        """Wait for no answer any more; one that still comes is never fetched."""
        self._sent.clear()


def _read(message: Message, sent: Sent) -> Envelope | Lost:
    if message.has_error():
        error = message.error
        again = error.code in _UNAVAILABLE
        return Lost(f"Flower reports error {error.code}: {words(error.reason, 300) or 'no reason given'}", again)
    if message.metadata.src_node_id != sent.node.id:
        log.warning("an answer for %s came over the connection of another site and does not count", sent.client)
        return Lost("the answer came over another site's connection", again=True)
    try:
        envelope = opened(message.content)
    except ValueError as error:
        return Lost(str(error))
    if not secrets.compare_digest(str(envelope.said.get("nonce")).encode(), sent.nonce.encode()):
        log.warning("an answer for %s does not repeat what it was asked with and does not count", sent.client)
        return Lost("the answer belongs to another message", again=True)
    return envelope
