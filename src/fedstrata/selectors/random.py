"""Random layers, the same draw for all clients of a round: LISA with a shared seed.

Pan, Liu, Diao, Pi, Zhang, Han, Zhang, "LISA: Layerwise Importance Sampling for Memory-Efficient Large Language Model
Fine-Tuning", NeurIPS 2024, https://arxiv.org/abs/2403.17919, draws layers uniformly without replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import candidates, fill_all
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Random:
    """One uniformly random order of the layers per round, of which each client takes what its budget pays for."""

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return nobody: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return nested masks: a client with a smaller budget trains a subset of what a richer one trains."""
        rng = deepcopy(problem.rng)
        order = rng.permutation(np.array(candidates(problem.layers), dtype=np.int64))
        return fill_all(problem, (int(layer) for layer in order)), state
