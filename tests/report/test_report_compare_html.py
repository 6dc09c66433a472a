"""Comparisons as a page: self-contained, whole where numbers are missing, readable with many methods and long names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fedstrata.comparison.compare import compare
from fedstrata.comparison.grouping import group
from fedstrata.comparison.methods import Rules
from fedstrata.comparison.results import Outcome
from fedstrata.report.blocks import Pictures
from fedstrata.report.compare_html import write_page
from fedstrata.report.figures.axes import POINTS, SHARE, Axis
from fedstrata.report.figures.dot_rows import Row, row_chart
from fedstrata.report.sections.comparison import comparison
from fedstrata.runs.reading import read_run
from report.made_outcomes import outcome, several
from report.synthetic_run import write_run

SIX = [0.5, 0.51, 0.52, 0.53, 0.54, 0.56]


def page(folder: Path, outcomes: Sequence[Outcome], *, rules: Rules | None = None, notes: Sequence[str] = ()) -> str:
    write_page(folder / "compare.html", compare(outcomes, rules or Rules()), notes=notes)
    return (folder / "compare.html").read_text(encoding="utf-8")


def pictures(text: str) -> list[ET.Element]:
    return [ET.fromstring(found) for found in re.findall(r'<svg viewBox="[^"]+" width.*?</svg>', text, re.DOTALL)]


def test_a_page_has_all_plots_and_loads_nothing(tmp_path: Path) -> None:
    text = page(tmp_path, [*several("top", SIX), *several("consensus", [0.25] * 6)], notes=["seeds 0 to 5"])
    names = [drawn.get("aria-label", "") for drawn in pictures(text)]
    assert [any(part in name for name in names) for part in (
        "differences to consensus", "against uploaded", "against FLOPs", "worst, median and best", "trained each layer"
    )] == [True] * 5  # fmt: skip
    assert "seeds 0 to 5" in text
    assert not re.search(r"<script|<link|src=|https?://(?!www\.w3\.org)", text)


def test_every_mark_says_on_hover_what_it_is(tmp_path: Path) -> None:
    text = page(tmp_path, [*several("top", SIX), *several("consensus", [0.25] * 6)])
    assert "<title>top: +27.67 [" in text
    assert "points over 6 seeds, p 0.031, Holm 0.031</title>" in text
    assert "<title>top, worst client: 25.0%</title>" in text
    assert "<title>top, 0: 40.0%</title>" in text


def test_the_row_of_the_reference_stands_out_in_every_table(tmp_path: Path) -> None:
    text = page(tmp_path, [outcome("top"), outcome("consensus")])
    assert set(re.findall(r'<tr class=strong><th scope="row">([^<]+)<', text)) == {"consensus (reference)"}
    assert text.count("<tr class=strong>") == text.count("<table ")


def test_names_are_text(tmp_path: Path) -> None:
    text = page(tmp_path, [outcome("<b>x</b>", row="<i>"), outcome("consensus", row="<i>")], notes=["<u>"])
    assert not re.search(r"<b>|<i>|<u>", text)


@pytest.mark.parametrize("accuracy", [0.5, None])
def test_a_page_stands_without_clients_prices_and_accuracies(tmp_path: Path, accuracy: float | None) -> None:
    outcomes = [outcome(m, accuracy, clients=(None, None, None), flops=None, layers={}) for m in ("a", "b")]
    text = page(tmp_path, outcomes)
    assert "worst, median and best client" not in [d.get("aria-label") for d in pictures(text)]
    assert "digits, small, budget R1" in text


def test_forty_methods_with_long_names_keep_apart(tmp_path: Path) -> None:
    outcomes = [o for i in range(40) for o in several(f"consensus rho={i} beta=0.123456789 of a long name", SIX)]
    forest, *_ = pictures(page(tmp_path, outcomes))
    labels = [t for t in forest.findall("text") if t.get("class") == "end"]
    heights = [float(t.get("y", "0")) for t in labels]
    assert len(labels) == 39
    assert min(b - a for a, b in pairwise(heights)) >= 12
    assert len({t.text or "".join(t.itertext()) for t in labels}) == 39, "clipped names still differ"


def test_a_plot_of_many_names_the_frontier_and_the_reference_only(tmp_path: Path) -> None:
    outcomes = [outcome(f"m{i}", 0.25 + i / 100) for i in range(20)]
    tradeoff = next(d for d in pictures(page(tmp_path, outcomes)) if "against uploaded" in d.get("aria-label", ""))
    beside = [t.text for t in tradeoff.findall("text") if (t.get("class") or "").startswith("beside")]
    assert sorted(t for t in beside if t) == ["m0", "m19"]
    assert len(beside) == 2


def test_a_method_keeps_its_mark_under_every_budget(tmp_path: Path) -> None:
    outcomes = [outcome("full"), outcome("top"), outcome("a"), outcome("top", budget="R2"), outcome("a", budget="R2")]
    drawn = [d for d in pictures(page(tmp_path, outcomes)) if "against uploaded" in d.get("aria-label", "")]
    styles = []
    for picture in drawn:
        marks = [p for p in picture.findall("path") if (p.findtext("title") or "").startswith("top:")]
        styles.append(marks[0].get("class"))
    assert styles == ["s1", "s1"]


def test_intervals_have_ends_and_ranges_are_dashed() -> None:
    rows = [Row(label, ((0.1, 0, "t"),), ends=(0.0, 0.2), sure=label == "a") for label in "ab"]
    drawn = ET.fromstring(row_chart(rows, axis=Axis("x", POINTS), title="t", description="d"))
    sure, few = (p for p in drawn.findall("path") if (p.get("class") or "").startswith("range"))
    assert (sure.get("class"), (sure.get("d") or "").count("V")) == ("range", 2)
    assert (few.get("class"), (few.get("d") or "").count("V")) == ("range few", 0)


def test_rows_without_any_number_are_drawn() -> None:
    drawn = ET.fromstring(row_chart([Row("a", (), text="none")], axis=Axis("x", SHARE), title="t", description="d"))
    assert [t.text for t in drawn.findall("text")][-2:] == ["a", "none"]


def test_a_report_of_several_seeds_shows_paired_differences(tmp_path: Path) -> None:
    runs = [
        read_run(write_run(tmp_path / f"{method}{seed}", method=method, seed=seed, rounds=1, gain=gain))
        for method, gain in (("consensus", 0.05), ("top", 0.04))
        for seed in range(2)
    ]
    drawn = [p for b in comparison(group(runs)[0]) if isinstance(b, Pictures) for p in b.items]
    assert len(drawn) == 1
    assert "differences to consensus" in drawn[0].svg
    assert not any(isinstance(b, Pictures) for b in comparison(group(runs[::2])[0])), "one seed has no differences"
