"""Evaluation of a round: the central test set, and sums over every client's held-out rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fedstrata.domain.ids import ClientId
from fedstrata.domain.messages import Evaluate, Evaluated, Failure, Weights
from fedstrata.domain.records import Metrics
from fedstrata.engines.protocol import Engine

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
    """

    test: Metrics
    validation: Metrics | None
    client_accuracy: Mapping[str, float]


def evaluate_all(
    weights: Weights, *, round: int, clients: Sequence[ClientId], engine: Engine, test: CentralTest
) -> Evaluation:
    """Evaluate weights centrally, and at every client that holds rows out; say which clients could not."""
    replies = list(engine.send(Evaluate(c, round, weights) for c in clients))
    for reply in replies:
        if isinstance(reply, Failure):
            log.warning(
                "client %s is left out of the evaluation after %d rounds: %s", reply.client, round, reply.message
            )
    sums = [r for r in replies if isinstance(r, Evaluated) and r.num_examples > 0]
    return Evaluation(
        test=test(weights),
        validation=_pooled(sums),
        client_accuracy={r.client: r.correct / r.num_examples for r in sums},
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
