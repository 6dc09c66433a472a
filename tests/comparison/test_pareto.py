"""The frontier: exactly the points that no other beats in cost and accuracy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedstrata.comparison.pareto import Standing, frontier


def at(label: str, cost: float, accuracy: float) -> Standing:
    return Standing(label, 0, cost, accuracy, (cost, cost), (accuracy, accuracy))


def labels(*points: Standing) -> list[str]:
    return [p.label for p in frontier(points)]


def test_one_point_is_the_frontier() -> None:
    assert labels(at("a", 1.0, 0.5)) == ["a"]


def test_of_two_at_one_cost_the_better_stands() -> None:
    assert labels(at("a", 1.0, 0.5), at("b", 1.0, 0.6)) == ["b"]


def test_of_two_that_are_level_the_first_stands() -> None:
    assert labels(at("a", 1.0, 0.5), at("b", 1.0, 0.5)) == ["a"]


def test_dearer_and_worse_is_left_out() -> None:
    assert labels(at("full", 6.0, 0.7), at("top", 1.0, 0.5), at("bad", 3.0, 0.4)) == ["top", "full"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_frontier_is_what_nothing_dominates(values: list[tuple[int, int]]) -> None:
    points = [at(str(i), float(c), a / 9) for i, (c, a) in enumerate(values)]
    undominated = {
        (p.cost, p.accuracy)
        for p in points
        if not any(
            q.cost <= p.cost and q.accuracy >= p.accuracy and (q.cost, q.accuracy) != (p.cost, p.accuracy)
            for q in points
        )
    }
    assert {(p.cost, p.accuracy) for p in frontier(points)} == undominated
