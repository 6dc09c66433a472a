"""Labels beside points, placed so that they cover neither one another nor a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER = 5.6
"""Width of a character in CSS pixels, on average and rounded up."""

_LINE, _POINT, _GAP = 11.0, 5.0, 8.0
_STEPS = 12
_NEAR = 6.0
_HAIR = 1e-9
"""What rounding may add to boxes that touch, in CSS pixels."""


@dataclass(frozen=True, slots=True)
class Label:
    """Where a label stands.

    Attributes:
        x: Its edge that faces the point.
        y: Its baseline.
        end: Whether it ends at ``x``, to the left of its point.
        far: Whether it needs a line to its point.
    """

    x: float
    y: float
    end: bool
    far: bool


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in CSS pixels with y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Return whether the two overlap; boxes that touch do not, and rounding does not make them."""
        return (
            min(self.right, other.right) - max(self.left, other.left) > _HAIR
            and min(self.bottom, other.bottom) - max(self.top, other.top) > _HAIR
        )

    def holds(self, other: Box) -> bool:
        """Return whether the other lies inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


def place(points: Sequence[tuple[float, float, str]], room: Box, keep_off: Sequence[Box] = ()) -> tuple[Label, ...]:
    """Return a label per point (x, y, text), in the order of the points.

    Each takes the nearest free place to the right or left of its point, moved up or down as need be; where there
    is none, the nearest place inside the room that covers least.

    Args:
        points: Places and texts.
        room: Where labels may stand.
        keep_off: Lines that labels cover only rather than one another or a point.

    Example:
        >>> [(l.end, l.far) for l in place([(10, 50, "a"), (95, 50, "b")], Box(0, 0, 100, 100))]
        [(False, False), (True, False)]
    """
    taken = [Box(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y, _ in points]
    placed: dict[int, Label] = {}
    for i in sorted(range(len(points)), key=lambda i: points[i][1]):
        x, y, text = points[i]
        choices = _choices(x, y, CHARACTER * len(text))
        inside = [choice for choice in choices if room.holds(choice[1])] or choices
        label, box = min(inside, key=lambda choice: _covered(choice[1], taken, keep_off))
        taken.append(box)
        placed[i] = label
    return tuple(placed[i] for i in range(len(points)))


def _covered(box: Box, taken: Sequence[Box], lines: Sequence[Box]) -> tuple[int, int]:
    """Return how many labels and points, and then how many lines, a label would cover."""
    return sum(box.meets(other) for other in taken), sum(box.meets(line) for line in lines)


def _choices(x: float, y: float, width: float) -> list[tuple[Label, Box]]:
    """Return places for a label from the nearest on."""
    found = []
    for step in sorted(range(-_STEPS, _STEPS + 1), key=lambda s: (abs(s), s)):
        middle = y + step * _LINE / 2
        far = abs(middle - y) > _NEAR
        for end in (False, True):
            edge = x - _GAP if end else x + _GAP
            left = edge - width if end else edge
            box = Box(left, middle - _LINE / 2, left + width, middle + _LINE / 2)
            found.append((Label(edge, middle + 3.5, end, far), box))
    return found
