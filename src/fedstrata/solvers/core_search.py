"""The search behind ``client_masks``: reduced-cost fixing, then lists of undominated partial masks, many at a time.

A *pair* is a row (a client with its worths) and a lowest layer. At prices mu of its own, a layer above whose reduced
worth ``worth_j - mu cost_j`` is larger than what the bound may still lose is in, or out, of every better mask. What
remains, the core, is branched on in order of falling reduced worth; a partial mask is dropped when its bound is not
above the row's floor, or when another of its pair costs no more in every unit and is worth as much.
Nemhauser and Ullmann, "Discrete Dynamic Programming and Capital Allocation", Management Science 15(9), 1969,
https://doi.org/10.1287/mnsc.15.9.494; cores: Balas and Zemel, Operations Research 28(5), 1980,
https://doi.org/10.1287/opre.28.5.1130.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstrata.solvers.client_relaxation import TOLERANCE, cheapest, suffix
from fedstrata.solvers.objective import Bools, Floats
from fedstrata.solvers.tariff import Ints

LIMIT = 50_000
"""Partial masks kept at once; beyond it the most promising are kept and ``lost`` says what may be missing."""
LIMIT_EVERY = 8_000
"""The same where all masks above the floors are wanted: then a longer list means that they are too many."""
CROWD = 1000
"""Partial masks up to which dominance is not worth its sorting."""


@dataclass(frozen=True, slots=True)
class Found:
    """Masks above their rows' floors.

    Attributes:
        rows: Which row each mask belongs to. Shape ``[found]``.
        masks: Shape ``[found, layers]``; affordable within the tolerance.
        values: Their worth. Shape ``[found]``.
        room: The least share of a budget that a mask leaves. Shape ``[found]``.
        lost: What masks not looked at may be worth, by row; ``-inf`` if all were. Shape ``[rows]``.
    """

    rows: Ints
    masks: Bools
    values: Floats
    room: Floats
    lost: Floats


def fill(costs: Floats, setups: Floats, worth: Floats, prices: Floats, lowest: Ints) -> Bools:
    """Return masks of given lowest layers, filled upwards by worth per priced cost while every budget lasts."""
    rows = np.arange(len(worth))
    room = 1 - setups[rows, :, lowest] - costs[rows, :, lowest]
    masks = np.zeros(worth.shape, dtype=np.bool_)
    masks[rows, lowest] = (room >= -TOLERANCE).all(axis=1)
    wanted = (worth > 0) & (np.arange(worth.shape[1]) > lowest[:, None]) & masks[rows, lowest][:, None]
    # A tiny price on every unit tells apart what the prices make free.
    paid = np.einsum("ru,rul->rl", prices, costs) + 1e-9 * worth.max(axis=1, initial=0.0)[:, None] * costs.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.where(wanted, np.where(paid > 0, worth / paid, np.inf), -1.0)
    order = np.argsort(-density, axis=1, kind="stable")
    # One layer of every row at a time, by falling worth per priced cost.
    for place in range(int(wanted.sum(axis=1).max(initial=0))):
        layer = order[:, place]
        left = room - costs[rows, :, layer]
        takes = wanted[rows, layer] & (left >= -TOLERANCE).all(axis=1)
        masks[rows, layer] |= takes
        room = np.where(takes[:, None], left, room)
    return masks


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs and their cores; items are layers, in order of falling reduced worth."""

    rows: Ints
    base: Bools
    worth: Floats
    room: Floats
    prices: Floats
    floors: Floats
    items: Ints
    values: Floats
    costs: Floats
    hopes: Floats
    sizes: Ints


def search(
    costs: Floats,
    setups: Floats,
    worth: Floats,
    rows: Ints,
    lowest: Ints,
    floors: Floats,
    prices: Floats,
    *,
    every: bool = False,
) -> Found:
    """Return masks worth more than their row's floor.

    Args:
        costs: Shares of the budgets, shape ``[rows, units, layers]``.
        setups: Likewise.
        worth: Shape ``[rows, layers]``.
        rows: Row of each pair.
        lowest: Lowest layer of each pair.
        floors: Worth that is already known, by row.
        prices: Prices of the relaxation, shape ``[rows, units]``.
        every: Return all such masks; otherwise only enough of them to have each row's best.
    """
    # 1. Prices of each pair's own; a pair whose bound is at or below its floor is out.
    room, allowed = _above(costs, setups, worth, rows, lowest, every=every)
    mu, ceilings = _tighten(costs[rows], worth[rows], room, allowed, lowest, prices[rows])
    alive = np.flatnonzero(ceilings > floors[rows])
    rows, lowest, mu, room, allowed = rows[alive], lowest[alive], mu[alive], room[alive], allowed[alive]
    lost, floors = np.full(len(worth), -np.inf), floors.copy()
    # 2. A greedy mask of each pair may raise its row's floor.
    greedy = np.zeros((0, worth.shape[1]), dtype=np.bool_)
    if not every:
        greedy = fill(costs[rows], setups[rows], worth[rows], mu, lowest)
        gained = np.where(greedy, worth[rows], 0.0).sum(axis=1)
        np.maximum.at(lost, rows, gained)
        floors = np.maximum(floors, lost)
    # 3. Layers that the bound decides are fixed; the rest, the core, is enumerated.
    pairs = _pairs(costs[rows], worth[rows], room, allowed, rows, lowest, floors[rows], mu)
    found = _enumerate(pairs, lost, every=every)
    return found if every else _joined(found, rows, greedy, gained)


