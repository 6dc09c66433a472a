"""One round, from top to bottom: the only loop body, under every engine.

sample -> PROBE -> score -> SELECT -> TRAIN -> AGGREGATE -> record
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.cost import Visit
from fedstrata.domain.ids import ClientId
from fedstrata.domain.messages import Failure, Probe, Probed, Reply, Train, Update
from fedstrata.domain.records import RoundRecord
from fedstrata.domain.seeds import Phase
from fedstrata.domain.selection import Selection, check
from fedstrata.engines.protocol import Engine
from fedstrata.errors import SelectionError, TrainingError
from fedstrata.server.admission import admit
from fedstrata.server.bookkeeping import Ledger
from fedstrata.server.method import Setting
from fedstrata.server.observers import Observer
from fedstrata.server.state import ServerState

R = TypeVar("R", Probed, Update)


def play_round(
    state: ServerState, setting: Setting, engine: Engine, observer: Observer
) -> tuple[ServerState, RoundRecord]:
    """Play one round and return the state after it, with the record of what happened.

    Args:
        state: The state before the round; not changed.
        setting: The run's method, clients and plans.
        engine: Where the clients execute.
        observer: Is told of each client as it finishes.

    Raises:
        TrainingError: No client returned a usable update; the round is abandoned and ``state`` still stands.
        SelectionError: The selector broke its contract.
    """
    start, method = perf_counter(), setting.method
    cohort = setting.sampler.sample(list(setting.profiles), setting.seeds.generator(Phase.SAMPLE, round=state.round))
    ledger = Ledger(state, setting, cohort)
    observer.round_started(state.round, len(cohort))

    to_probe = method.selector.probes(state.round, cohort, state.selector)
    probing = engine.send(
        (Probe(c, state.round, state.weights, setting.probe_plan()) for c in to_probe),
        deadline=setting.deadline,
    )
    probed = {r.client: r for r in _keep(probing, to_probe, Probed, ledger, observer)}
    present = [c for c in cohort if c not in ledger.failures]
    if not present:
        raise TrainingError(_abandoned(state.round, "probe", ledger.failures.values()))
    scores = _score_table(present, probed, setting)

    problem = setting.problem(state.round, _visits(state, setting, present, probed), scores)
    selection, selector_state = method.selector.select(problem, state.selector)
    check(selection, problem)
    ledger.note_selection(selection, probed, scores, {c: problem.price(c, m) for c, m in selection.masks.items()})

    training = engine.send(_train_requests(state, setting, selection, present), deadline=setting.deadline)
    updates = (
        update
        for update in _keep(training, present, Update, ledger, observer)
        if ledger.note_update(update, admit(update, selection.masks[update.client], setting.layers, state.weights))
    )
    weights, aggregator_state = method.aggregator.apply(state.weights, updates, state.aggregator)
    if not ledger.contributors:
        raise TrainingError(_abandoned(state.round, "training", ledger.failures.values()))

    record, moved = ledger.close(weights, selection, seconds=perf_counter() - start)
    after = ServerState(
        round=state.round + 1,
        weights=weights,
        selector=selector_state,
        aggregator=aggregator_state,
        traffic=state.traffic.after(state.round, present, moved),
        best=state.best,
    )
    return after, record


def _visits(
    state: ServerState, setting: Setting, present: Sequence[ClientId], probed: Mapping[ClientId, Probed]
) -> dict[ClientId, Visit]:
    return {c: Visit(probed=c in probed, bytes_down=state.traffic.bytes_down(c, setting.layers)) for c in present}


def _train_requests(
    state: ServerState, setting: Setting, selection: Selection, present: Sequence[ClientId]
) -> Iterator[Train]:
    plan = setting.train_plan(state.round)
    return (Train(c, state.round, state.weights, selection.masks[c], plan) for c in present)


def _keep(
    replies: Iterable[Reply], asked: Sequence[ClientId], kind: type[R], ledger: Ledger, observer: Observer
) -> Iterator[R]:
    """Yield the replies that are what was asked for; failures go to the ledger and the round goes on."""
    phase: Literal["probe", "train"] = "probe" if kind is Probed else "train"
    for done, (client, reply) in enumerate(zip(asked, replies, strict=True), start=1):
        if isinstance(reply, Failure):
            ledger.note_failure(reply)
        elif not isinstance(reply, kind) or reply.client != client or reply.round != ledger.round:
            got = f"{type(reply).__name__} of {reply.client} in round {reply.round}"
            ledger.note_failure(Failure(client, ledger.round, phase, "SCHEMA", f"asked for {kind.__name__}, got {got}"))
        else:
            yield reply
        observer.client_done(phase, client, done=done, total=len(asked))


def _score_table(
    present: Sequence[ClientId], probed: Mapping[ClientId, Probed], setting: Setting
) -> NDArray[np.float64] | None:
    """Return scores, shape ``[clients, layers]``; rows of clients that were not asked are NaN."""
    if not probed:
        return None
    table = np.full((len(present), len(setting.layers)), np.nan)
    for row, client in enumerate(present):
        if client in probed:
            table[row] = [setting.method.score(s) for s in probed[client].stats]
            if not np.isfinite(table[row]).all():
                raise SelectionError(f"client {client}: the score is not finite for every layer; use another score")
    return table


def _abandoned(round: int, phase: str, failures: Iterable[Failure]) -> str:
    first = next(iter(failures))
    return (
        f"round {round} is abandoned: every client failed in {phase}; "
        f"first, {first.client}: {first.reason}: {first.message}"
    )
