"""The frontier of cost and accuracy: the points that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a method stands: means over its runs, and the smallest and largest of them.

    Attributes:
        style: Index of its mark, the same for a label everywhere in the page.
        cost: Smaller is better.
        accuracy: In [0, 1].
        tip: Hover text.
    """

    label: str
    style: int
    cost: float
    accuracy: float
    costs: tuple[float, float]
    accuracies: tuple[float, float]
    tip: str = ""


ALIKE = 1.05
"""Ratio up to which costs count as the same: a frontier drawn from less would be made of noise."""


def alike(points: Sequence[Standing]) -> bool:
    """Return whether the costs of all methods are nearly the same, so that none is the cheaper one.

    Example:
        >>> points = [Standing(k, 0, x, 0.5, (x, x), (0.5, 0.5)) for k, x in {"a": 1.0, "b": 1.04, "c": 1.1}.items()]
        >>> alike(points[:2]), alike(points)
        (True, False)
    """
    costs = [point.cost for point in points]
    return max(costs) <= ALIKE * min(costs)


def frontier(points: Sequence[Standing]) -> tuple[Standing, ...]:
    """Return the points to which no cheaper or equally dear one is better, cheapest first.

    Of points that are level in both the first stands.

    Example:
        >>> places = {"a": (1.0, 0.5), "b": (2.0, 0.4), "c": (3.0, 0.7), "d": (3.0, 0.6)}
        >>> points = [Standing(k, 0, x, y, (x, x), (y, y)) for k, (x, y) in places.items()]
        >>> [p.label for p in frontier(points)]
        ['a', 'c']
    """
    found: list[Standing] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.accuracy)):
        if not found or point.accuracy > found[-1].accuracy:
            found.append(point)
    return tuple(found)