def lead(costs: Floats, setups: Floats, worth: Floats, lowest: Ints, prices: Floats) -> tuple[Floats, Floats, Bools]:
    """Return, for one lowest layer per row, its own prices, its bound, and a mask filled greedily at these prices.

    Args:
        costs: Shares of the budgets, shape ``[rows, units, layers]``.
        setups: Likewise.
        worth: Shape ``[rows, layers]``.
        lowest: Lowest layer of each row.
        prices: Prices to start from, shape ``[rows, units]``.
    """
    room, allowed = _above(costs, setups, worth, np.arange(len(worth)), lowest, every=False)
    mu, bound = _tighten(costs, worth, room, allowed, lowest, prices)
    return mu, bound, fill(costs, setups, worth, mu, lowest)


def _enumerate(pairs: _Pairs, lost: Floats, *, every: bool) -> Found:
    """Return the complete masks of all pairs that are above their floors."""
    index = np.arange(len(pairs.rows))
    gained, room = pairs.worth, pairs.room
    trail: list[tuple[Ints, Bools]] = []
    # All pairs branch on the next layer of their core at once; parents are remembered, not masks.
    for step in range(int(pairs.sizes.max(initial=0))):
        index, gained, room, parent, taken = _branch(pairs, step, index, gained, room)
        keep = _promising(pairs, step, index, gained, room, lost, every=every)
        index, gained, room = index[keep], gained[keep], room[keep]
        trail.append((parent[keep], taken[keep]))
    above = np.flatnonzero(gained > pairs.floors[index])
    masks = _masks(pairs, trail, index, above)
    return Found(pairs.rows[index[above]], masks, gained[above], room[above].min(axis=1, initial=1.0), lost)


def _joined(found: Found, rows: Ints, greedy: Bools, gained: Floats) -> Found:
    """Add greedy masks, whose room is not known."""
    return Found(
        np.concatenate([found.rows, rows]),
        np.concatenate([found.masks, greedy]),
        np.concatenate([found.values, gained]),
        np.concatenate([found.room, np.zeros(len(rows))]),
        found.lost,
    )


def _above(
    costs: Floats, setups: Floats, worth: Floats, rows: Ints, lowest: Ints, *, every: bool
) -> tuple[Floats, Bools]:
    """Return each pair's room above its lowest layer, ``[pairs, units]``, and the layers that may use it."""
    room = 1 - setups[rows, :, lowest] - costs[rows, :, lowest]
    allowed = (np.arange(worth.shape[1]) > lowest[:, None]) & (costs[rows] <= room[:, :, None] + TOLERANCE).all(axis=1)
    return room, allowed if every else allowed & (worth[rows] > 0)


def _tighten(
    costs: Floats, worth: Floats, room: Floats, allowed: Bools, lowest: Ints, prices: Floats
) -> tuple[Floats, Floats]:
    """Return each pair's own prices and the bound at them."""
    own = worth[np.arange(len(lowest)), lowest]

    def bound(trial: Floats) -> tuple[Floats, Floats]:
        # worth_l + mu (1 - setup_l - cost_l) + sum_j max(0, worth_j - mu cost_j).
        gains = np.where(allowed, worth - np.einsum("pu,pul->pl", trial, costs), 0.0)
        slope = room - np.einsum("pul,pl->pu", costs, (gains > 0).astype(np.float64))
        return own + (trial * room).sum(axis=1) + np.maximum(gains, 0.0).sum(axis=1), slope

    tight = cheapest(bound, np.maximum(worth, 0.0).sum(axis=1), costs.shape[1])
    # Bisection is approximate: the row's own prices may bound better.
    before, after = bound(prices)[0], bound(tight)[0]
    return np.where((after < before)[:, None], tight, prices), np.minimum(before, after)


