"""Result tables: the same numbers in a terminal and in Markdown, and no text that acts as markup."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from fedstrata.report import Result, layers_chosen, markdown_table, read_run, terminal_table
from report.synthetic_run import write_run

ROWS = [
    Result("full", 0.632, 0.64, 16_200_000, 23.7, "all 6", "input shift"),
    Result("[red]top", 0.467, None, 2_700_000, 11.3, "layer.5 100%", "input shift"),
    Result("full", 0.9, 0.9, 16_200_000, 70.0, "all 6", "label shift"),
]


def printed(rows: list[Result]) -> str:
    out = StringIO()
    Console(file=out, width=120).print(terminal_table(rows))
    return out.getvalue()


def test_terminal_shows_every_number_and_the_setting_of_each_row() -> None:
    text = printed(ROWS)
    assert all(x in text for x in ("63.2%", "16.20", "23.7 s", "1 min 10 s", "[red]top"))
    assert (text.count("input shift"), text.count("label shift")) == (2, 1)


def test_markdown_escapes_what_would_break_the_table() -> None:
    text = markdown_table([Result("a|b`c\n<d>", 0.5, 0.5, 1e6, 1.0, "x")])
    assert text.splitlines()[2] == r"| a\|b\`c \<d> | 50.0% | 50.0% | 1.00 | 1.0 s | x |"


def test_markdown_has_a_setting_column_where_there_is_one() -> None:
    lines = markdown_table(ROWS).splitlines()
    assert lines[0].startswith("| setting | method |")
    assert {line.count("|") for line in lines} == {8}


def test_layers_chosen_names_the_two_most_chosen(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a"))
    masks = [c.mask for r in run.log.rounds for c in r.clients]
    shares = sorted(((sum(i in m for m in masks), -i) for i in range(6)), reverse=True)[:2]
    assert layers_chosen([run]) == "1 of 6: " + ", ".join(f"layer.{-i} {n}%" for n, i in shares)


def test_layers_chosen_by_all_or_nobody_is_said_shortly(tmp_path: Path) -> None:
    assert layers_chosen([read_run(write_run(tmp_path / "a", per_client=6))]) == "all 6"
    assert layers_chosen([read_run(write_run(tmp_path / "b", per_client=0))]) == "0 of 6"
    assert layers_chosen([read_run(write_run(tmp_path / "c", rounds=0))]) == "nothing ran"
