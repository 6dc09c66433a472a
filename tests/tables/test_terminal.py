"""Tables for terminals: at any width every cell, title and label is there, whole."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from fedstrata.tables.table import Table
from fedstrata.tables.terminal import Terminal, wrapped


def printed(table: Table, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(Terminal(table))
    return out.getvalue().splitlines()


def read_back(lines: list[str], table: Table) -> dict[str, list[str]]:
    """Return columns by title as a reader would put them together: blanks apart, cell under cell, part after part."""
    found: dict[str, list[str]] = {}
    blocks, block = [], []
    for line in [*lines, ""]:
        if line:
            block.append(line)
        elif block:
            blocks.append(block)
            block = []
    for block in blocks:
        rule = next(i for i, line in enumerate(block) if set(line) == {"─"})
        spans = columns_of(block)
        for start, end in spans:
            cells = [line[start:end].strip() for line in block]
            title = "".join(cells[:rule]).replace(" ", "")
            found[title] = ["".join(cells[rule + 1 :]).replace(" ", "").replace("─", "")]
    return found


def columns_of(block: list[str]) -> list[tuple[int, int]]:
    """Return where columns lie: between gaps of two blanks that go through all lines but rules."""
    texts = [line.ljust(200) for line in block if set(line) != {"─"}]
    width = max(len(line.rstrip()) for line in texts)
    blank = [all(line[i] == " " for line in texts) for i in range(width)] + [True, True]
    spans, start = [], 0
    for i in range(width):
        if blank[i] and blank[i + 1] and not blank[i - 1]:
            spans.append((start, i))
        if not blank[i] and blank[i - 1] and blank[i - 2]:
            start = i
    return [*spans, (start, width)] if not spans or spans[-1][0] != start else spans


WORD = st.text("abcXYZ0189./_-%[]", min_size=1, max_size=14)
CELL = st.lists(WORD, min_size=1, max_size=4).map(" ".join)


@given(st.data(), st.integers(2, 9), st.integers(1, 4), st.sampled_from([40, 60, 80, 120]))
def test_every_cell_is_there_at_every_width(data: st.DataObject, columns: int, rows: int, width: int) -> None:
    row = st.tuples(*[CELL] * columns)
    head, numbers = data.draw(row), frozenset(data.draw(st.sets(st.integers(1, columns - 1))))
    titles = tuple(f"# {title}" if j in numbers else title for j, title in enumerate(head))
    table = Table("", titles, tuple(data.draw(row) for _ in range(rows)))
    assert (table.titles, table.numbers) == (head, numbers)
    lines = printed(table, width)
    assert all(cell_len(line) <= width for line in lines)
    text = "\n".join(lines)
    letters = re.sub(r"[\s─]", "", text)
    for cell in (*head, *(c for r in table.rows for c in r)):
        for letter in set(cell) - {" "}:
            assert letters.count(letter) >= sum(c.count(letter) for r in (head, *table.rows) for c in r)
    for word in {w for r in (head, *table.rows) for c in r for w in c.split() if len(w) <= 14}:
        assert word in text


def test_columns_that_do_not_fit_stand_in_a_further_part_with_the_labels() -> None:
    head = ("method", *(f"# column {i}" for i in range(12)))
    rows = tuple((name, *(f"{i * 1111.11:,.2f}" for i in range(12))) for name in ("consensus (reference)", "top"))
    table = Table("", head, rows)
    assert len(printed(table, 300)) == 4
    for width in (60, 80, 120):
        lines = printed(table, width)
        text = "\n".join(lines)
        assert len([line for line in lines if line.startswith("method")]) > 1
        assert text.count("consensus (reference)") == len([line for line in lines if line.startswith("method")])
        for row in rows:
            assert all(cell in text for cell in row)
    columns = read_back(printed(table, 60), table)
    assert columns["column11"] == ["12,222.2112,222.21"]
    assert len(columns) == 13


def test_words_wrap_whole_and_numbers_keep_their_units() -> None:
    table = Table("", ("client", "asks"), (("c0 to c9 (10 clients)", "1.50 MB up, 2.33 GFLOP, 10 layers"),))
    text = "\n".join(printed(table, 24))
    assert all(part in text for part in ("1.50 MB up,", "2.33 GFLOP,", "10 layers", "c0 to c9"))


def test_a_number_and_its_unit_part_before_either_is_broken() -> None:
    table = Table("", ("0", "# 0"), (("00000000000000 XXXXXX", "0 0000 0000"), ("00000000000000 X.00000000000", "1")))
    text = "\n".join(printed(table, 40))
    assert all(word in text for word in ("00000000000000", "XXXXXX", "X.00000000000"))


def test_text_is_never_markup() -> None:
    table = Table("[bold]x[/bold]", ("a",), (("pip install 'fedstrata[flower]'",),))
    text = "\n".join(printed(table, 80))
    assert "'fedstrata[flower]'" in text
    assert "[bold]x[/bold]" in text


@pytest.mark.parametrize("width", [10, 20, 40])
def test_a_sentence_is_wrapped_between_words_and_a_path_stays_whole(width: int) -> None:
    path = "/srv/runs/a-very-long-name-of-a-folder/report.html"
    lines = wrapped(f"written: {path} in 1.5 s", width)
    assert path in lines
    assert " ".join(lines).split() == ["written:", path, "in", "1.5", "s"]


def test_indents_and_line_breaks_stay() -> None:
    assert wrapped("  at most 5 layers\nno", 12) == ["  at most", "  5 layers", "no"]


def test_a_word_that_no_line_holds_is_broken_at_its_joints() -> None:
    assert wrapped("vit.encoder.layers.11.attention", 12, breaking=True) == ["vit.encoder.", "layers.11.", "attention"]


def test_rules() -> None:
    table = Table("", ("a", "# b"), (("x", "1"), ("y", "2"), ("total", "3")), ruled=frozenset({1, 2}))
    assert printed(table, 40) == ["a      b", "────────", "x      1", "────────", "y      2", "────────", "total  3"]


@pytest.mark.parametrize("cell", [" " * 500 + "x", "x" * 20_000, "a/" * 10_000, "日本" * 5000])
def test_texts_of_any_length_and_with_any_beginning_come_to_an_end(cell: str) -> None:
    """Names come from run folders of others."""
    shown = "".join(printed(Table("", ("a", "b"), ((cell, "1"),)), 40))
    assert sum(shown.count(c) for c in set(cell.strip())) >= len(cell.strip())


@given(st.lists(CELL, min_size=3, max_size=5), st.integers(2, 29))
def test_narrower_than_any_table_nothing_is_cut_off(row: list[str], width: int) -> None:
    table = Table("", (*row[:2], f"# {row[2]}", *row[3:]), (tuple(row),), labels=2)
    shown, given = "".join(printed(table, width)), "".join(2 * row)
    assert all(shown.count(c) >= given.count(c) for c in set(given) - {" "})
