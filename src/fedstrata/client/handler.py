"""The client's side of every request: the same function under every engine."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import perf_counter

from torch import Tensor, nn

from fedstrata.client.batching import probed_rows
from fedstrata.client.meter import Meter, Peak
from fedstrata.client.pooled import Pool
from fedstrata.client.prefix_cache import PrefixCache, PrefixVisit
from fedstrata.client.probe import PrefixOf, probe
from fedstrata.client.resident import ResidentModel
from fedstrata.client.state_store import StateStore
from fedstrata.client.train import batches, train
from fedstrata.data.tensors import ClientRows
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import ClientError, nearest
from fedstrata.trainers.protocol import Trainer
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import Evaluate, Evaluated, Probe, Probed, ProbePlan, Reply, Request, Train, Update


@dataclass(frozen=True, slots=True)
class Handler:
    """Answers requests for the clients whose rows are loaded, with one resident model.

    Attributes:
        model: The resident model.
        clients: Rows of each client.
        seeds: The run's random streams.
        eval_batch: Rows per evaluation batch.
        trainer: The parts of training that methods change.
        states: Where clients keep what the trainer wants to know again; ``None`` where it wants nothing.
        meter: Measures memory; a client's probe, and its training by lowest layer and size of the mask, once each.
        pool: Remembers the sums of clients that were evaluated together until each has been asked.
        cache: Where outputs of layers that do not change are kept; ``None`` keeps nothing.
    """

    model: ResidentModel
    clients: Mapping[ClientId, ClientRows]
    seeds: Seeds
    eval_batch: int = 256
    trainer: Trainer = field(default_factory=Sgd)
    states: StateStore | None = None
    meter: Meter = field(default_factory=Meter)
    pool: Pool = field(default_factory=Pool)
    cache: PrefixCache | None = None

    def handle(self, request: Request) -> Reply:
        """Do what is asked.

        Raises:
            ClientError: The client is unknown, or its work failed.
        """
        if request.client not in self.clients:
            raise ClientError(f"no data for client {request.client}; {nearest(request.client, self.clients)}")
        match request:
            case Probe():
                return self._probe(request, request.plan, draw=request.round)
            case Train():
                return self._train(request)
            case Evaluate():
                return self._evaluate(request)

    def _probe(self, request: Probe | Train, plan: ProbePlan, *, draw: int) -> Probed:
        """Measure at the request's weights, over the rows that the probe of round ``draw`` draws."""
        start = perf_counter()
        data = self.clients[request.client]
        indices = self.probed(request.client, plan, draw=draw)
        with self._metered("probe", request.client) as peak:
            stats, loss = probe(
                self.model,
                request.weights,
                rows=data.rows,
                indices=indices,
                batch_size=plan.batch_size,
                statistics=plan.statistics,
                sketch=plan.sketch,
                prefix=self._prefix(request, plan, rows=len(indices)),
            )
        return Probed(request.client, request.round, stats, loss, perf_counter() - start, peak.bytes, request.origin)

    def _prefix(self, request: Probe | Train, plan: ProbePlan, *, rows: int) -> PrefixOf | None:
        """Return what gives the client's rows below the selectable layers.

        Those layers never change, so every row is computed once in a run; not where a probe draws less than half of
        them, which might never come to most.
        """
        data, held = self.clients[request.client], plan.prefix
        if held is None or 2 * rows < len(data.train):
            return None
        cache = self.cache or PrefixCache(self.model, 0)

        def prefix(parameters: Mapping[TensorName, nn.Parameter]) -> PrefixVisit | None:
            found = cache.visit(request.weights, parameters, rows=data.rows, indices=data.train, held=held)
            return found if isinstance(found, PrefixVisit) else None

        return prefix

    def probed(self, client: ClientId, plan: ProbePlan, *, draw: int) -> Tensor:
        """Return the rows that a client's probe of round ``draw`` measures, in drawn order; shape ``[rows]``."""
        data = self.clients[client]
        rng = self.seeds.generator(Phase.PROBE, round=draw, client=client)
        return probed_rows(data.train, plan, rng, data.together)

    def trained(self, request: Train) -> Iterator[Tensor]:
        """Yield the rows of each local step, as training draws them."""
        data = self.clients[request.client]
        rng = self.seeds.generator(Phase.TRAIN, round=request.round, client=request.client)
        rng.integers(2**63)  # of the stream that local training draws from, the first number seeds torch
        return batches(data.train, request.plan, rng, data.together)

    def _train(self, request: Train) -> Update:
        """Train; what is piggybacked on the update is measured first, so that the memory of the two does not add up."""
        piggybacked = self._probe(request, request.probe, draw=request.round + 1) if request.probe else None
        start = perf_counter()
        data = self.clients[request.client]
        mask = request.mask
        with self._metered("train", (request.client, min(mask, default=-1), len(mask))) as peak:
            store = self._store(request)
            names = [t.name for t in self.model.layers.tensors_of(mask)]
            result = train(
                self.model,
                request.weights,
                mask=mask,
                rows=data.rows,
                indices=data.train,
                plan=request.plan,
                rng=self.seeds.generator(Phase.TRAIN, round=request.round, client=request.client),
                together=data.together,
                trainer=self.trainer,
                state=store.read(request, names) if store else None,
                cache=self.cache,
            )
            if store:
                store.write(request, result.state)
        return Update(
            client=request.client,
            round=request.round,
            mask=request.mask,
            deltas=result.deltas,
            num_examples=len(data.train),
            steps=result.steps,
            loss_first=result.loss_first,
            loss_mean=result.loss_mean,
            seconds=perf_counter() - start,
            peak_bytes=peak.bytes,
            origin=request.origin,
            piggybacked=piggybacked,
            prefix=result.prefix.state,
            prefix_read=result.prefix.read,
            prefix_computed=result.prefix.computed,
            prefix_bytes=result.prefix.bytes,
        )

    def _store(self, request: Train) -> StateStore | None:
        """Return where the client's state is, if the run has its clients keep one.

        Raises:
            ClientError: There is no such place.
        """
        if request.states is not None and self.states is None:
            raise ClientError("the run's trainer keeps a state between rounds, and there is no folder for it here")
        return self.states if request.states is not None else None

    def _metered(self, phase: str, kind: Hashable) -> AbstractContextManager[Peak]:
        return self.meter.of(phase, kind, device=self.model.device, held=lambda: self.model.bytes)

    def _evaluate(self, request: Evaluate) -> Evaluated:
        data = self.clients[request.client]
        loss, correct = self.pool.sums(
            self.model, request, clients=self.clients, batch_size=self.eval_batch, cache=self.cache
        )
        return Evaluated(request.client, request.round, loss, correct, len(data.held_out), request.origin)
