"""Axes: values to places, round ticks in human units, and the frame around a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.etree import ElementTree as ET

from fedstrata.domain.units import PREFIXES
from fedstrata.report.figures import svg

SHARE, POINTS, COUNT, NUMBER = "share", "points", "count", "number"
"""Units besides those of ``domain.units``: accuracies in [0, 1], their differences, whole numbers and any numbers."""

WIDE_RANGE = 20.0
"""Ratio of largest to smallest value from which on an axis is logarithmic."""

_TIMES = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.5, 1.0, "s"), (0.0, 1e-3, "ms"))
_MOST_STEPS, _MOST_LOG = 7, 5
MOST = 1e300
"""What is larger is drawn here: past it, sums and powers of ten overflow."""
_LEAST_MARGIN = {SHARE: 0.015, POINTS: 0.001, COUNT: 0.25}


@dataclass(frozen=True, slots=True)
class Axis:
    """What runs along one side of a plot.

    Attributes:
        title: What it is.
        unit: Of the values: one of this module, or of ``domain.units``.
        log: Whether it is logarithmic.
        names: What stands at 0, 1, ... in the place of numbers.
    """

    title: str
    unit: str
    log: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis with its values: from ``low`` to ``high`` at places from ``start`` to ``end``, in CSS pixels.

    ``low`` is above 0 on a logarithmic one; the rest is the axis's.

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
    names: tuple[str, ...] = ()

    @classmethod
    def around(cls, values: Sequence[float], axis: Axis, start: float, end: float) -> Scale:
        """Return the scale of values with room at both ends; closer up, noise would look large.

        Args:
            values: At least one.
            axis: On which they lie.
            start: Place of the lower end.
            end: Place of the upper end.
        """
        low, high = (min(max(v, 1 / MOST if axis.log else -MOST), MOST) for v in (min(values), max(values)))
        if axis.log:
            return cls(axis.unit, low / 1.5, high * 1.5, start, end, log=True)
        largest = max(abs(low), abs(high))
        least = _LEAST_MARGIN.get(axis.unit, max(0.02 * largest, 1e-12))
        least = max(least, 1e-6 * largest)  # a smaller one would be rounded away
        margin = max((0.1 if axis.unit == SHARE else 0.05) * (high - low), least)
        if axis.unit == SHARE:
            low, high = max(low - margin, min(low, -0.005)), min(high + margin, max(high, 1.005))
        else:
            low, high = low - margin, high + margin
        return cls(axis.unit, low, high, start, end, names=axis.names)

    def at(self, value: float) -> float:
        """Return the place of a value."""
        value = min(max(value, 1 / MOST if self.log else -MOST), MOST)
        low, high, value = (log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return the values that are labelled, with their labels."""
        if self.names:
            return tuple(enumerate(self.names))
        if self.log and self.high > 10 * self.low:
            return tuple((v, _with_unit(self.unit, v)) for v in _decades(self.low, self.high))
        size, _ = _scaled(self.unit, self.high)
        step = size * _step((self.high - self.low) / size, whole=self.unit == COUNT)
        found = [k * step for k in range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1)]
        tail = "%" if self.unit == SHARE else ""
        if self.log:
            return tuple((v, _with_unit(self.unit, v)) for v in found)
        return tuple((v, f"{v / size:g}{tail}".replace("-", "\u2212")) for v in found)

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


def frame(x: Scale, y: Scale, *, x_title: str, y_title: str, title: str, description: str) -> ET.Element:
    """Return a picture with two axes and nothing on them; ``y.start`` is the bottom."""
    picture = svg.root(x.end + 10, y.start + 38, title=title, description=description)
    below(picture, x, x_title, top=y.end, bottom=y.start)
    up = [(y.at(value), label) for value, label in y.ticks()]
    svg.add(picture, "path", class_="grid", d="".join(f"M{x.start:.1f} {at:.1f}H{x.end:.1f}" for at, _ in up))
    for at, label in up:
        svg.add(picture, "text", label, x=x.start - 5, y=at + 3.5, class_="end")
    svg.add(picture, "path", class_="rule", d=f"M{x.start:.1f} {y.end:.1f}V{y.start:.1f}")
    place = f"translate(11,{(y.start + y.end) / 2:.1f}) rotate(-90)"
    svg.add(picture, "text", _titled(y_title, y), transform=place, class_="mid title")
    return picture


def below(picture: ET.Element, x: Scale, title: str, *, top: float, bottom: float) -> None:
    """Draw an axis along the bottom of a plot, with lines up to its top."""
    across = [(x.at(value), label) for value, label in x.ticks()]
    svg.add(picture, "path", class_="grid", d="".join(f"M{at:.1f} {bottom:.1f}V{top:.1f}" for at, _ in across))
    for at, label in across:
        svg.add(picture, "text", label, x=at, y=bottom + 14, class_="mid")
    svg.add(picture, "path", class_="rule", d=f"M{x.start:.1f} {bottom:.1f}H{x.end:.1f}")
    svg.add(picture, "text", _titled(title, x), x=(x.start + x.end) / 2, y=bottom + 30, class_="mid title")


def _titled(title: str, scale: Scale) -> str:
    return f"{title}, {scale.suffix}" if scale.suffix else title


def _scaled(unit: str, value: float) -> tuple[float, str]:
    """Return what one step of an axis up to a value is worth, and its name."""
    if unit in (COUNT, NUMBER):
        return 1.0, ""
    if unit in (SHARE, POINTS):
        return 0.01, unit
    if unit == "seconds":
        return next((size, name) for least, size, name in _TIMES if value >= least)
    size, prefix = next(((s, p) for s, p in PREFIXES if value >= s), (1.0, ""))
    return size, prefix + ("FLOP" if unit == "flops" else "B")


def _with_unit(unit: str, value: float) -> str:
    """Return a tick of a log axis.

    Example:
        >>> _with_unit("bytes_up", 3e6), _with_unit("seconds", 0.001), _with_unit("seconds", 3000.0)
        ('3 MB', '1 ms', '3,000 s')
    """
    size, name = (1.0, "s") if unit == "seconds" and value >= 0.1 else _scaled(unit, value)
    return f"{value / size:,.4g} {name}".strip()


def _step(span: float, *, whole: bool) -> float:
    """Return the smallest round step that cuts a span into ``_MOST_STEPS`` parts at most."""
    least = max(span / _MOST_STEPS * (1 - 1e-9), 1.0 if whole else 0.0)
    power = 10.0 ** floor(log10(least))
    steps = (digits * power for digits in (1, 2, 2.5, 5, 10))
    return next(step for step in steps if step >= least and not (whole and step % 1))


def _decades(low: float, high: float) -> tuple[float, ...]:
    """Return 1, 2, 5, 10, ... within the range, or fewer per decade, or every so many powers of ten."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    found: tuple[float, ...] = ()
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = tuple(v for p in powers for d in digits if low <= (v := d * 10.0**p) <= high)
        if len(found) <= _MOST_LOG:
            break
    return found[:: -(-len(found) // _MOST_LOG)]
