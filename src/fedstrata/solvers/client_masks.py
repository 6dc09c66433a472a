"""One client's best mask under set-up costs and several budgets, exactly, for many clients at once.

For each possible lowest layer l the rest is a knapsack over the layers above, with several budgets. Prices mu >= 0 on
the budgets (all scaled to 1) bound the worth of any mask whose lowest layer is l::

    worth_l + mu (1 - setup_l - cost_l) + sum_{j > l} max(0, worth_j - mu cost_j)

Most pairs (client, l) fall below a greedy mask at once; in the others, layers whose reduced worth decides them are
fixed (``solvers/core_search.py``), and what is left is the list of undominated partial masks. Where a client has few
layers, all its affordable masks are tabulated once, and the best is looked up.
Martello, Pisinger, Toth, "Dynamic programming and strong bounds for the 0-1 knapsack problem", Management Science
45(3), 1999, https://doi.org/10.1287/mnsc.45.3.414.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstrata.solvers.client_relaxation import TOLERANCE, relax
from fedstrata.solvers.client_relaxation import ceilings as ceilings_at
from fedstrata.solvers.core_search import fill, lead, search
from fedstrata.solvers.objective import Bools, Floats, Objective
from fedstrata.solvers.tariff import CostTable, Ints

TABLE_LAYERS = 12
"""Most layers for which all masks are tabulated."""
TABLE_ENTRIES = 1_000_000
"""Most clients times masks for which all masks are tabulated."""
LEADERS = 4
"""Most promising lowest layers of a row whose masks are filled at their own prices before anything is searched."""
CHUNK = 2_000_000
"""Entries ``rows * units * layers`` handled at once."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The best masks of some clients for given worths.

    Attributes:
        masks: Shape ``[rows, layers]``; affordable.
        values: Their worth. Shape ``[rows]``.
        bounds: No affordable mask of that row is worth more. Shape ``[rows]``.
    """

    masks: Bools
    values: Floats
    bounds: Floats


@dataclass(frozen=True, slots=True)
class Priced:
    """One validated problem with set-up costs or several budgets.

    Attributes:
        objective: What masks are worth.
        tariff: What they cost, as given.
        costs: The same as shares of the budgets that can bind, shape ``[clients, units, layers]``.
        setups: Likewise.
        table: All masks where they are few, ``[masks, layers]``; otherwise no rows.
        barred: 0 where a client can pay for a mask of the table, and ``-inf`` where not. Shape ``[clients, masks]``.
    """

    objective: Objective
    tariff: CostTable
    costs: Floats
    setups: Floats
    table: Floats
    barred: Floats

    @property
    def clients(self) -> int:
        """Number of clients."""
        return int(self.costs.shape[0])

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.costs.shape[2])

    @property
    def everyone(self) -> Ints:
        """The indices of all clients."""
        return np.arange(self.clients)


def priced(objective: Objective, prices: CostTable) -> Priced:
    """Return a problem with its prices scaled and, where they are few, its masks tabulated.

    Example:
        >>> from fedstrata.solvers.tariff import tariff
        >>> scores = np.array([[3.0, 2.0, 2.0]])
        >>> problem = priced(Objective(scores, 0.0, 0.0), tariff([4.0], (1, 3), setups=[2.0, 1.0, 0.0]))
        >>> exact(problem, problem.everyone, scores).masks.astype(int).tolist()
        [[1, 1, 0]]
    """
    costs, setups = prices.scaled()
    clients, layers = objective.scores.shape
    if layers > TABLE_LAYERS or clients << layers > TABLE_ENTRIES:
        return Priced(objective, prices, costs, setups, np.zeros((0, layers)), np.zeros((clients, 0)))
    table = _all_masks(layers)
    barred = np.where(_payable(prices, costs, setups, table), 0.0, -np.inf)
    return Priced(objective, prices, costs, setups, table, barred)


def exact(problem: Priced, clients: Ints, worth: Floats, *, known: Bools | None = None) -> Answers:
    """Return the best mask of each row; ``bounds`` exceed ``values`` only by rounding unless a search was cut short.

    Args:
        problem: Prices.
        clients: Which client each row is. Shape ``[rows]``.
        worth: Shape ``[rows, layers]``, finite, any sign.
        known: Affordable masks to start from, shape ``[rows, layers]``.
    """
    if len(problem.table):
        return _look_up(problem, clients, worth)
    return _by_chunks(problem, clients, worth, known, search_too=True, rough=False)


def quick(problem: Priced, clients: Ints, worth: Floats, *, known: Bools | None = None, rough: bool = False) -> Answers:
    """Return good masks, and bounds from the relaxation (loose ones if ``rough``), where ``exact`` takes too long."""
    if len(problem.table):
        return _look_up(problem, clients, worth)
    return _by_chunks(problem, clients, worth, known, search_too=False, rough=rough)


def within_slack(problem: Priced, worth: Floats, floors: Floats, *, limit: int) -> tuple[Ints, Bools] | None:
    """Return every affordable mask worth at least its client's floor, or ``None`` if they are more than ``limit``.

    Args:
        problem: Prices.
        worth: Shape ``[clients, layers]``.
        floors: Shape ``[clients]``.
        limit: Most masks wanted.

    Returns:
        The client of each mask, and the masks, shape ``[found, layers]``.
    """
    if len(problem.table):
        # Masks that the client cannot pay for are worth -inf.
        client, at = np.nonzero(worth @ problem.table.T + problem.barred >= floors[:, None])
        return (client, problem.table[at] > 0) if len(client) <= limit else None
    # Only a pair (client, lowest layer) whose bound reaches the floor can hold such a mask.
    prices, ceilings = relax(problem.costs, problem.setups, worth)
    row, lowest = np.nonzero(ceilings >= floors[:, None])
    if len(row) > limit:
        return None
    found = search(problem.costs, problem.setups, worth, row, lowest, floors, prices, every=True)
    # The list was cut short: some masks were not seen.
    if found.lost.max(initial=-np.inf) > -np.inf:
        return None
    sure = affordable(problem, found.rows, found.masks)
    # The empty mask is worth 0 and has no lowest layer.
    idle = np.flatnonzero(floors <= 0)
    blank = np.zeros((len(idle), problem.layers), dtype=np.bool_)
    clients, masks = np.concatenate([found.rows[sure], idle]), np.concatenate([found.masks[sure], blank])
    return (clients, masks) if len(clients) <= limit else None


def affordable(problem: Priced, clients: Ints, masks: Bools) -> Bools:
    """Return which masks, shape ``[rows, layers]``, are affordable without tolerance to the clients of the rows."""
    return _sure(problem, clients, problem.costs[clients], problem.setups[clients], masks)


def relaxed_prices(problem: Priced, worth: Floats) -> Floats:
    """Return the price of each client's budgets for given worths, ``[clients, units]``, in the relaxation."""
    return relax(problem.costs, problem.setups, worth)[0]


