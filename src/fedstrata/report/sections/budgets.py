"""Budgets: whether every mask's price fits them in every unit, and whether what was measured does too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from fedstrata.domain.cost import Cost
from fedstrata.domain.formatting import NOTHING, listing, plural, quantity
from fedstrata.domain.records import ClientRecord
from fedstrata.domain.units import UNITS, shown
from fedstrata.report.blocks import Block, Check, Meter, Note, TableCell
from fedstrata.report.sections.predicted import measured
from fedstrata.runs.records import Run
from fedstrata.runs.statistics import turns

_MEASURED = ("bytes_up", "bytes_peak", "seconds")
_NAMES = {
    "layers": "layers",
    "flops": "FLOPs",
    "bytes_up": "bytes up",
    "bytes_down": "bytes down",
    "bytes_peak": "peak memory",
    "seconds": "seconds",
}


@dataclass(frozen=True, slots=True)
class _Over:
    """A limit that a client's round went past; ``value`` is not a number where the unit was not priced."""

    client: ClientRecord
    unit: str
    value: float
    limit: float

    def __str__(self) -> str:
        where = f"{self.client.client} in round {self.client.round}"
        if not isfinite(self.value):
            return f"{where} (limit {shown(self.unit, self.limit)}, not priced)"
        if self.unit == "layers":
            return f"{where} ({self.value:g} of {shown(self.unit, self.limit)})"
        return f"{where} ({quantity(self.unit, self.value)} of {shown(self.unit, self.limit)})"


def budgets(run: Run) -> tuple[Block, ...]:
    """Return whether the price of every mask kept to its client's budget, and where a measurement did not."""
    given = [client for client in turns(run) if client.predicted or client.mask or client.failure is None]
    limited = [client for client in given if client.budget]
    if not limited:
        return (Check(True, f"No client had a limit, in {plural(len(given), 'client-round')}."),)
    over = [found for client in limited for found in _over_by_price(client)]
    return (_promise(over, limited), *_overshoot(limited))


def price(client: ClientRecord) -> Cost:
    """Return the price of a client's mask; layers are counted, what was not priced is not a number."""
    known = {unit: client.predicted.get(unit, float("nan")) for unit in UNITS}
    return Cost(**{**known, "layers": float(len(client.mask))})


def budget_shown(own: Sequence[ClientRecord]) -> str:
    """Return a client's limits over its rounds, such as ``2 layers, 1.00 MB up``; with both ends where they vary."""
    parts = []
    for unit in UNITS:
        limits = [client.budget[unit] for client in own if unit in client.budget]
        if limits:
            low, high = shown(unit, min(limits)), shown(unit, max(limits))
            parts.append(low if low == high else f"{quantity(unit, min(limits))} to {high}")
    return ", ".join(parts) or "no limit"


def tightest(own: Sequence[ClientRecord]) -> TableCell:
    """Return a meter of the limit that a client's masks used most of, by their predicted prices."""
    shares = [found for client in own for found in _shares(client)]
    if not shares:
        return NOTHING
    share, unit = max(shares, key=lambda found: found[0])
    end = max(1.0, share)
    text = f"{100 * share:.0f}% of {_NAMES[unit]}" if isfinite(share) else f"over 0 {_NAMES[unit]}"
    return Meter(text, share / end if isfinite(share) else 1.0, 1 / end, over=share > 1)


def _shares(client: ClientRecord) -> Iterator[tuple[float, str]]:
    for unit, value in price(client).items():
        limit = client.budget.get(unit)
        if limit is not None and isfinite(value):
            yield (value / limit if limit else (float("inf") if value else 0.0)), unit


def _over_by_price(client: ClientRecord) -> Iterator[_Over]:
    asked = price(client)
    for unit in asked.over(Cost.limits(**client.budget)):
        yield _Over(client, unit, dict(asked.items())[unit], client.budget[unit])


def _promise(over: Sequence[_Over], limited: Sequence[ClientRecord]) -> Check:
    units = [_NAMES[unit] for unit in UNITS if any(unit in client.budget for client in limited)]
    if not over:
        text = (
            f"The price of every mask is within its client's budget in every unit that has a limit ({listing(units)})"
        )
        return Check(True, f"{text}, in {plural(len(limited), 'client-round')}.")
    masks = len({(found.client.round, found.client.client) for found in over})
    where = listing([str(found) for found in over])
    return Check(False, f"{plural(masks, 'mask')} of {len(limited):,} over budget: {where}.")


def _overshoot(limited: Sequence[ClientRecord]) -> tuple[Note, ...]:
    notes = []
    for unit in _MEASURED:
        found = []
        for client in limited:
            real, limit = measured(client, unit), client.budget.get(unit)
            if real is not None and limit is not None and real > limit:
                found.append(_Over(client, unit, real, limit))
        if found:
            worst = sorted(found, key=lambda over: over.limit - over.value)
            said = f"Measured {_NAMES[unit]} went past the limit in {plural(len(found), 'client-round')}, worst first"
            notes.append(Note(f"{said}: {listing([str(over) for over in worst])}."))
    return tuple(notes)
