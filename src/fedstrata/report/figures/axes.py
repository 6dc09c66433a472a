"""Axes of hand-drawn plots: values to places, round ticks in human units, and the frame around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.etree import ElementTree as ET

from matplotlib.ticker import MaxNLocator

from fedstrata.domain.formatting import number, quantity
from fedstrata.report.figures import svg

SHARE = "share"
"""The unit of accuracies, in [0, 1]; the others are those of ``domain.units``."""

WIDE_RANGE = 20.0
"""Ratio of largest to smallest value from which on an axis is logarithmic."""

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_TIMES = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.5, 1.0, "s"), (0.0, 1e-3, "ms"))
_MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis: values from ``low`` to ``high`` at places from ``start`` to ``end``, in CSS pixels.

    Attributes:
        unit: ``share``, or a unit of ``domain.units``.
        log: Whether it is logarithmic; ``low`` is then above 0.

    Example:
        >>> s = Scale("bytes_up", 0.0, 4e6, 50.0, 250.0)
        >>> s.at(1e6), s.suffix, [label for _, label in s.ticks()]
        (100.0, 'MB', ['0', '1', '2', '3', '4'])
        >>> t = Scale("seconds", 1.0, 100.0, 0.0, 200.0, log=True)
        >>> t.at(10.0), t.suffix, [label for _, label in t.ticks()]
        (100.0, '', ['1 s', '3 s', '10 s', '30 s', '100 s'])
    """

    unit: str
    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value."""
        low, high, value = (log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return the values that are labelled, with their labels."""
        if self.log:
            return tuple((v, _short(self.unit, v)) for v in _decades(self.low, self.high))
        size, _ = _scaled(self.unit, self.high)
        found = MaxNLocator(_MOST_TICKS + 1, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low / size, self.high / size)
        inside = [float(v) for v in found if self.low <= v * size <= self.high]
        tail = "%" if self.unit == SHARE else ""
        return tuple((v * size, f"{v:g}{tail}") for v in inside)

    @property
    def suffix(self) -> str:
        """What every label leaves out: the unit of a linear axis."""
        return "" if self.log or self.unit == SHARE else _scaled(self.unit, self.high)[1]


def wide(values: Sequence[float]) -> bool:
    """Return whether values lie so far apart that a linear axis would press the small ones to its edge.

    Example:
        >>> wide([1.0, 21.0]), wide([1.0, 20.0]), wide([0.0, 21.0])
        (True, False, False)
    """
    return min(values) > 0 and max(values) > WIDE_RANGE * min(values)


def frame(picture: ET.Element, x: Scale, y: Scale, *, x_title: str, y_title: str) -> None:
    """Draw grid, axes, ticks and titles; ``y.start`` is the bottom."""
    across = [(x.at(value), label) for value, label in x.ticks()]
    up = [(y.at(value), label) for value, label in y.ticks()]
    lines = [f"M{at:.1f} {y.start:.1f}V{y.end:.1f}" for at, _ in across]
    lines += [f"M{x.start:.1f} {at:.1f}H{x.end:.1f}" for at, _ in up]
    svg.add(picture, "path", class_="grid", d="".join(lines))
    for at, label in across:
        svg.add(picture, "text", label, x=at, y=y.start + 14, class_="mid")
    for at, label in up:
        svg.add(picture, "text", label, x=x.start - 5, y=at + 3.5, class_="end")
    svg.add(picture, "path", class_="rule", d=f"M{x.start:.1f} {y.end:.1f}V{y.start:.1f}H{x.end:.1f}")
    middle = (y.start + y.end) / 2
    svg.add(picture, "text", _titled(x_title, x), x=(x.start + x.end) / 2, y=y.start + 30, class_="mid title")
    place = f"translate(11,{middle:.1f}) rotate(-90)"
    svg.add(picture, "text", _titled(y_title, y), transform=place, class_="mid title")


def _titled(title: str, scale: Scale) -> str:
    return f"{title}, {scale.suffix}" if scale.suffix else title


def _scaled(unit: str, high: float) -> tuple[float, str]:
    """Return what one step of a linear axis is worth, and its name."""
    if unit == SHARE:
        return 0.01, "%"
    if unit == "seconds":
        return next((size, name) for least, size, name in _TIMES if high >= least)
    size, prefix = next(((s, p) for s, p in _PREFIXES if high >= s), (1.0, ""))
    return size, prefix + ("FLOP" if unit == "flops" else "B")


def _short(unit: str, value: float) -> str:
    """Return a tick of a log axis, whose values have one digit.

    Example:
        >>> _short("bytes_up", 3e6), _short("seconds", 0.001), _short("flops", 1e13), _short("seconds", 3000.0)
        ('3 MB', '1 ms', '10 TFLOP', '3,000 s')
    """
    if unit == "seconds":
        return f"{number(value * 1000)} ms" if value < 0.1 else f"{number(value)} s"
    return quantity(unit, value).replace(".00", "")


def _decades(low: float, high: float) -> tuple[float, ...]:
    """Return 1, 3, 10, 30, ... within the range, or every so many powers of ten where these are too many."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    every = [digit * 10.0**p for p in powers for digit in (1, 3)]
    inside = tuple(v for v in every if low <= v <= high)
    if len(inside) <= _MOST_TICKS:
        return inside
    tens = tuple(10.0**p for p in powers if low <= 10.0**p <= high)
    return tens[:: -(-len(tens) // _MOST_TICKS)]
