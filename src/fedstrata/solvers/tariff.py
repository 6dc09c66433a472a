"""What masks cost: additive prices and set-ups in several units at once, validated, and checked without tolerance.

A mask m of client i is affordable if it is empty, or if for every unit u::

    setups[u, i, lowest(m)] + sum_l costs[u, i, l] m_l <= budgets[u, i]

with ``lowest(m)`` the smallest layer of the mask: back-propagation reaches down to it, which is the set-up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedstrata.errors import BudgetError, ConfigError
from fedstrata.solvers.objective import Bools, Floats

Ints = NDArray[np.int64]

ROUND_OFF = 1e-12
"""Relative slack that makes ``budget / cost`` immune to float rounding when costs are equal."""
TOO_MUCH = 2.0
"""Scaled price of what costs more than twice a budget: nobody can pay it, so its size does not matter."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """Validated prices and budgets.

    Attributes:
        costs: Additive price of each layer, shape ``[units, clients, layers]``, float64, at least 0.
        setups: Price of the lowest layer of a mask, same shape.
        budgets: Shape ``[units, clients]``, at least 0; may be ``inf``.
    """

    costs: Floats
    setups: Floats
    budgets: Floats

    def spent(self, masks: Bools, unit: int, client: int) -> float:
        """Return ``setup + costs @ mask`` of one client's mask, shape ``[layers]``, in one unit; 0 if it is empty."""
        if not masks.any():
            return 0.0
        return float(self.setups[unit, client, int(masks.argmax())] + self.costs[unit, client] @ masks)

    def fits(self, masks: Bools, client: int) -> bool:
        """Return whether a client can pay for one mask of shape ``[layers]``, without tolerance."""
        return all(self.spent(masks, unit, client) <= self.budgets[unit, client] for unit in range(len(self.budgets)))

    def permuted(self, order: Ints) -> CostTable:
        """Return the same prices with the clients in another order."""
        return CostTable(self.costs[:, order], self.setups[:, order], self.budgets[:, order])

    def scaled(self) -> tuple[Floats, Floats]:
        """Return costs and set-ups as shares of the budgets, shape ``[clients, units, layers]``.

        Units without any client whom they could bind are left out; where one cannot bind a client, prices are 0.
        """
        # No mask costs more than all layers and the largest set-up; a budget that pays for that binds nobody.
        most = self.costs.sum(axis=2) + self.setups.max(axis=2, initial=0.0)
        binds = most > self.budgets
        units = np.flatnonzero(binds.any(axis=1))
        money = np.where(binds, self.budgets, 1.0)[units, :, None]
        shares = []
        for prices in (self.costs, self.setups):
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                # A budget of 0 has no shares: what is free stays free, all else is too much.
                share = np.where(money > 0, prices[units] / money, np.where(prices[units] > 0, TOO_MUCH, 0.0))
            share = np.where(binds[units, :, None], np.minimum(share, TOO_MUCH), 0.0)
            shares.append(np.ascontiguousarray(share.transpose(1, 0, 2)))
        return shares[0], shares[1]

    def counts(self) -> Floats | None:
        """Return how many layers each client can pay for, if that is all that its budgets say; otherwise ``None``.

        It is so if in every unit that can bind a client, its layers have one price and its set-ups are equal.

        Example:
            >>> tariff([[6.0, 9.0]], (2, 3), costs=[2.0, 2.0, 2.0], setups=[1.0, 1.0, 1.0]).counts().tolist()
            [2.0, 3.0]
        """
        layers = self.costs.shape[2]
        if layers == 0:
            return np.zeros(self.costs.shape[1])
        binds = self.costs.sum(axis=2) + self.setups.max(axis=2) > self.budgets
        # One price and one set-up for all layers: only their number matters.
        level = (self.costs == self.costs[:, :, :1]).all(axis=2) & (self.setups == self.setups[:, :, :1]).all(axis=2)
        if (binds & ~level).any():
            return None
        price, setup = self.costs[:, :, 0], self.setups[:, :, 0]
        room = np.where(binds, self.budgets * (1 + ROUND_OFF) - setup, np.inf)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # R = floor((budget - setup) / price); of free layers all fit, or none.
            counts = np.where(price > 0, room / price, np.where(room >= 0, layers, 0.0))
        return np.asarray(np.floor(np.clip(counts, 0, layers)).min(axis=0, initial=layers))


