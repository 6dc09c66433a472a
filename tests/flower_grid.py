"""A Flower grid in memory, whose sites answer, forge, go away and come back as a test tells them to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from flwr.app import Message, RecordDict
from flwr.app.error import Error
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from safetensors.torch import load as load_blob

from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import LayerMap
from fedstrata.engines.flower.envelope import Envelope, enclose, opened
from fedstrata.engines.local import answer
from fedstrata.engines.protocol import ClientHandler
from fedstrata.wire.declaration import Declaration
from fedstrata.wire.digests import digest_of
from fedstrata.wire.messages import Train, Weights
from fedstrata.wire.reply_frames import parts
from fedstrata.wire.requests import from_json

NODE_UNAVAILABLE = 5


@dataclass(slots=True)
class ToySite:
    """A site with a handler, and the layers that it has been sent."""

    handler: ClientHandler
    layers: LayerMap
    start: Weights
    declaration: Declaration = field(default_factory=lambda: Declaration(10))
    cache: dict[str, Weights] = field(default_factory=dict)
    seen: list[Envelope] = field(default_factory=list)

    def holds(self) -> frozenset[str]:
        return frozenset(digest_of(block, self.start) for block in self.layers.layers)

    def __call__(self, envelope: Envelope) -> Envelope:
        self.seen.append(envelope)
        if envelope.said["kind"] == "join":
            return Envelope({"kind": "declaration", **self.declaration.to_json()}, {})
        weights = self.weights(envelope)
        if not isinstance(weights, dict):
            return Envelope({"kind": "missing", "blocks": weights}, {})
        request = from_json(envelope.said["request"], weights)
        reply = answer(self.handler, request)
        blocks = self.layers.blocks(request.mask) if isinstance(request, Train) else ()
        made = parts(reply, blocks if len(blocks) and not hasattr(reply, "reason") else ())
        names = ["/head", *(b.name for b in blocks)][: len(made)]
        return Envelope({"kind": "frame"}, dict(zip(names, made, strict=True)))

    def weights(self, envelope: Envelope) -> dict[TensorName, Any] | list[LayerName]:
        found: dict[TensorName, Any] = {}
        missing: list[LayerName] = []
        for block in self.layers.trainable:
            digest = envelope.said["manifest"][block.name]
            if block.name in envelope.blobs:
                self.cache[digest] = {TensorName(n): t for n, t in load_blob(envelope.blobs[block.name]).items()}
            base = {n: self.start[n] for n in block.tensor_names}
            source = (
                base if block in self.layers.layers and digest == digest_of(block, base) else self.cache.get(digest)
            )
            if source is None:
                missing.append(block.name)
            else:
                assert digest_of(block, source) == digest
                found |= source
        return missing or found


Answer = Callable[[Envelope], Envelope]
Forge = Callable[[Message, Message], Message | None]
"""Is given a message and its true answer, and returns what Flower hands over in its place; ``None`` loses it."""


@dataclass(slots=True)
class FakeNode:
    """A node of Flower: a key, and who answers."""

    key: bytes
    answer: Answer
    activated: str = "0"
    online: bool = True


class FakeGrid(Grid):
    """Delivers at once and answers when it is asked for replies; messages to nodes that are away are lost."""

    def __init__(self, nodes: dict[int, FakeNode], forge: Forge = lambda message, reply: reply) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 7, 1, 1
        self.nodes, self.forge = nodes, forge
        self.pushed: list[Message] = []
        self.answered: dict[str, Message] = {}
        self._numbers = count()
        self.held: set[int] = set()
        """Nodes that take messages and do not answer."""

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [number for number, node in self.nodes.items() if node.online]

    def get_nodes(self) -> Iterable[NodeInfo]:
        for number in self.get_node_ids():
            node = self.nodes[number]
            yield NodeInfo(node_id=number, public_key=node.key, last_activated_at=node.activated)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        numbers = []
        for message in messages:
            number = f"m{next(self._numbers)}"
            message.metadata.__dict__["_message_id"] = number
            self.pushed.append(message)
            numbers.append(number)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        wanted = set(message_ids)
        for message in list(self.pushed):
            if message.metadata.message_id in wanted and message.metadata.message_id not in self.answered:
                reply = self._reply(message)
                if reply is not None:
                    self.answered[message.metadata.message_id] = reply
                    yield reply

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(m.content.config_records["fedstrata"]["json"]) for m in self.pushed]  # type: ignore[arg-type]

    def _reply(self, message: Message) -> Message | None:
        number = message.metadata.dst_node_id
        node = self.nodes[number]
        if not node.online:
            return Message(Error(NODE_UNAVAILABLE, "the node is not available"), reply_to=message)
        if number in self.held:
            return None
        envelope = opened(message.content)
        said = node.answer(envelope)
        reply = Message(enclose(Envelope({**said.said, "nonce": envelope.said["nonce"]}, said.blobs)), reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = number
        return self.forge(message, reply)


def key_of(name: str) -> bytes:
    return f"key of {name}".encode()


def keys_of(*names: str) -> dict[ClientId, bytes]:
    return {ClientId(name): key_of(name) for name in names}
