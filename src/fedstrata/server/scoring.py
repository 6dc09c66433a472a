"""Scores of a round: one number per client and layer from the statistics that the clients sent.

Statistics are what a client says, so a score that they make infinite loses that client, and never ends the run.
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


def scores_of(probed: Probed, score: Score, ledger: Ledger) -> tuple[float, ...] | None:
    """Return a client's score of every layer, or ``None`` if it is lost for want of one."""
    try:
        values = tuple(float(score(stats)) for stats in probed.stats)
    except ArithmeticError:
        values = (float("nan"),)
    if all(map(isfinite, values)):
        return values
    message = "the score of its statistics is not finite for every layer; if it happens to all, use another score"
    ledger.losses_of("probe")(probed.client, Reject(Reason.NONFINITE, message), True)
    return None


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
