"""Evaluation of a round: the central test set, and sums over every client's held-out rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Metrics
from fedstrata.engines.protocol import Engine
from fedstrata.runs.journal import MemoryJournal
from fedstrata.runs.state import ServerState
from fedstrata.server.assign import to_evaluate
from fedstrata.server.collect import collect
from fedstrata.server.together import pools
from fedstrata.wire.messages import Evaluate, Evaluated, Reject, Weights

log = logging.getLogger(__name__)

CentralTest = Callable[[Weights], Metrics]
"""Evaluates weights on rows that the server holds."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured at one point of a run.

    Attributes:
        test: On the central test set.
        validation: On all held-out rows of the clients that answered, as one set; ``None`` if there are none.
        client_accuracy: On each client's held-out rows.
        losses: By reason, how many clients and messages did not count.
    """

    test: Metrics
    validation: Metrics | None
    client_accuracy: Mapping[str, float]
    losses: Mapping[str, int] = field(default_factory=dict)


def evaluate_all(
    state: ServerState,
    clients: Sequence[ClientId],
    *,
    engine: Engine,
    test: CentralTest,
    seconds: float | None = None,
    population: Container[ClientId] | None = None,
    held_out: Mapping[ClientId, int | None] | None = None,
    rows_together: int = 0,
) -> Evaluation:
    """Evaluate the present weights centrally, and at clients that hold rows out; say which of them could not.

    Args:
        state: Round and weights.
        clients: Those that are asked, ascending by name; one without rows adds nothing.
        engine: Where they execute.
        test: Evaluates on the server's rows.
        seconds: How long the clients may take; ``None`` waits.
        population: Every client of the run, where others are asked than all.
        held_out: Rows that clients hold out, where that is known.
        rows_together: Held-out rows of clients that share forward passes, at most; 0 evaluates each client alone.
    """
    together = pools(clients, held_out or {}, rows_together)
    losses: Counter[str] = Counter()

    def note(client: ClientId, reject: Reject, lost: bool) -> None:  # noqa: FBT001  the replies's callback
        losses[reject.reason] += 1
        if lost:
            log.warning(
                "client %s is left out of the evaluation after %d rounds: %s", client, state.round, reject.message
            )

    answers = collect(
        to_evaluate(clients, state, held_out or {}),
        lambda a: Evaluate(a.client, a.round, state.weights, a.origin, together[a.client]),
        engine=engine,
        seconds=seconds,
        journal=MemoryJournal(),
        population=frozenset(clients) if population is None else population,
        lost=note,
        done=lambda client, done: None,
    )
    sums = [r for r in (a.reply for a in answers) if isinstance(r, Evaluated) and r.num_examples > 0]
    return Evaluation(
        test=test(state.weights),
        validation=_pooled(sums),
        client_accuracy={r.client: r.correct / r.num_examples for r in sums},
        losses=dict(sorted(losses.items())),
    )


def _pooled(sums: Sequence[Evaluated]) -> Metrics | None:
    rows = sum(r.num_examples for r in sums)
    if rows == 0:
        return None
    return Metrics(
        accuracy=sum(r.correct for r in sums) / rows,
        loss=sum(r.loss_sum for r in sums) / rows,
        num_examples=rows,
    )