def tariff(
    budgets: ArrayLike, shape: tuple[int, int], *, costs: ArrayLike | None = None, setups: ArrayLike | None = None
) -> CostTable:
    """Validate prices and budgets for scores of shape ``[clients, layers]``.

    Args:
        budgets: Shape ``[clients]`` or ``[units, clients]``, at least 0; ``inf`` for no limit.
        shape: ``(clients, layers)``.
        costs: ``None`` (1 each), or at least 0, shape ``[layers]``, ``[clients, layers]`` or
            ``[units, clients, layers]``.
        setups: ``None`` (0 each), or as ``costs``.

    Raises:
        ConfigError: Shapes that disagree, or a price that is negative or not finite.
        BudgetError: A budget of the wrong shape, negative or not a number.

    Example:
        >>> tariff([3.0], (1, 2), costs=[1.0, 2.0], setups=[1.0, 0.0]).fits(np.array([True, True]), 0)
        False
    """
    money = _budgets(budgets, shape[0])
    prices = _prices("costs", costs, shape, 1.0)
    fixed = _prices("setups", setups, shape, 0.0)
    sizes = {name: len(rows) for name, rows in (("budgets", money), ("costs", prices), ("setups", fixed))}
    units = max(sizes.values())
    if any(size not in (1, units) for size in sizes.values()):
        said = ", ".join(f"{name} have {size}" for name, size in sizes.items())
        raise ConfigError(f"the numbers of units disagree: {said}; give each the same number, or one for all")
    # Copies: what was handed in can change later, what was validated cannot.
    full = (units, *shape)
    return CostTable(
        np.array(np.broadcast_to(prices, full)),
        np.array(np.broadcast_to(fixed, full)),
        np.array(np.broadcast_to(money, full[:2])),
    )


def _prices(name: str, prices: ArrayLike | None, shape: tuple[int, int], default: float) -> Floats:
    if prices is None:
        return np.full((1, *shape), default)
    table = np.array(prices, dtype=np.float64)
    fine = table.shape in (shape[1:], shape) or (table.ndim == 3 and table.shape[1:] == shape and len(table) > 0)
    if not fine:
        wanted = f"{shape[1:]}, {shape} or (units, {shape[0]}, {shape[1]})"
        raise ConfigError(f"{name} have shape {table.shape}; expected {wanted} for scores of shape {shape}")
    table = np.broadcast_to(table, (len(table) if table.ndim == 3 else 1, *shape))
    bad = ~(np.isfinite(table) & (table >= 0))
    if bad.any():
        unit, client, layer = np.argwhere(bad)[0]
        where = f"unit {unit}, client {client}, layer {layer}"
        raise ConfigError(f"{name} hold {table[unit, client, layer]} at {where}; prices must be finite and 0 or more")
    return table


def _budgets(budgets: ArrayLike, clients: int) -> Floats:
    money = np.array(budgets, dtype=np.float64)
    if money.ndim not in (1, 2) or money.shape[-1] != clients or not len(np.atleast_2d(money)):
        wanted = f"({clients},) or (units, {clients})"
        raise BudgetError(f"budgets have shape {money.shape}; expected one per client, {wanted}")
    money = np.atleast_2d(money)
    bad = np.isnan(money) | (money < 0)
    if bad.any():
        unit, client = np.argwhere(bad)[0]
        where = f"client {client}" + (f", unit {unit}" if len(money) > 1 else "")
        raise BudgetError(f"budget of {where} is {money[unit, client]}; it must be 0 or more (inf for no limit)")
    return money
