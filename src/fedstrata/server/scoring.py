"""Scores of a round: one number per client and layer from the statistics that the clients sent.

Statistics are what a client says, so a score that they make infinite loses that client, and never ends the run. Scores
for the next round cost nobody this one: where they are not finite they are not kept, and the client is probed then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.ids import ClientId
from fedstrata.domain.messages import Probed, Reject
from fedstrata.domain.reasons import Reason
from fedstrata.scores.protocol import Score
from fedstrata.server.bookkeeping import Ledger
from fedstrata.server.state import Ridden

_MESSAGE = "the score of its statistics is not finite for every layer; if it happens to all, use another score"


def scores_of(probed: Probed, score: Score, ledger: Ledger) -> tuple[float, ...] | None:
    """Return a client's score of every layer, or ``None`` if it is lost for want of one."""
    values = _finite(probed, score)
    if values is None:
        ledger.losses_of("probe")(probed.client, Reject(Reason.NONFINITE, _MESSAGE), True)
    return values


def ridden_scores(score: Score, ledger: Ledger) -> dict[ClientId, Ridden]:
    """Return the scores for the next round of the clients whose statistics rode on their updates."""
    kept = {}
    for client, probed in ledger.ridden.items():
        values = _finite(probed, score)
        if values is None:
            ledger.losses_of("train")(client, Reject(Reason.NONFINITE, _MESSAGE), False)
        else:
            kept[client] = Ridden(probed.round, probed.loss, values)
    return kept


def _finite(probed: Probed, score: Score) -> tuple[float, ...] | None:
    try:
        values = tuple(float(score(stats)) for stats in probed.stats)
    except ArithmeticError:
        return None
    return values if all(map(isfinite, values)) else None


def score_table(
    present: Sequence[ClientId], scored: Mapping[ClientId, Sequence[float]], *, layers: int
) -> NDArray[np.float64] | None:
    """Return scores, shape ``[clients, layers]``; rows of clients that were not asked are NaN.

    Where nobody was asked there is no table.
    """
    if not scored:
        return None
    table = np.full((len(present), layers), np.nan)
    for row, client in enumerate(present):
        if client in scored:
            table[row] = scored[client]
    return table