def _all_masks(layers: int) -> Floats:
    """Return all masks, fewest layers first and then lower layers first, so that the first of ties is preferred."""
    bits = (np.arange(1 << layers)[:, None] >> np.arange(layers)[::-1]) & 1
    order = np.lexsort((-np.arange(1 << layers), bits.sum(axis=1)))
    return np.asarray(bits[order], dtype=np.float64)


def _payable(prices: CostTable, costs: Floats, setups: Floats, table: Floats) -> Bools:
    lowest = table.argmax(axis=1)
    fits = np.ones((len(costs), len(table)), dtype=np.bool_)
    doubt = np.zeros_like(fits)
    for unit in range(costs.shape[1]):
        spent = costs[:, unit] @ table.T + setups[:, unit, lowest]
        fits &= spent <= 1 + TOLERANCE
        doubt |= spent >= 1 - TOLERANCE
    # The empty mask costs nothing, not even a set-up.
    fits[:, 0] = True
    doubt[:, 0] = False
    # Within rounding of a limit the unscaled sum decides.
    for client, mask in np.argwhere(fits & doubt):
        fits[client, mask] = prices.fits(table[mask] > 0, int(client))
    return fits


def _look_up(problem: Priced, clients: Ints, worth: Floats) -> Answers:
    masks = np.zeros(worth.shape, dtype=np.bool_)
    values = np.zeros(len(worth))
    together = max(CHUNK // len(problem.table), 1)
    for at in range(0, len(worth), together):
        rows = slice(at, at + together)
        total = worth[rows] @ problem.table.T + problem.barred[clients[rows]]
        best = total.argmax(axis=1)
        masks[rows] = problem.table[best] > 0
        values[rows] = total[np.arange(len(best)), best]
    return Answers(masks, values, values + TOLERANCE * np.abs(worth).sum(axis=1))


def _by_chunks(
    problem: Priced, clients: Ints, worth: Floats, known: Bools | None, *, search_too: bool, rough: bool
) -> Answers:
    start = np.zeros(worth.shape, dtype=np.bool_) if known is None else known
    together = max(CHUNK // max(problem.costs[0].size, 1), 1)
    if len(worth) <= together:
        return _solve(problem, clients, worth, start, search_too=search_too, rough=rough)
    parts = [
        _solve(problem, clients[rows], worth[rows], start[rows], search_too=search_too, rough=rough)
        for rows in (slice(at, at + together) for at in range(0, len(worth), together))
    ]
    return Answers(
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.bounds for part in parts]),
    )


