"""Masks that minimise the measured bound on a round's error, under every client's budgets, with a certificate.

With data shares alpha_i and A_l = sum_i alpha_i m_il the data mass of those who train layer l, the bound is::

    F(m) = sum_l h_l(A_l),    h_l(0) = G_l,    h_l(A) = kappa_l^2 (1 / A - 1) for A > 0

(``domain/theory.py``). On A > 0 each h_l is convex and falls to 0 at A = 1; at 0 it jumps, up or down: a client with
few rows that trains a layer alone can be worse than nobody. So F has local optima. Masks are found by best responses
from several starts (``mass_best_response.py``), bounded by a relaxation (``mass_bound.py``), and proven where
clients are alike or their masks few (``mass_exact.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fedstrata.errors import ConfigError
from fedstrata.solvers.best_response import top_rows
from fedstrata.solvers.client_masks import Priced, exact, priced
from fedstrata.solvers.objective import Bools, Floats, Objective
from fedstrata.solvers.tariff import CostTable, Ints, tariff


@dataclass(frozen=True, slots=True)
class MassProblem:
    """One validated problem.

    Attributes:
        shares: alpha_i, shape ``[clients]``, at least 0, summing to 1.
        missing: G_l, shape ``[layers]``, at least 0.
        spread: kappa_l^2, weighted, shape ``[layers]``, at least 0.
        tariff: Prices and budgets.
        counts: How many layers each client can pay for, if that is all that budgets say, shape ``[clients]``.
        priced: Otherwise the same prices for exact answers, and ``counts`` is empty.
    """

    shares: Floats
    missing: Floats
    spread: Floats
    tariff: CostTable
    counts: Floats
    priced: Priced | None

    @property
    def shape(self) -> tuple[int, int]:
        """Clients and layers."""
        return len(self.shares), len(self.missing)

    @property
    def searched(self) -> bool:
        """Whether a client's best mask has to be searched for, which takes its time."""
        return self.priced is not None and not len(self.priced.table)

    def parts(self, masses: Floats) -> Floats:
        """Return h_l of masses, shape ``[..., layers]``; mass is exactly 0 where no client trains a layer."""
        inverse = np.divide(1.0, masses, out=np.ones_like(masses), where=masses > 0)
        return np.where(masses > 0, self.spread * np.maximum(inverse - 1.0, 0.0), self.missing)

    def value(self, masks: Bools) -> float:
        """Return F of masks, shape ``[clients, layers]``."""
        return float(self.parts(self.shares @ masks).sum())

    def gains(self, masks: Bools) -> Floats:
        """Return by how much F falls if a client trains a layer instead of not, the others being as they are.

        Shape ``[clients, layers]``; layers add up, since each client's share falls on every layer for itself.
        """
        # A_l without the client, then with it.
        mine = self.shares[:, None] * masks
        return self.gain(self.shares[:, None], self.shares @ masks - mine, masks.sum(axis=0) - masks)

    def gain(self, share: Floats | float, others: Floats, loads: Ints) -> Floats:
        """Return by how much F falls if a share joins the others.

        Args:
            share: Of the rows.
            others: Mass of the others on each layer, as rounding left it.
            loads: How many they are.
        """
        # Rounding may leave some mass where nobody is left: the number of clients decides.
        before = np.where(loads > 0, np.maximum(others, 0.0), 0.0)
        return np.asarray(self.parts(before) - self.parts(np.minimum(before + share, 1.0)))

    def answers(self, clients: Ints, worth: Floats) -> Bools:
        """Return the affordable mask of most worth for each row, shape ``[rows, layers]``; worthless layers stay out.

        Args:
            clients: Which client each row is.
            worth: Shape ``[rows, layers]``, finite.
        """
        if self.priced is None:
            return top_rows(worth, self.counts[clients])
        return exact(self.priced, clients, worth).masks

    def offers(self, worth: Floats) -> tuple[Bools, float]:
        """Return all clients' best masks at worths of at least 0, and a bound on what they can be worth together."""
        if self.priced is None:
            masks = top_rows(worth, self.counts)
            return masks, float(np.where(masks, worth, 0.0).sum())
        found = exact(self.priced, np.arange(len(self.shares)), worth)
        return found.masks, float(found.bounds.sum())


def mass_problem(
    shares: ArrayLike,
    missing: ArrayLike,
    spread: ArrayLike,
    budgets: ArrayLike,
    *,
    costs: ArrayLike | None = None,
    setups: ArrayLike | None = None,
) -> MassProblem:
    """Validate a problem; prices and budgets are as for ``solve``.

    Raises:
        ConfigError: Wrong shapes, signs or sizes.
        BudgetError: A budget that is negative or not a number.
    """
    rows, g, kappa = (np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (shares, missing, spread))
    if rows.ndim != 1 or g.ndim != 1 or g.shape != kappa.shape:
        said = f"shares {rows.shape}, missing {g.shape}, spread {kappa.shape}"
        raise ConfigError(f"shapes disagree: {said}; pass one share per client, and two numbers per layer")
    for name, values in (("shares", rows), ("missing", g), ("spread", kappa)):
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ConfigError(f"{name} hold a number that is negative or not finite; pass amounts of 0 or more")
    total = float(rows.sum())
    if len(rows) and not total > 0:
        raise ConfigError("shares are all 0; pass each client's number of rows, or its share of them")
    rows = rows / total if len(rows) else rows
    prices = tariff(budgets, (len(rows), len(g)), costs=costs, setups=setups)
    counts = prices.counts()
    blank = Objective(np.zeros((len(rows), len(g))), 0.0, 0.0)
    if counts is None:
        return MassProblem(rows, g, kappa, prices, np.zeros(0), priced(blank, prices))
    return MassProblem(rows, g, kappa, prices, counts, None)
