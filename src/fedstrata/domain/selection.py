"""The selection problem of one round, its answer, and the check that holds every selector to its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.prices import Prices
from fedstrata.errors import SelectionError


@dataclass(frozen=True, slots=True)
class ClientProfile:
    """What the server knows of a client.

    Attributes:
        num_examples: Training rows.
        budget: What the client can pay per round.
        held_out: Rows that it holds out to evaluate on; ``None`` where that is not known.
    """

    num_examples: int
    budget: Cost
    held_out: int | None = None


@dataclass(frozen=True, slots=True)
class SelectionProblem:
    """Everything that a selector may look at.

    Attributes:
        round: Rounds that are done; the log calls this round by one more.
        layers: The model's layers.
        profiles: Profile of each client to select for, in ascending order of client name.
        scores: Shape ``[clients, layers]``, float64, rows in the order of ``profiles``; larger is better.
            ``None`` where the selector asked for no probe.
        prices: Prices of every mask for a client.
        rng: The round's stream for selectors that draw.
        sketches: Sketches of the clients' mean gradients (``domain/count_sketch.py``), shape
            ``[clients, layers, numbers]``, float64, rows as in ``scores``; ``None`` where the selector asked for none.
    """

    round: int
    layers: LayerMap
    profiles: Mapping[ClientId, ClientProfile]
    scores: NDArray[np.float64] | None
    prices: Callable[[ClientId], Prices]
    rng: np.random.Generator
    sketches: NDArray[np.float64] | None = None

    @property
    def clients(self) -> tuple[ClientId, ...]:
        """The clients to select for, in row order."""
        return tuple(self.profiles)

    def price(self, client: ClientId, mask: Mask) -> Cost:
        """Return the price of a mask for a client."""
        return self.prices(client).of(mask)

    def affordable(self, client: ClientId, mask: Mask) -> bool:
        """Return whether the client's budget pays for the mask in every unit."""
        return self.price(client, mask).fits(self.profiles[client].budget)

    def required_scores(self, selector: str) -> NDArray[np.float64]:
        """Return the scores, or say clearly that this selector cannot work without them."""
        if self.scores is None:
            raise SelectionError(f"selector '{selector}' needs scores, but this round was not probed; add a score")
        return self.scores


@dataclass(frozen=True, slots=True)
class Certificate:
    """How good a solver's answer is known to be.

    Attributes:
        objective: Value of the masks that were chosen.
        bound: No mask within the budgets has a larger value than this.
        gap: ``(bound - objective) / max(|objective|, tiny)``, at least 0.
        rule: Name of the rule that chose the masks (``milp``, ``flow``, ``best-response``, ...).
    """

    objective: float
    bound: float
    gap: float
    rule: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The masks of one round.

    Attributes:
        masks: One mask per client of the problem.
        certificate: Present where the selector optimised an objective.
    """

    masks: Mapping[ClientId, Mask]
    certificate: Certificate | None = None

    def load(self, layers: int) -> NDArray[np.int64]:
        """Return k_l: how many clients train each layer. Shape ``[layers]``."""
        counts = np.zeros(layers, dtype=np.int64)
        for mask in self.masks.values():
            counts[sorted(mask)] += 1
        return counts


def check(selection: Selection, problem: SelectionProblem) -> None:
    """Hold a selector to its contract: one affordable mask of known, untied layers for each client.

    Raises:
        SelectionError: The first violation, with the client and the layer.
    """
    if set(selection.masks) != set(problem.profiles):
        odd = sorted(set(selection.masks) ^ set(problem.profiles))
        raise SelectionError(f"selection and problem differ on clients {odd[:5]}; return one mask per client")
    for client, mask in selection.masks.items():
        for index in mask:
            if not 0 <= index < len(problem.layers):
                raise SelectionError(f"client {client}: layer {index} is outside 0..{len(problem.layers) - 1}")
            tied = problem.layers.layers[index].tied_with
            if tied:
                name = problem.layers.layers[index].name
                raise SelectionError(
                    f"client {client}: layer {name} shares weights with {tied[0]}; a mask may not hold it"
                )
        if not problem.affordable(client, mask):
            price, budget = problem.price(client, mask), problem.profiles[client].budget
            excess = price.only(*price.over(budget))
            raise SelectionError(f"client {client}: mask {sorted(mask)} costs {excess}, over its budget {budget}")
    certificate = selection.certificate
    if certificate is not None and not (isfinite(certificate.objective) and certificate.bound >= certificate.objective):
        raise SelectionError(f"certificate bound {certificate.bound} is below objective {certificate.objective}")
