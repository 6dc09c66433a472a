"""Inline SVG: text is escaped, nothing is a reference, marks stand where values say, and gaps are gaps."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from xml.etree import ElementTree as ET

from fedstrata.report.figures.axes import COUNT, NUMBER, SHARE, Axis
from fedstrata.report.figures.bars import Segment, stacked
from fedstrata.report.figures.grid import Cell, Grid, draw
from fedstrata.report.figures.lines import Dot, Line, line_chart

EVIL = '<script>alert("1")</script>&\x00'


def line(style: int, y: Sequence[float], tips: Sequence[str] = (), *, band: float = 0.0, joined: bool = True) -> Line:
    told = tips or [f"at {x}" for x in range(len(y))]
    dots = [
        Dot(x, v, tip, (v - band, v + band) if band else None) for x, (v, tip) in enumerate(zip(y, told, strict=True))
    ]
    return Line("a", style, dots, joined)


def chart(*lines: Line, x: Axis | None = None, y: Axis | None = None) -> str:
    shown = lines or (line(0, [0.1, 0.5, 0.4]),)
    axes = {"x": x or Axis("rounds", COUNT), "y": y or Axis("acc", SHARE)}
    return line_chart(shown, **axes, title="a title", description="what it shows")


def titles(picture: str) -> list[str | None]:
    return [e.text for e in ET.fromstring(picture).iter("title")]


def paths(picture: str, style: str) -> list[str]:
    return [e.get("d", "") for e in ET.fromstring(picture).iter("path") if e.get("class") == style]


def grid(cells: list[list[Cell]], *, rows: tuple[str, ...] = ("a",), columns: tuple[str, ...] = ("0",)) -> str:
    return draw(Grid(rows, columns, cells, ("row", "column"), "none", "to all"), title="t", description="d")


def test_chart_names_itself_and_each_point() -> None:
    picture = chart()
    assert ET.fromstring(picture).get("aria-label") == "a title. what it shows"
    assert titles(picture) == ["at 0", "at 1", "at 2"]


def test_chart_keeps_its_text_as_text_and_brings_no_style_or_link() -> None:
    picture = chart()
    assert ">rounds</text>" in picture
    assert not any(word in picture for word in ("<style", "<metadata", "http", "font-family", "#"))


def test_chart_is_the_same_twice_and_has_no_id_that_another_could_have() -> None:
    assert chart() == chart()
    assert not any(e.get("id") or e.get("href") for e in ET.fromstring(chart()).iter())


def test_points_stand_where_their_numbers_say() -> None:
    # x: from 0 to 2 and a margin of a quarter; y: from 0.1 to 0.5 with margins of a tenth
    places = [(55 + 375 * (x + 0.25) / 2.5, 252 - 244 * (y - 0.06) / 0.48) for x, y in ((0, 0.1), (1, 0.5), (2, 0.4))]
    marks = [e.get("d", "").split("m")[0] for e in ET.fromstring(chart()).iter("path") if len(e)]
    assert marks == [f"M{x:.1f} {y:.1f}" for x, y in places]
    (curve,) = paths(chart(), "curve s0")
    assert curve == "M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in places)


def test_chart_skips_points_without_a_number() -> None:
    assert titles(chart(line(0, [0.1, nan, 0.3]))) == ["at 0", "at 2"]
    assert titles(chart(line(0, [nan, inf]))) == []


def test_line_and_band_are_broken_where_there_is_no_number() -> None:
    picture = chart(line(3, [0.1, 0.2, nan, 0.3, 0.4], band=0.1))
    (curve,), (band,) = paths(picture, "curve s3"), paths(picture, "spread s3")
    assert [len(part.split()) for part in curve.split("M")[1:]] == [4, 4]
    assert [len(part.split()) for part in band.split("M")[1:]] == [8, 8]
    assert band.count("z") == 2


def test_dots_have_no_line() -> None:
    picture = chart(line(0, [0.1, 0.2], joined=False))
    assert titles(picture) == ["at 0", "at 1"]
    assert not paths(picture, "curve s0")


def test_dot_without_a_hover_text_has_no_marker() -> None:
    picture = chart(Line("a", 0, [Dot(0, 0.1, ""), Dot(1, 0.2, "last")]))
    assert titles(picture) == ["last"]
    assert len(paths(picture, "curve s0")[0].split()) == 4


def test_chart_of_one_point_and_of_many_can_be_drawn() -> None:
    assert titles(chart(line(9, [0.5], ["only"]))) == ["only"]
    many = Line("a", 1, [Dot(i, 0.5, str(i)) for i in range(1, 201)])
    shown = titles(chart(many, x=Axis("x", NUMBER, True)))
    assert shown[-1] == "200"
    assert len(shown) == 40


def test_names_are_escaped_everywhere() -> None:
    pictures = [
        chart(line(0, [0.1, 0.2], [EVIL, EVIL])),
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