def _pairs(
    costs: Floats,
    worth: Floats,
    room: Floats,
    allowed: Bools,
    rows: Ints,
    lowest: Ints,
    floors: Floats,
    mu: Floats,
) -> _Pairs:
    """Return the pairs that may still beat their floors, with layers fixed where the bound decides them."""
    at = np.arange(len(rows))
    own = worth[at, lowest]
    reduced = np.where(allowed, worth - np.einsum("pu,pul->pl", mu, costs), 0.0)
    spare = own + (mu * room).sum(axis=1) + np.maximum(reduced, 0.0).sum(axis=1) - floors
    # Against its reduced worth a layer costs the bound that much; where that is all it can spare, the layer is fixed.
    core = allowed & (np.abs(reduced) < spare[:, None])
    base = allowed & ~core & (reduced > 0)
    room = room - np.einsum("pul,pl->pu", costs, base.astype(np.float64))
    alive = np.flatnonzero((spare > 0) & (room >= -TOLERANCE).all(axis=1))
    own = own + np.where(base, worth, 0.0).sum(axis=1)
    base[at, lowest] = True
    # The core by falling |reduced worth|, so that bounds fall early; other layers sort last.
    items = np.argsort(np.where(core, -np.abs(reduced), np.inf), axis=1, kind="stable")
    hopes = np.take_along_axis(np.where(core, np.maximum(reduced, 0.0), 0.0), items, axis=1)
    return _Pairs(
        rows=rows[alive],
        base=base[alive],
        worth=own[alive],
        room=room[alive],
        prices=mu[alive],
        floors=floors[alive],
        items=items[alive],
        values=np.take_along_axis(worth, items, axis=1)[alive],
        costs=np.take_along_axis(costs, items[:, None, :], axis=2)[alive],
        hopes=(suffix(hopes) - hopes)[alive],
        sizes=core.sum(axis=1)[alive],
    )


def _branch(
    pairs: _Pairs, step: int, index: Ints, gained: Floats, room: Floats
) -> tuple[Ints, Floats, Floats, Ints, Bools]:
    """Return every partial mask without and, where there is room, with the next layer of its core."""
    # First every partial mask without the layer, then with it those that can pay.
    left = room - pairs.costs[index, :, step]
    takes = np.flatnonzero((step < pairs.sizes[index]) & (left >= -TOLERANCE).all(axis=1))
    parent = np.concatenate([np.arange(len(index)), takes])
    taken = np.arange(len(parent)) >= len(index)
    more = gained[takes] + pairs.values[index[takes], step]
    return index[parent], np.concatenate([gained, more]), np.concatenate([room, left[takes]]), parent, taken


def _promising(
    pairs: _Pairs, step: int, index: Ints, gained: Floats, room: Floats, lost: Floats, *, every: bool
) -> Ints:
    """Return the partial masks to keep, and note in ``lost`` what is dropped for want of space alone."""
    # Bound of a partial mask: gained + mu * room + what later layers of the core may add.
    hope = gained + (pairs.prices[index] * room).sum(axis=1) + pairs.hopes[index, step]
    keep = np.flatnonzero(hope > pairs.floors[index])
    if not every and len(keep) > 2 * len(pairs.rows) + CROWD:
        keep = keep[_undominated(index[keep], gained[keep], room[keep])]
    limit = LIMIT_EVERY if every else LIMIT
    if len(keep) > limit:
        # Too many: the most promising stay; what the others may be worth goes to ``lost``.
        excess = hope[keep] - pairs.floors[index[keep]]
        ranked = keep[np.argsort(-excess, kind="stable")]
        np.maximum.at(lost, pairs.rows[index[ranked[limit:]]], hope[ranked[limit:]])
        keep = np.sort(ranked[:limit])
    return keep


def _undominated(index: Ints, gained: Floats, room: Floats) -> Ints:
    """Return partial masks of which no other of the same pair is worth as much with as much room in every unit.

    Exact for one unit; with several, only some neighbours in the order of the first unit are compared.
    """
    if not room.shape[1]:
        room = np.zeros((len(index), 1))
    # By pair, then falling room in the first unit: who stands before has no less of it.
    order = np.lexsort((-gained, *(-room.T)[::-1], index))
    index, gained, room = index[order], gained[order], room[order]
    # Worth as a rank that grows with the pair, so that one running maximum serves all pairs.
    rank = np.argsort(np.argsort(gained, kind="stable"), kind="stable") + index * len(index)
    record = np.maximum.accumulate(rank)
    holder = np.maximum.accumulate(np.where(rank == record, np.arange(len(rank)), 0))
    before = np.concatenate([[0], holder[:-1]])
    dominated = _beaten(index, gained, room, before)
    if room.shape[1] > 1:
        for shift in (1, 2, 3, 4):
            dominated |= _beaten(index, gained, room, np.maximum(np.arange(len(index)) - shift, 0))
    return order[~dominated]


def _beaten(index: Ints, gained: Floats, room: Floats, by: Ints) -> Bools:
    other = by < np.arange(len(by))
    return np.asarray(other & (index[by] == index) & (gained[by] >= gained) & (room[by] >= room).all(axis=1))


def _masks(pairs: _Pairs, trail: list[tuple[Ints, Bools]], index: Ints, ends: Ints) -> Bools:
    """Return the complete masks at the ends of the trail."""
    masks = pairs.base[index[ends]]
    position = ends
    owner = index[ends]
    # From the ends back to the first layer of the core, parent by parent.
    for step in range(len(trail) - 1, -1, -1):
        parent, taken = trail[step]
        chosen = np.flatnonzero(taken[position])
        masks[chosen, pairs.items[owner[chosen], step]] = True
        position = parent[position]
    return masks
