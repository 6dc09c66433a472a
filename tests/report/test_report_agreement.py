"""Predicted against measured: dots where the numbers say, the diagonal, the band, and few enough marks."""

from __future__ import annotations

from sys import float_info
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedstrata.report.figures.agreement import MOST_DOTS, Pair, agreement

LEFT, TOP, SIDE = 54.0, 8.0, 256.0


def plot(pairs: list[Pair], unit: str = "bytes_up") -> ET.Element:
    return ET.fromstring(agreement(pairs, unit=unit, title="t", description="d"))


def circles(tree: ET.Element) -> list[tuple[float, float, str]]:
    return [(float(c.get("cx", "")), float(c.get("cy", "")), c[0].text or "") for c in tree.iter("circle")]


def path(tree: ET.Element, style: str) -> str:
    return next(e.get("d", "") for e in tree.iter("path") if e.get("class") == style)


def test_dot_stands_where_its_numbers_say() -> None:
    tree = plot([Pair(0.0, 10e6, "a, round 0"), Pair(10e6, 5e6, "b, round 0")])
    top = 12e6  # a fifth above the largest value; the axis begins at 0
    assert circles(tree) == [
        (54.0, round(TOP + SIDE * (1 - 10e6 / top), 1), "a, round 0: predicted 0 B, measured 10.00 MB"),
        (
            pytest.approx(LEFT + SIDE * 10e6 / top, abs=0.06),
            pytest.approx(TOP + SIDE * (1 - 5e6 / top), abs=0.06),
            "b, round 0: predicted 10.00 MB, measured 5.00 MB",
        ),
    ]


def test_equal_numbers_lie_on_the_diagonal_whatever_the_scale() -> None:
    for values in ((400.0, 420.0), (1.0, 1e6), (0.0, 7.0), (3.0, 3.0)):
        for x, y, _ in circles(plot([Pair(v, v, "a") for v in values])):
            assert x - LEFT == pytest.approx(TOP + SIDE - y, abs=0.11)


def test_diagonal_runs_from_corner_to_corner() -> None:
    assert path(plot([Pair(1.0, 2.0, "a")]), "diagonal") == "M54.0 264.0L310.0 8.0"


def test_band_is_fifteen_percent_to_either_side() -> None:
    corners = path(plot([Pair(0.0, 100.0, "a")]), "band").strip("Mz").split("L")
    x, y = (float(v) for v in corners[2].split())
    assert x == 310.0
    assert (264.0 - y) / SIDE == pytest.approx(0.85, abs=0.001)
    x, y = (float(v) for v in corners[4].split())
    assert y == 8.0
    assert (x - LEFT) / SIDE == pytest.approx(1 / 1.15, abs=0.001)


def test_scales_that_are_wide_are_logarithmic_and_name_their_units() -> None:
    texts = [e.text for e in plot([Pair(1e3, 1e3, "a"), Pair(1e6, 1e6, "b")]).iter("text")]
    assert "10 kB" in texts
    assert "predicted" in texts


def test_linear_scale_names_its_unit_in_the_titles() -> None:
    texts = [e.text for e in plot([Pair(0.4, 0.5, "a")], "seconds").iter("text")]
    assert {"predicted, s", "measured, s"} <= set(texts)


def test_pairs_that_coincide_share_a_dot_that_counts_them() -> None:
    tips = [tip for _, _, tip in circles(plot([Pair(5e6, 5e6, f"c{i}, round 0") for i in range(1200)]))]
    assert tips == ["1,200 client-rounds here; c0, round 0: predicted 5.00 MB, measured 5.00 MB"]


AMOUNTS = st.floats(0, 1e12) | st.floats(0, float_info.max)


@given(
    st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=60),
    st.sampled_from(["bytes_up", "bytes_peak", "seconds"]),
)
@example([(5e-324, 5e-324)], "bytes_up")
@example([(1.0, float_info.max)], "bytes_up")
@example([(float_info.max, float_info.max)], "seconds")
def test_every_dot_is_inside_its_frame(values: list[tuple[float, float]], unit: str) -> None:
    for x, y, _ in circles(plot([Pair(a, b, "c") for a, b in values], unit)):
        assert LEFT - 0.1 <= x <= LEFT + SIDE + 0.1
        assert TOP - 0.1 <= y <= TOP + SIDE + 0.1


def test_thousands_of_pairs_are_binned_and_none_is_lost() -> None:
    pairs = [Pair(100.0 + i % 71, 100.0 + i % 67, "c") for i in range(4757)]
    tips = [tip for _, _, tip in circles(plot(pairs))]
    assert len(tips) <= MOST_DOTS
    assert sum(int(t.split(" client-rounds")[0].replace(",", "")) if "here" in t else 1 for t in tips) == 4757


def test_names_in_hover_texts_are_escaped() -> None:
    picture = agreement([Pair(1.0, 1.0, "<script>")], unit="seconds", title="<b>", description="&")
    assert "<script" not in picture
    assert "&lt;script&gt;" in picture
