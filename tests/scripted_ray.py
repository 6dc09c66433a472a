"""A Ray cluster in this process, which does what a test says: nodes die on demand, and nobody waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import ray

from fedstrata.engines.ray.actor import ClientActor


@dataclass(eq=False)
class Reference:
    """What a call returns: a value, an error, or neither as long as nothing has come."""

    value: object = None
    error: Exception | None = None
    done: bool = True
    order: int = field(default_factory=count().__next__)


@dataclass(eq=False)
class Scripted:
    """What the engine takes for Ray, and for the cluster's room.

    Attributes:
        nodes: Name of the node of each actor in turn; ``None`` is no room, so that it never starts.
        does: What happens to a client's work instead, by the client's name.
        started: All actors that were ever made.
        killed: Those that were ended from outside.
    """

    nodes: list[str | None]
    does: dict[str, Callable[[], Reference]] = field(default_factory=dict)
    started: list[Actor] = field(default_factory=list)
    killed: list[Actor] = field(default_factory=list)
    handed: list[object] = field(default_factory=list)
    exceptions = ray.exceptions

    def remote(self, kind: type) -> Scripted:
        """Return what makes actors of a class."""
        assert kind is ClientActor
        return _Maker(self)  # type: ignore[return-value]

    def put(self, value: object) -> Reference:
        """Hand a value to the cluster."""
        self.handed.append(value)
        return Reference(value)

    def get(self, asked: Reference | Sequence[Reference]) -> object:
        """Return values, or raise what befell them."""
        if isinstance(asked, Sequence):
            return [self.get(one) for one in asked]
        assert asked.done
        if asked.error is not None:
            raise asked.error
        return asked.value

    def wait(self, asked: Sequence[Reference], *, timeout: float) -> tuple[list[Reference], list[Reference]]:
        """Return the one that has been done for longest."""
        done = min((one for one in asked if one.done), key=lambda one: one.order, default=None)
        return ([] if done is None else [done]), [one for one in asked if one is not done]

    def kill(self, actor: Actor, *, no_restart: bool) -> None:
        """End an actor."""
        assert no_restart
        self.killed.append(actor)


@dataclass(eq=False)
class _Maker:
    cluster: Scripted
    reserved: Mapping[str, object] = field(default_factory=dict)

    def options(self, **reserved: object) -> _Maker:
        return _Maker(self.cluster, reserved)

    def remote(self, spec: Reference) -> Actor:
        place = len(self.cluster.started)
        node = self.cluster.nodes[place] if place < len(self.cluster.nodes) else None
        made = Actor(self.cluster, ClientActor(spec.value), node, self.reserved)  # type: ignore[arg-type]
        self.cluster.started.append(made)
        return made


@dataclass(eq=False)
class Actor:
    """An actor: the real one, in this process."""

    cluster: Scripted
    inner: ClientActor
    node: str | None
    reserved: Mapping[str, object]
    clients: list[str] = field(default_factory=list)

    @property
    def prepare(self) -> Any:  # noqa: ANN401  a method of Ray's
        """Load, if there is room."""
        return _Method(self._prepare)

    @property
    def work(self) -> Any:  # noqa: ANN401  a method of Ray's
        """Answer, or let happen what the test says."""
        return _Method(self._work)

    def _prepare(self, server: bytes) -> Reference:
        if self.node is None:
            return Reference(done=False)
        if self.node == "dying":
            return Reference(error=ray.exceptions.ActorDiedError())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fedstrata.engines.ray.actor.here", lambda: self.node)
            return Reference(self.inner.prepare(server))

    def _work(self, request: bytes, objects: Mapping[str, Any]) -> Reference:
        client = str(json.loads(request)["client"])
        self.clients.append(client)
        if client in self.cluster.does:
            return self.cluster.does[client]()
        return Reference(self.inner.work(request, objects))


@dataclass(frozen=True)
class _Method:
    call: Callable[..., Reference]

    def remote(self, *arguments: object) -> Reference:
        return self.call(*arguments)


def died() -> Reference:
    """Return what Ray says of a call whose node has died."""
    return Reference(error=ray.exceptions.ActorDiedError())
