"""Tables as Markdown, and that no text in one acts as markup."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from fedstrata.tables.table import Meter, Table, markdown
from fedstrata.tables.terminal import Terminal


def test_markdown_escapes_what_would_break_the_table() -> None:
    text = markdown(Table("", ("a|b", "# n|m"), (("a|b`c\n<d>", "50.0%"),)))
    assert text.splitlines() == [r"| a\|b | n\|m |", "|---|---:|", r"| a\|b\`c \<d> | 50.0% |"]


def test_a_meter_is_its_text_where_there_is_no_page() -> None:
    table = Table("", ("client", "# used"), (("c0", Meter("40% of bytes up", 0.4)),))
    assert markdown(table).endswith("| c0 | 40% of bytes up |")
    out = StringIO()
    Console(file=out, width=40).print(Terminal(table))
    assert out.getvalue().splitlines()[-1] == "c0      40% of bytes up"


def test_rows_that_stand_out_are_bold_and_those_that_stand_back_dim() -> None:
    rows = (("a", "1"), ("b", "2"), ("c", "3"))
    out = StringIO()
    table = Table("", ("x", "# y"), rows, strong=frozenset({1}), faint=frozenset({2}))
    Console(file=out, width=40, force_terminal=True, color_system="standard", highlight=False).print(Terminal(table))
    assert out.getvalue().splitlines()[2:] == ["a  1", "\x1b[1mb  2\x1b[0m", "\x1b[2mc  3\x1b[0m"]
