"""Random layers: LISA in a federation, by one draw for all clients of a round or by a draw of each client's own.

Pan, Liu, Diao, Pi, Zhang, Han, Zhang, "LISA: Layerwise Importance Sampling for Memory-Efficient Large Language Model
Fine-Tuning", NeurIPS 2024, https://arxiv.org/abs/2403.17919, draws layers uniformly without replacement. In terms of
P1 of https://arxiv.org/abs/2408.15600 a shared draw is full agreement, and independent draws are none; neither asks for
a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import candidates, fill, fill_all
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Random:
    """A uniformly random order of the layers per round, of which each client takes what its budget pays for.

    Attributes:
        shared: Whether all clients of a round follow the same order, so that a client with a smaller budget trains a
            subset of what a richer one trains; otherwise each draws its own, whoever else takes part.

    Example:
        See ``tests/selectors/test_random_selector.py``.
    """

    shared: bool = True

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return each client's mask, filled in the order that was drawn for it."""
        rng = deepcopy(problem.rng)
        if self.shared:
            return fill_all(problem, _drawn(problem.layers, rng)), state
        own = Seeds(int(rng.integers(2**63)))
        masks = {
            client: fill(problem, client, _drawn(problem.layers, own.generator(Phase.SELECT, client=client)))
            for client in problem.clients
        }
        return Selection(masks), state


def _drawn(layers: LayerMap, rng: np.random.Generator) -> list[int]:
    return [int(layer) for layer in rng.permutation(np.array(candidates(layers), dtype=np.int64))]
