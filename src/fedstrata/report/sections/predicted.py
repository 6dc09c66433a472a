"""Predicted and measured: what the price of each mask said, and what the clients really sent, held and took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from fedstrata.domain.formatting import number, plural
from fedstrata.domain.records import ClientRecord
from fedstrata.report.blocks import Block, Picture, Pictures, Text
from fedstrata.report.figures.agreement import BAND, Pair, agreement
from fedstrata.runs.records import Run
from fedstrata.runs.statistics import seconds_of, turns

_NAMES = {
    "bytes_up": "Bytes up",
    "bytes_down": "Bytes down",
    "bytes_peak": "Peak memory",
    "seconds": "Seconds",
}
_CAPTIONS = {
    "bytes_up": "What a client sent in a round.",
    "bytes_down": "What a client was sent in a round.",
    "bytes_peak": "The most memory that a client held in a round, the model's parameters included. On a CPU the"
    " process is measured, with memory that it has freed and not given back; differences of 5 to 10 MB are noise.",
    "seconds": "Time of probing and training; the prediction adds transfers where the device profile has rates.",
}
_EXACT = ("bytes_up", "bytes_down")
_UNPRICED = {
    "bytes_up": "the run's cost model does not price it; set cost: measured",
    "bytes_down": "the run's cost model does not price it; set cost: measured",
    "bytes_peak": "the price needs cost: measured, and a model whose step can be measured",
    "seconds": "give devices: a profile for each client (fedstrata bench client writes one)",
}
_UNMEASURED = {
    "bytes_peak": "it is measured on Linux and on a GPU, with clients that run one at a time in their process",
    "seconds": "the log holds no time of any client",
}


def predicted(runs: Sequence[Run]) -> tuple[Block, ...]:
    """Return one plot per unit over all runs, each with its verdict, or why there is none."""
    found = _Found.of(runs)
    if not found.done:
        return (Text("No client finished a round, so there is nothing to compare."),)
    pictures = [_picture(runs, unit, pairs, of=len(found.done)) for unit, pairs in found.pairs.items() if pairs]
    rows = [pictures[:2], pictures[2:]] if len(pictures) == len(_NAMES) else [pictures]
    return (
        *((Text(_lead(found.failed, len(found.done) + found.failed)),) if pictures else ()),
        *(Pictures(tuple(row)) for row in rows if row),
        *(Text(_why(unit, found.done)) for unit, pairs in found.pairs.items() if not pairs),
    )


def predicted_in_words(run: Run) -> tuple[Block, ...]:
    """Return the verdicts of one run that shares its page, and its plots, with others."""
    found = _Found.of([run])
    if not found.done:
        return (Text("No client finished a round, so there is nothing to compare."),)
    return tuple(
        Text(compared(pairs, unit, of=len(found.done)) if pairs else _why(unit, found.done))
        for unit, pairs in found.pairs.items()
    )


def compared(pairs: Sequence[Pair], unit: str, *, of: int) -> str:
    """Return how well predictions hold, in one line.

    Args:
        pairs: At least one.
        unit: One of the four units that are both predicted and measured.
        of: How many client-rounds finished, with or without a prediction.

    Example:
        >>> pairs = [Pair(100.0, 100.0, "a"), Pair(100.0, 110.0, "b"), Pair(100.0, 130.0, "c")]
        >>> compared(pairs, "bytes_peak", of=3)
        'Peak memory: measured / predicted median 1.1, from 1 to 1.3; 2 of 3 client-rounds are within 15%.'
        >>> compared(pairs, "bytes_up", of=3)
        'Bytes up: equal to the byte in 1 of 3 client-rounds; measured / predicted from 1 to 1.3.'
    """
    ratios = [p.measured / p.predicted for p in pairs if p.predicted > 0]
    span = f"from {number(min(ratios))} to {number(max(ratios))}" if ratios else ""
    missing = f" In {of - len(pairs):,} of {_rounds(of)} one of the two is not known." if of > len(pairs) else ""
    if unit in _EXACT:
        equal = sum(p.measured == p.predicted for p in pairs)
        tail = f"; measured / predicted {span}" if equal < len(pairs) and span else ""
        return f"{_NAMES[unit]}: equal to the byte in {equal:,} of {_rounds(len(pairs))}{tail}.{missing}"
    if not ratios:
        return f"{_NAMES[unit]}: 0 was predicted in {len(pairs):,} of {_rounds(len(pairs))}.{missing}"
    near = sum(abs(p.measured - p.predicted) <= BAND * p.predicted for p in pairs)
    return (
        f"{_NAMES[unit]}: measured / predicted median {number(median(ratios))}, {span}; "
        f"{near:,} of {_rounds(len(pairs))} are within {100 * BAND:.0f}%.{missing}"
    )


def _rounds(count: int) -> str:
    return plural(count, "client-round")


def _lead(failed: int, total: int) -> str:
    text = (
        "Each dot is one client in one round: what the price of its mask said before training, against what was "
        f"measured. On the line both agree; the band is {100 * BAND:.0f}% to either side."
    )
    return text + (f" {failed:,} of {_rounds(total)} failed and are left out." if failed else "")


def measured(client: ClientRecord, unit: str) -> float | None:
    """Return what a client really gave in a unit, or ``None`` if that was not measured."""
    if unit == "bytes_peak":
        return client.peak_bytes
    if unit == "seconds":
        return seconds_of(client) or None
    return {"bytes_up": client.bytes_up, "bytes_down": client.bytes_down, "layers": len(client.mask)}.get(unit)


@dataclass(frozen=True, slots=True)
class _Found:
    """Client-rounds that did not fail, their pairs by unit, and how many failed."""

    done: Sequence[ClientRecord]
    pairs: Mapping[str, Sequence[Pair]]
    failed: int

    @classmethod
    def of(cls, runs: Sequence[Run]) -> _Found:
        """Return what runs hold; a pair says whose it is, with its run where there are several."""
        every = [(f"{run.name}, " if len(runs) > 1 else "", client) for run in runs for client in turns(run)]
        done = [(run, client) for run, client in every if client.failure is None]
        pairs: dict[str, list[Pair]] = {unit: [] for unit in _NAMES}
        for run, client in done:
            for unit in _NAMES:
                price, real = client.predicted.get(unit), measured(client, unit)
                if price is not None and real is not None and isfinite(price) and isfinite(real):
                    pairs[unit].append(Pair(price, real, f"{run}{client.client}, round {client.round}"))
        return cls([client for _, client in done], pairs, len(every) - len(done))


def _why(unit: str, done: Sequence[ClientRecord]) -> str:
    if not any(unit in client.predicted for client in done):
        return f"{_NAMES[unit]}: no prediction in the log; {_UNPRICED[unit]}."
    if unit in _UNMEASURED and all(measured(client, unit) is None for client in done):
        return f"{_NAMES[unit]}: predicted but not measured; {_UNMEASURED[unit]}."
    return f"{_NAMES[unit]}: no client-round has both a prediction and a measurement."


def _picture(runs: Sequence[Run], unit: str, pairs: Sequence[Pair], *, of: int) -> Picture:
    verdict = compared(pairs, unit, of=of)
    whose = runs[0].log.header.method if len(runs) == 1 else plural(len(runs), "run")
    title = f"{whose}: {_NAMES[unit].lower()}, predicted against measured"
    return Picture(
        agreement(pairs, unit=unit, title=title, description=verdict), _CAPTIONS[unit], lead=verdict, small=True
    )
