"""Rows of a plan's table of clients: equal ones together, of many different ones three."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.units import shown
from fedstrata.planning.plan import Means

MANY = 6
"""Different kinds of clients from which on only the poorest, the median and the richest are shown."""


def client_rows(clients: Sequence[Means]) -> Iterator[tuple[str, ...]]:
    """Yield a row of cells per kind of client."""
    order = [means.client for means in clients]
    kinds: dict[Hashable, list[Means]] = {}
    for means in clients:
        kinds.setdefault(_row(means), []).append(means)
    ordered = sorted(kinds.items(), key=lambda kind: _wealth(kind[1][0]))
    if len(ordered) <= MANY:
        for cells, same in kinds.items():
            yield (names([m.client for m in same], order), *cells)  # type: ignore[misc]
        return
    shown_kinds = {"poorest": ordered[0], "median": ordered[(len(ordered) - 1) // 2], "richest": ordered[-1]}
    for label, (cells, same) in shown_kinds.items():
        yield (f"{label}: {names([m.client for m in same], order)}", *cells)  # type: ignore[misc]
    rest = len(clients) - sum(len(same) for _, same in shown_kinds.values())
    yield (f"... {rest} more, --json has all", *[""] * 7)


def names(same: Sequence[ClientId], order: Sequence[ClientId]) -> str:
    """Return some clients in few words.

    Example:
        >>> ids = [ClientId(f"c{i}") for i in range(12)]
        >>> names(ids[:1], ids), names(ids[2:5], ids), names(ids[::4], ids), names(ids[::3], ids)
        ('c0', 'c2 to c4 (3 clients)', 'c0, c4, c8', 'c0, c3, ... (4 clients)')
    """
    if len(same) == 1:
        return same[0]
    first = order.index(same[0])
    if list(order[first : first + len(same)]) == list(same):
        return f"{same[0]} to {same[-1]} ({len(same)} clients)"
    return ", ".join(same) if len(same) <= 3 else f"{same[0]}, {same[1]}, ... ({len(same)} clients)"


def ranges(layers: Sequence[int]) -> str:
    """Return ascending layer indices in few words.

    Example:
        >>> ranges([6, 7, 8, 11]), ranges([2, 3]), ranges([])
        ('6-8, 11', '2-3', 'none')
    """
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) or "none"


def _row(means: Means) -> tuple[str, ...]:
    masks = means.masks
    alone = "none: head-only" if means.nothing.fits(means.budget) else "not even head-only"
    which = f"{len(masks.singles)}: {ranges(masks.singles)}" if masks.singles else alone
    full = _asked(means.everything, means.budget) + ("" if means.everything.fits(means.budget) else ", over")
    return (
        str(means.budget),
        _asked(means.nothing, means.budget),
        full,
        which,
        str(masks.singles[0]) if masks.singles else "-",
        str(masks.top),
        f"{'' if masks.most_exact else '>= '}{masks.most}",
    )


def _asked(price: Cost, budget: Cost) -> str:
    """Return a price in the units that the budget limits; without a limit, in operations and memory."""
    units = budget.limited() or ("flops", "bytes_peak")
    values = dict(price.items())
    return ", ".join(shown(unit, values[unit]) for unit in units)


def _wealth(means: Means) -> tuple[float, ...]:
    """Return what sorts clients from poor to rich."""
    limits, full = dict(means.budget.items()), dict(means.everything.items())
    shares = [limits[unit] / full[unit] for unit in means.budget.limited() if full[unit] > 0]
    return (means.masks.most, len(means.masks.singles), min(shares, default=float("inf")))
