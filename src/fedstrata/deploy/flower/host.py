"""What an actor of Flower's simulation is: any client of the run, with one model and one cache for all of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context

from fedstrata.deploy.flower.client import enveloped
from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.envelope import Envelope

if TYPE_CHECKING:
    from fedstrata.client.handler import Handler
    from fedstrata.deploy.site.layer_store import LayerStore

_CACHE_BYTES = 8 * 10**9


@dataclass(frozen=True, slots=True)
class Place:
    """What an actor has to know to be any client of the run; it travels to every actor.

    Attributes:
        folder: Where the layers lie that were sent to this machine.
        config: The run's configuration, resolved.
        names: The client of each partition.
        states: Where clients keep what the trainer wants to know again.
    """

    folder: str
    config: str
    names: tuple[ClientId, ...]
    states: str

    def serve(self, envelope: Envelope, context: Context) -> Envelope:
        """Answer a message as the client whose partition this is."""
        partition = int(context.node_config["partition-id"])
        if envelope.said.get("kind") == "who":
            return Envelope({"kind": "partition", "partition": partition}, {})
        host, client = _host(self), self.names[partition]
        return host.declare(client) if envelope.said.get("kind") == "join" else host.work(envelope)


@dataclass(frozen=True, slots=True)
class Host:
    """Serves every client, with what a run's configuration gives each.

    Attributes:
        handler: The clients' side of every request.
        layer_store: The layers that are here.
        device: Where clients compute.
    """

    handler: Handler
    layer_store: LayerStore
    device: str

    def declare(self, client: ClientId) -> Envelope:
        """Return what a client has."""
        from fedstrata.wire.declaration import Declaration

        rows = self.handler.clients[client]
        word = Declaration(len(rows.train), len(rows.held_out), holds=self.layer_store.hashes(), device=self.device)
        return Envelope({"kind": "declaration", **word.to_json()}, {})

    def work(self, envelope: Envelope) -> Envelope:
        """Do what a message asks, or say which layers are missing."""
        from fedstrata.deploy.site.service import framed
        from fedstrata.engines.local import answer
        from fedstrata.wire.messages import Train
        from fedstrata.wire.requests import from_json

        weights, missing = self.layer_store.weights(envelope.said["manifest"], envelope.blobs)
        if missing:
            return Envelope({"kind": "missing", "blocks": list(missing)}, {})
        request = from_json(envelope.said["request"], weights)
        reply = answer(self.handler, request)
        blocks = self.handler.model.layers.blocks(request.mask) if isinstance(request, Train) else ()
        sent = enveloped(framed(reply, blocks, request))
        return Envelope({**sent.said, "seconds": getattr(reply, "seconds", 0.0)}, sent.blobs)


@cache
def _host(place: Place) -> Host:
    """Return the actor's host, kept for the life of the actor."""
    from fedstrata.assembly.runtime import cache_memory, handler_of, open_workplace, prefix_cache
    from fedstrata.client.state_store import StateStore
    from fedstrata.config.load import check_config
    from fedstrata.deploy.site.cache import LayerCache
    from fedstrata.deploy.site.layer_store import LayerStore
    from fedstrata.parsing.yaml_text import yaml_value

    values, _ = yaml_value(place.config, "the run's configuration")
    loaded = check_config(values)
    workplace = open_workplace(loaded)
    resident = workplace.resident()
    tensors = dict(resident.module.named_parameters())
    held = LayerStore(
        resident.layers,
        {name: parameter.data for name, parameter in tensors.items()},  # type: ignore[misc]
        LayerCache(Path(place.folder) / "layers", _CACHE_BYTES),
        resident.device,
    )
    states = StateStore(Path(place.states))
    prefixes = prefix_cache(loaded, resident, cache_memory(loaded, os.cpu_count() or 1))  # actors are that many at most
    handler = handler_of(loaded, resident, workplace.data, states, prefixes)
    return Host(handler, held, resident.device.type)
