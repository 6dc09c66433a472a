"""Scores of a round: one number per client and layer from the statistics that the clients sent; and their sketches.

Statistics are what a client says, so a score that they make infinite loses that client, and never ends the run. Scores
for the next round cost nobody this one: where they are not finite they are not kept, and the client is probed then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.runs.state import Measured
from fedstrata.scores.protocol import Score
from fedstrata.server.recorder import Recorder
from fedstrata.wire.messages import Probed, Reject

_MESSAGE = "the score of its statistics is not finite for every layer; if it happens to all, use another score"


def measured_by(probed: Probed, score: Score, recorder: Recorder) -> Measured | None:
    """Return what a client's probe says of every layer, or ``None`` if it is lost for want of a score."""
    found = _finite(probed, score)
    if found is None:
        recorder.losses_of("probe")(probed.client, Reject(Reason.NONFINITE, _MESSAGE), True)
    return found


def piggybacked_scores(score: Score, recorder: Recorder) -> dict[ClientId, Measured]:
    """Return what was measured for the next round by the clients whose statistics were piggybacked on their updates."""
    kept = {}
    for client, probed in recorder.piggybacked.items():
        found = _finite(probed, score)
        if found is None:
            recorder.losses_of("train")(client, Reject(Reason.NONFINITE, _MESSAGE), False)
        else:
            kept[client] = found
    return kept


def _finite(probed: Probed, score: Score) -> Measured | None:
    try:
        values = tuple(float(score(stats)) for stats in probed.stats)
    except ArithmeticError:
        return None
    sketches = tuple(stats.sketch for stats in probed.stats if stats.sketch is not None)
    return Measured(probed.round, probed.loss, values, sketches) if all(map(isfinite, values)) else None


def score_table(
    present: Sequence[ClientId], scored: Mapping[ClientId, Measured], *, layers: int
) -> NDArray[np.float64] | None:
    """Return scores, shape ``[clients, layers]``; rows of clients that were not asked are NaN.

    Where nobody was asked there is no table.
    """
    if not scored:
        return None
    table = np.full((len(present), layers), np.nan)
    for row, client in enumerate(present):
        if client in scored:
            table[row] = scored[client].scores
    return table


def sketch_table(present: Sequence[ClientId], scored: Mapping[ClientId, Measured]) -> NDArray[np.float64] | None:
    """Return sketches, shape ``[clients, layers, numbers]``; those of clients that were not asked are NaN.

    Where nobody sent any there is no table.
    """
    shape = next((np.shape(one.sketches) for one in scored.values() if one.sketches), None)
    if shape is None:
        return None
    table = np.full((len(present), *shape), np.nan)
    for row, client in enumerate(present):
        if client in scored and scored[client].sketches:
            table[row] = scored[client].sketches
    return table