def _solve(problem: Priced, clients: Ints, worth: Floats, known: Bools, *, search_too: bool, rough: bool) -> Answers:
    """Relax, fill greedily, and search what the relaxation leaves open."""
    costs, setups = problem.costs[clients], problem.setups[clients]
    guard = TOLERANCE * np.abs(worth).sum(axis=1)
    # 1. Prices for the row bound every lowest layer at once.
    prices, ceilings = relax(costs, setups, worth, rough=rough)
    masks, values = known, np.where(known, worth, 0.0).sum(axis=1)
    if not worth.shape[1]:
        return Answers(masks, values, np.maximum(values, 0.0))
    # 2. Greedy masks of the most promising lowest layers, at prices of their own.
    spent = np.zeros_like(masks)
    for step in range(1 if rough else LEADERS):
        trial, ceilings, spent = _leaders(costs, setups, worth, prices, ceilings, spent, values + guard, rough=rough)
        trial[~_sure(problem, clients, costs, setups, trial)] = False
        gained = np.where(trial, worth, 0.0).sum(axis=1)
        better = gained > values + (guard if step else 0.0)
        masks, values = np.where(better[:, None], trial, masks), np.where(better, gained, values)
    # 3. A mask worth less than nothing is not trained.
    empty = values < 0
    masks, values = masks & ~empty[:, None], np.where(empty, 0.0, values)
    bounds = np.maximum(ceilings.max(axis=1), 0.0)
    # 4. Search the lowest layers whose bound is still above the best mask.
    if search_too:
        masks, values, bounds = _search(problem, clients, worth, masks, values, ceilings, prices)
    return Answers(masks, values, np.maximum(bounds, values) + 2 * guard)


def _leaders(
    costs: Floats,
    setups: Floats,
    worth: Floats,
    prices: Floats,
    ceilings: Floats,
    spent: Bools,
    floors: Floats,
    *,
    rough: bool,
) -> tuple[Bools, Floats, Bools]:
    """Return a greedy mask of the most promising lowest layer not tried yet, lower ceilings, and what has been tried.

    Its own prices are a bound for the other lowest layers too, and usually a better one than the row's.
    """
    hope = np.where(spent, -np.inf, ceilings)
    leader = hope.argmax(axis=1)
    everyone = np.arange(len(worth))
    if rough:
        return fill(costs, setups, worth, prices, leader), ceilings, spent
    trial, spent, ceilings = np.zeros_like(spent), spent.copy(), ceilings.copy()
    spent[everyone, leader] = True
    # Rows whose best untried lowest layer may still beat what is known.
    rows = np.flatnonzero(hope[everyone, leader] > floors)
    own, bound, trial[rows] = lead(costs[rows], setups[rows], worth[rows], leader[rows], prices[rows])
    ceilings[rows] = np.minimum(ceilings[rows], ceilings_at(costs[rows], setups[rows], worth[rows], own)[0])
    ceilings[rows, leader[rows]] = np.minimum(ceilings[rows, leader[rows]], bound)
    return trial, ceilings, spent


def _search(
    problem: Priced,
    clients: Ints,
    worth: Floats,
    masks: Bools,
    values: Floats,
    ceilings: Floats,
    prices: Floats,
) -> tuple[Bools, Floats, Floats]:
    """Return masks, values and bounds after searching the pairs (row, lowest layer) that may beat ``values``."""
    guard = TOLERANCE * np.abs(worth).sum(axis=1)
    row, lowest = np.nonzero(ceilings > (values + guard)[:, None])
    costs, setups = problem.costs[clients], problem.setups[clients]
    found = search(costs, setups, worth, row, lowest, values + guard, prices)
    masks, values = masks.copy(), values.copy()
    settled = np.zeros(len(values), dtype=np.bool_)
    # By row, the most worth first: the first mask that its client can pay for settles the row.
    for at in np.lexsort((np.arange(len(found.rows)), -found.values, found.rows)):
        index = int(found.rows[at])
        if settled[index] or found.values[at] <= values[index]:
            continue
        if found.room[at] > TOLERANCE or problem.tariff.fits(found.masks[at], int(clients[index])):
            masks[index], values[index], settled[index] = found.masks[at], found.values[at], True
    return masks, values, np.maximum(values, found.lost)


def _sure(problem: Priced, clients: Ints, costs: Floats, setups: Floats, masks: Bools) -> Bools:
    rows = np.arange(len(masks))
    spent = setups[rows, :, masks.argmax(axis=1)] + np.einsum("rul,rl->ru", costs, masks.astype(np.float64))
    # Clear of the limits scaled prices decide; near them, the budget's own sum.
    sure = (spent <= 1 - TOLERANCE).all(axis=1) | ~masks.any(axis=1)
    doubt = ~sure & (spent <= 1 + TOLERANCE).all(axis=1)
    for row in np.flatnonzero(doubt):
        sure[row] = problem.tariff.fits(masks[row], int(clients[row]))
    return np.asarray(sure)
