"""Labels: beside their points, inside the plot, never over one another."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from fedstrata.report.figures.labels import CHARACTER, Box, Label, place

ROOM = Box(0, 0, 300, 240)


def box(label: Label, text: str) -> Box:
    width = CHARACTER * len(text)
    left = label.x - width if label.end else label.x
    return Box(left, label.y - 9, left + width, label.y + 2)


def test_lone_label_stands_to_the_right_on_the_line_of_its_point() -> None:
    assert place([(100.0, 50.0, "full")], ROOM) == (Label(108.0, 53.5, end=False, far=False),)


def test_label_of_a_point_at_the_right_edge_stands_to_its_left() -> None:
    (label,) = place([(290.0, 50.0, "consensus")], ROOM)
    assert label.end
    assert label.x == 282.0


def test_label_that_is_moved_far_asks_for_a_line() -> None:
    crowd = [(150.0, 100.0, "consensus")] * 6
    assert any(label.far for label in place(crowd, ROOM))


def test_label_keeps_off_what_it_is_told() -> None:
    (label,) = place([(100.0, 50.0, "full")], ROOM, [Box(100, 49, 300, 51)])
    assert label.end or label.far


def test_label_without_room_stands_to_the_right_all_the_same() -> None:
    assert place([(5.0, 5.0, "a long name indeed")], Box(0, 0, 10, 10)) == (Label(13.0, 8.5, end=False, far=False),)


@example([(90.0, 56.0, "top"), (90.0, 60.972324884927026, "top"), (90.0, 60.972324884927026, "top")])
@given(st.lists(st.tuples(st.floats(90, 210), st.floats(20, 220), st.sampled_from(["top", "consensus"])), max_size=7))
def test_labels_never_cover_one_another(points: list[tuple[float, float, str]]) -> None:
    boxes = [box(label, text) for label, (_, _, text) in zip(place(points, ROOM), points, strict=True)]
    assert not any(a.meets(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(ROOM.holds(b) for b in boxes)
