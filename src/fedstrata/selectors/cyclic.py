"""Layers in turn: block coordinate descent over rounds, the same blocks for all clients.

Luo, Yu, Li, "BAdam: A Memory Efficient Full Parameter Optimization Method for Large Language Models", NeurIPS 2024,
https://arxiv.org/abs/2404.02827, trains one block for K steps and goes on to the next, in ascending, descending or
random order. Here a block's turn is a round's local training, or several rounds', and the server keeps the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.errors import ConfigError
from fedstrata.selectors.masks import candidates, fill
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Cyclic:
    """A window of layers that moves on every few rounds; each client takes as many of it as its budget pays for.

    The window is as many layers, from where the last one ended, as the richest client of its first round can pay for.
    With ``L`` layers and budgets of ``R`` layers each, the first ``ceil(L / R)`` windows hold every layer; every cycle
    gives every layer one turn. A layer that nobody of that round can pay for alone loses its turn.

    Attributes:
        every: Rounds that a window holds, at least 1.
        order: ``ascending`` from the input to the output, ``descending``, or ``random``: a new order in every cycle.

    Example:
        See ``tests/selectors/test_cyclic.py``.
    """

    every: int = 1
    order: Literal["ascending", "descending", "random"] = "ascending"

    def __post_init__(self) -> None:
        """Refuse a window that holds for less than a round."""
        if self.every < 1:
            raise ConfigError(f"selector 'cyclic' has every: {self.every}; it must be 1 or more")

    def init(self, layers: LayerMap) -> SelectorState:
        """Return the memory before the first window: layers to come, the window, and the round in which it began."""
        return {"queue": [], "window": [], "began": 0}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return each client's part of the window, and the memory with the window moved on where it was time."""
        if not state["window"] or problem.round >= state["began"] + self.every:
            state = self._moved(problem, state["queue"])
        window = state["window"]
        return Selection({c: fill(problem, c, window, skip=True) for c in problem.clients}), state

    def _moved(self, problem: SelectionProblem, queue: Sequence[int]) -> SelectorState:
        """Return the memory with the next window, and what is left to come after it."""
        coming, rng = list(queue), deepcopy(problem.rng)
        while not set(coming) >= set(candidates(problem.layers)):
            coming += self._cycle(problem.layers, rng)
        turns = list(dict.fromkeys(coming))
        within_reach = [i for i in turns if any(problem.affordable(c, frozenset({i})) for c in problem.clients)]
        longest = max((len(fill(problem, c, within_reach)) for c in problem.clients), default=0)
        window = within_reach[:longest]
        for layer in turns[: turns.index(window[-1]) + 1] if window else []:
            coming.remove(layer)  # its first turn; the one of the next cycle stays
        return {"queue": coming, "window": window, "began": problem.round}

    def _cycle(self, layers: LayerMap, rng: np.random.Generator) -> list[int]:
        """Return the layers in the order of one cycle."""
        names = candidates(layers)
        if self.order == "random":
            return [int(i) for i in rng.permutation(np.array(names, dtype=np.int64))]
        return list(names if self.order == "ascending" else reversed(names))
