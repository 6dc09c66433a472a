"""Inline SVG: text is escaped, ids are unique in a page, matplotlib's file loses what a page must not inherit."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from fedstrata.report.figures import svg
from fedstrata.report.figures.bars import Segment, stacked
from fedstrata.report.figures.grid import Cell, Grid, draw
from fedstrata.report.figures.lines import Line, line_chart

EVIL = '<script>alert("1")</script>&\x00'


def chart(key: str = "k", *lines: Line, log_x: bool = False) -> str:
    shown = lines or (Line("full", [0, 1, 2], [0.1, 0.5, 0.4], 0, ["at 0", "at 1", "at 2"]),)
    return line_chart(
        shown, key=key, title="a title", description="what it shows", x_label="rounds", y_label="acc", log_x=log_x
    )


def titles(picture: str) -> list[str | None]:
    return [e.text for e in ET.fromstring(picture).iter("title")]


def grid(cells: list[list[Cell]], *, rows: tuple[str, ...] = ("a",), columns: tuple[str, ...] = ("0",)) -> str:
    return draw(Grid(rows, columns, cells, ("row", "column"), "none", "to all"), title="t", description="d")


def test_chart_names_itself_and_each_point() -> None:
    picture = chart()
    assert ET.fromstring(picture).get("aria-label") == "a title. what it shows"
    assert titles(picture) == ["at 0", "at 1", "at 2"]


def test_chart_keeps_its_text_as_text_and_brings_no_style_or_link() -> None:
    picture = chart()
    assert ">rounds</text>" in picture
    assert not any(word in picture for word in ("<style", "<metadata", "http", "font-family", "#0102"))


def test_chart_is_the_same_twice_and_its_ids_carry_the_key() -> None:
    assert chart("one") == chart("one")
    ids = [{e.get("id") for e in ET.fromstring(chart(k)).iter() if e.get("id")} for k in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_chart_references_only_ids_that_it_defines() -> None:
    tree = ET.fromstring(chart())
    defined = {e.get("id") for e in tree.iter() if e.get("id")}
    used = {e.get("href", "").removeprefix("#") for e in tree.iter("use")}
    assert used
    assert used <= defined


def test_chart_skips_points_without_a_number() -> None:
    line = Line("a", [0, 1, 2], [0.1, float("nan"), 0.3], 0, ["0", "1", "2"])
    assert titles(chart("k", line)) == ["0", "2"]


def test_chart_of_one_point_and_of_many_can_be_drawn() -> None:
    assert titles(chart("k", Line("a", [1], [0.5], 9, ["only"]))) == ["only"]
    many = Line("a", range(1, 201), [0.5] * 200, 1, [str(i) for i in range(1, 201)])
    shown = titles(chart("k", many, log_x=True))
    assert shown[-1] == "200"
    assert len(shown) == 40


def test_hover_text_that_fits_no_marker_is_a_defect() -> None:
    with pytest.raises(RuntimeError, match="2 markers for 1 hover texts"):
        svg.adopt(
            b'<svg><g id="g"><use/><use/></g></svg>', key="k", title="t", description="d", colors={}, tips={"g": ["1"]}
        )


def test_names_are_escaped_everywhere() -> None:
    pictures = [
        chart("k", Line(EVIL, [0, 1], [0.1, 0.2], 0, [EVIL, EVIL])),
        grid([[Cell(3, EVIL)]], rows=(EVIL * 2,), columns=(EVIL,)),
        stacked([(EVIL, [Segment(0, 5, EVIL, EVIL)])], unit="rows", title=EVIL, description=EVIL),
    ]
    for picture in pictures:
        assert "<script" not in picture
        assert "script" in picture
        ET.fromstring(picture)


def test_cell_of_zero_one_and_alarm_look_different() -> None:
    picture = grid([[Cell(0, "none", "0"), Cell(1, "one", "1"), Cell(2, "bad", alarm=True)]], columns=("0", "1", "2"))
    cells = {e[0].text: e.get("class") for e in ET.fromstring(picture).iter("path") if len(e)}
    assert cells == {"none": "h0", "one": "h1", "bad": "alarm"}
    assert ">!</text>" in picture


def test_counts_are_shown_in_all_cells_or_in_none() -> None:
    narrow = [Cell(1, "t", "7")] * 59 + [Cell(1, "t", "12")]
    picture = grid([narrow], columns=tuple(str(i) for i in range(60)))
    assert ">7</text>" not in picture.split("<g")[1].split("</g>")[0]


def test_label_of_a_wide_bar_is_inside_and_of_a_thin_one_is_not() -> None:
    picture = stacked(
        [("a", [Segment(0, 90, "cat", "90 cats"), Segment(1, 1, "dog", "1 dog")])],
        unit="rows",
        title="t",
        description="d",
    )
    assert ">cat</text>" in picture
    assert ">dog</text>" not in picture
    assert ">1 dog</title>" in picture
