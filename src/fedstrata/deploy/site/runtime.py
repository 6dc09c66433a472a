"""A site's runtime: rows, model and handler for one run's specification, opened once and kept warm."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version

import torch

from fedstrata.assembly.inputs import rows_hash
from fedstrata.assembly.loading import load_rows
from fedstrata.assembly.runtime import handler_of, open_workplace
from fedstrata.client.handler import Handler
from fedstrata.client.prefix_cache import PrefixCache
from fedstrata.client.resident import ResidentModel
from fedstrata.client.state_store import StateStore
from fedstrata.config.load import Loaded
from fedstrata.data.kinds import Own
from fedstrata.data.tensors import ClientRows, FederatedData
from fedstrata.deploy.site.cache import LayerCache
from fedstrata.deploy.site.config import SiteConfig
from fedstrata.deploy.site.layer_store import LayerStore
from fedstrata.deploy.site.limits import check_threads
from fedstrata.deploy.site.pins import check_pins
from fedstrata.deploy.site.refusal import refused_layers
from fedstrata.deploy.site.rows import in_groups, rows_alone
from fedstrata.deploy.site.run_spec import RunSpec, compose, own_blocks
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.errors import ClientError
from fedstrata.wire.declaration import Declaration
from fedstrata.wire.messages import Evaluate, Probe, Request, Train

log = logging.getLogger(__name__)

VERSIONS = ("fedstrata", "torch", "transformers", "numpy")
"""Packages that a site's bits depend on."""


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """What a site needs to work for a run.

    Attributes:
        client: The site's name in the run.
        layers: The model's blocks.
        refused: The layers that the site refuses.
        layer_store: The blocks that it holds.
        handler: The client's side of every request.
        resident: The model that it trains on.
        rows_hash: Content hash of its rows, for its own log: it never leaves.
    """

    client: ClientId
    layers: LayerMap
    refused: Mask
    layer_store: LayerStore
    handler: Handler
    resident: ResidentModel
    rows_hash: str

    @property
    def rows(self) -> ClientRows:
        """The site's rows."""
        return self.handler.clients[self.client]

    def rows_of(self, request: Request) -> int:
        """Return how many different rows an answer is computed from, without the probe that is piggybacked on it."""
        match request:
            case Train():
                return _different(self.handler.trained(request), len(self.rows.train))
            case Probe():
                return len(self.handler.probed(request.client, request.plan, draw=request.round))
            case Evaluate():
                return len(self.rows.held_out)

    def declaration(self, site: SiteConfig) -> Declaration:
        """Return what the site says of itself when it joins."""
        return Declaration(
            num_examples=len(self.rows.train),
            held_out=len(self.rows.held_out),
            budget=site.budget,
            refused=tuple(self.layers.names[index] for index in sorted(self.refused)),
            holds=self.layer_store.hashes(),
            versions=_versions(),
            device=self.resident.device.type,
        )


@lru_cache
def _versions() -> Mapping[str, str]:
    """Return the packages' versions, which are read from files."""
    return {name: version(name) for name in VERSIONS}


def open_runtime(site: SiteConfig, run_spec: RunSpec, client: ClientId, cache: LayerCache) -> Runtime:
    """Load rows and model for a run.

    Args:
        site: The site's own file.
        run_spec: What the server says of the run.
        client: The site's name in the run.
        cache: Layers on disk.

    Raises:
        ConfigError: Something that is named does not fit, or a refused layer does not exist.
        DataError: The data cannot be used.
        ClientError: The server asks for what it may not.
    """
    check_pins(site.pin, run_spec)
    check_threads(run_spec.threads, site.limits)
    loaded, seed = compose(site, run_spec, client)
    found: list[str] = []
    place = open_workplace(loaded, lambda work: _rows(work, seed, client, site, found))
    _check_labels(place.data, run_spec)
    layers = place.network.layers
    refused = refused_layers(site.limits.refuse, place.network.model, layers, own_blocks(site))
    tensors = {TensorName(name): p.detach() for name, p in place.network.model.named_parameters()}
    layer_store = LayerStore(layers, tensors, cache, place.device)
    resident = place.resident()
    log.info("loaded the model (%d layers) and %d rows", len(layers), len(place.data.clients[client].rows))
    prefixes = PrefixCache(
        resident, 0 if "bytes_peak" in site.budget else None, evaluates=False
    )  # its price is nobody's
    handler = handler_of(loaded, resident, place.data, _states(site), prefixes)
    return Runtime(client, layers, refused, layer_store, handler, resident, found[-1])


def renamed(runtime: Runtime, site: SiteConfig, run_spec: RunSpec, client: ClientId) -> Runtime:
    """Return the runtime under another name, which the rows that are held out depend on; the model stays.

    Raises:
        ConfigError: The name cannot be one.
        DataError: The data cannot be used.
    """
    loaded, seed = compose(site, run_spec, client)
    found: list[str] = []
    rows, before = _rows(loaded, seed, client, site, found), runtime.handler
    handler = handler_of(loaded, runtime.resident, rows, before.states, before.cache)
    return replace(runtime, client=client, handler=handler, rows_hash=found[-1])


def _states(site: SiteConfig) -> StateStore:
    """Return where the site keeps what trainers want to know again: no more than its own file allows."""
    return StateStore(site.state / "client-states", site.client_state_bytes)


def _different(batches: Iterator[torch.Tensor], most: int) -> int:
    """Return how many different rows are in some batches of ``most`` rows."""
    seen: set[int] = set()
    for batch in batches:
        seen |= set(batch.tolist())
        if len(seen) == most:
            break
    return len(seen)


def _rows(loaded: Loaded, seed: int, client: ClientId, site: SiteConfig, hashes: list[str]) -> FederatedData:
    """Return the client's rows, divided and held out as ``seed`` has it, and in groups if the site's file asks for it.

    Their hash is added to ``hashes``.

    Rows in groups are divided by groups: a share's as its configuration, the site's own word, divides them.
    """
    config = loaded.config.model_copy(update={"seed": seed})
    data, source = load_rows(replace(loaded, config=config)), loaded.components.data
    hashes += [rows_hash(data.clients[client])] if client in data.clients else []
    share = source.held_out if isinstance(source, Own) else None
    clients = {
        name: in_groups(rows, site.limits.min_rows, held_out=share) if name == client else rows
        for name, rows in data.clients.items()
    }
    return rows_alone(replace(data, clients=clients), client)


def _check_labels(data: FederatedData, run_spec: RunSpec) -> None:
    if data.labels != run_spec.labels:
        ours, theirs = len(data.labels), len(run_spec.labels)
        counts = f"{theirs} labels of the run, {ours} here" if ours != theirs else "others, or in another order"
        log.error("the run's labels are %s; those of the rows here are %s", run_spec.labels[:50], data.labels[:50])
        raise ClientError(
            f"the run's labels are not those of the rows here ({counts}); the site's own worker.log lists both"
        )
