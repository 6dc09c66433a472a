"""The masks of least measured bound on the round's error, from sketches of the clients' gradients.

    minimise  sum_{l: A_l = 0} G_l  +  weight * sum_{l: A_l > 0} kappa_l^2 (1 / A_l - 1)

with A_l the data share of those who train layer l (``domain/theory.py`` has the bound, ``solvers/mass_problem.py``
the solver). G_l and kappa_l^2 need the inner products of the clients' gradients; sketches that all take with one hash
give them without anyone sending a gradient. Both are taken in the space of sketches: kappa_l^2 as ``sum_i alpha_i |S
g_il - S g_l|^2`` is off by a share of itself, while ``sum_i alpha_i |g_il|^2 - |S g_l|^2`` would be off by a share of
G_l, which is much where clients are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.count_sketch import LARGEST, SMALLEST, USUAL, valid_dimension
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.selection import Certificate, Selection, SelectionProblem
from fedstrata.errors import ConfigError, SelectionError
from fedstrata.selectors.masks import candidates
from fedstrata.selectors.protocol import SelectorState
from fedstrata.selectors.tables import tables


@dataclass(frozen=True, slots=True)
class Bound:
    """All masks at once, by what the theory says of them, with a certificate of how good they are.

    A layer that a few clients train with little data can be worse than one that nobody trains, so it may be left out,
    and a budget may stay unspent.

    Attributes:
        sketch: Numbers of each layer's sketch: a power of two from 16 to 4,096; the error of G_l and kappa_l^2 is about
            ``sqrt(2 / sketch)`` of themselves.
        weight: Weight of the second term, at least 0: above 1 layers are trained by more of the data, below by less.
    """

    sketch: int = USUAL
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse sketches and weights that mean nothing."""
        if not valid_dimension(self.sketch):
            raise ConfigError(
                f"selector 'bound' has sketch: {self.sketch}; it must be a power of two from {SMALLEST} to {LARGEST}"
            )
        if not (isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(f"selector 'bound' has weight: {self.weight}; it must be a number of 0 or more")

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return the whole cohort."""
        return tuple(cohort)

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return the solver's masks and certificate.

        Raises:
            SelectionError: The problem has no sketches of some client.
        """
        columns = candidates(problem.layers)
        sketches = _sketches(problem)[:, columns]
        shares = np.array([profile.num_examples for profile in problem.profiles.values()], dtype=np.float64)
        missing, spread = moments(sketches, shares / shares.sum())
        room, each, setup = tables(problem, columns)
        from fedstrata.solvers.least_bound import solve_mass  # with scipy.optimize: a second to import

        found = solve_mass(shares, missing, self.weight * spread, room, costs=each, setups=setup)
        masks = {}
        for client, row in zip(problem.clients, found.masks, strict=True):
            masks[client] = _affordable(
                problem, client, [columns[int(i)] for i in np.flatnonzero(row)], missing, columns
            )
        return Selection(masks, Certificate(found.objective, found.bound, found.gap, found.rule)), state


def moments(
    sketches: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return G_l and kappa_l^2 as sketches estimate them, each of shape ``[layers]``.

    Args:
        sketches: Shape ``[clients, layers, numbers]``.
        shares: alpha_i, shape ``[clients]``, summing to 1.

    Example:
        >>> moments(np.array([[[1.0]], [[3.0]]]), np.array([0.5, 0.5]))
        (array([4.]), array([1.]))
    """
    mean = np.tensordot(shares, sketches, axes=1)
    return np.square(mean).sum(axis=1), shares @ np.square(sketches - mean).sum(axis=2)


def _sketches(problem: SelectionProblem) -> NDArray[np.float64]:
    if problem.sketches is None or np.isnan(problem.sketches).any():
        raise SelectionError("selector 'bound' needs sketches of every client, but this round was not probed for them")
    return problem.sketches


def _affordable(
    problem: SelectionProblem,
    client: ClientId,
    chosen: Sequence[int],
    missing: NDArray[np.float64],
    columns: Sequence[int],
) -> Mask:
    """Return the mask without its layers of smallest G_l, as many as rounding of prices puts it over the budget."""
    worth = dict(zip(columns, missing, strict=True))
    mask = frozenset(chosen)
    while mask and not problem.affordable(client, mask):
        mask = mask - {min(mask, key=lambda layer: (worth[layer], -layer))}
    return mask
