"""Every table of the command line at 60, 80 and 120 columns: each cell, digit, title and label is there, whole."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from fedstrata.cli import bench, terminal
from fedstrata.cli.demo_runs import table
from fedstrata.cli.layers import _view
from fedstrata.cli.main import app
from fedstrata.cli.sites_table import show_nodes, show_sites
from fedstrata.cli.sweep_progress import SweepProgress
from fedstrata.comparison.compare import compare
from fedstrata.comparison.methods import Rules
from fedstrata.comparison.outcome import CurvePoint
from fedstrata.deploy.flower.site_status import Connection, Happened, SiteStatus
from fedstrata.report.compare_views import terminal_views
from fedstrata.tables.terminal import Terminal
from report.made_outcomes import several

METHODS = ("consensus", "independent", "periodic-every-5", "head-only", "full", "most-agreed-layers")
CURVE = (CurvePoint(0, 0.125, 0, 0.0), CurvePoint(2, 0.5, 26_360_000, 2e9))


def of_layers(console: Console) -> None:
    def block(i: int | None, name: str, role: str, tied: list[str]) -> dict[str, Any]:
        sizes = {"parameters": 85_054_464, "bytes": 340_217_856, "flops_forward": 1_862_270_976}
        same = {"id": i, "name": name, "role": role, "tied_with": tied, "selected": i == 1}
        return {**same, **sizes, "flops_backward": None}

    blocks = [block(i, f"bert.encoder.layer.{i}.attention.self_and_output", "layer", []) for i in range(12)]
    blocks += [block(None, "cls.predictions", "always", ["bert.embeddings.word_embeddings"])]
    total = {"parameters": 1_020_653_568, "bytes": 4_082_614_272, "flops_forward": 22_347_251_712}
    console.print(Terminal(_view("./models/bert", {"blocks": blocks, "total": {**total, "flops_backward": None}})))


def of_comparisons(console: Console) -> None:
    outcomes = [
        one for k, name in enumerate(METHODS) for one in several(name, [0.25 + 0.0123 * (k + i) for i in range(6)])
    ]
    outcomes = [replace(one, curve=CURVE, bytes_up=26_360_000) for one in outcomes]
    for view in terminal_views(compare(outcomes, Rules(target=0.4))):
        console.print(view)


def of_sites(console: Console) -> None:
    site = SiteStatus(
        name="hospital-of-the-eastern-region",
        rows=120_400,
        held_out=134,
        budget="2 layers, 30.00 MB up, 1.50 GB peak",
        refuses=("vit.encoder.layer.0", "vit.encoder.layer.1", "vit.encoder.layer.2"),
        device="cpu",
        node="11",
        bytes_down=1_500_000_123,
        bytes_up=2_500_300_456,
        last=Happened("evaluate", 12),
        failure=Happened("train", 3, "Flower reports error 5: gone"),
        absent="",
    )
    show_sites([site, site], console, note="pip install 'fedstrata[flower]'")
    show_nodes([Connection("9938201183847561", "registered", "2026-11-24 19:06:11Z")], console)


def of_the_demo(console: Console) -> None:
    facts = ("63.2%", "64.0%", "16.20", "23.7 s", "1 of 6: layer.5 100%, layer.0 23%")
    console.print(Terminal(table([("input shift", method, *facts) for method in METHODS])))


def of_bench(console: Console) -> None:
    case, place = SimpleNamespace(name="backward through the lowest block", work=1.0), SimpleNamespace(name="x86 CPU")
    rates = SimpleNamespace(
        seconds=lambda work: 0.5, forward=1e9, carry=1e9, weight=1e9, update=1e9, step=1.0, visit=1.0
    )
    profile = SimpleNamespace(**vars(rates), **vars(place))
    what = SimpleNamespace(name="./models/vit", shape={"pixel_values": [8, 1, 8, 8]})
    bench._say(Path("p.yaml"), what, [case] * 3, [0.25] * 3, rates, profile, as_json=False)  # type: ignore[arg-type, list-item]


TABLES: tuple[Callable[[Console], None], ...] = (of_layers, of_comparisons, of_sites, of_the_demo, of_bench)


def printed(show: Callable[[Console], None], width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, force_terminal=True, color_system=None, markup=False)
    monkeypatch.setattr(terminal, "output", lambda: console)
    show(console)
    return out.getvalue().splitlines()


def words(lines: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in " ".join(lines).split():
        if set(word) - {"─"}:
            found[word] = found.get(word, 0) + 1
    return found


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.__name__)
def test_every_word_and_digit_is_there(
    table: Callable[[Console], None], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow, wide = (printed(table, w, monkeypatch) for w in (width, 2000))
    assert max(map(len, narrow)) <= width
    there, expected = words(narrow), words(wide)
    broken = {word for word in expected if len(word) > width // 4}  # a long name may be broken at its dots
    assert {w: n for w, n in expected.items() if there.get(w, 0) < n and w not in broken} == {}
    letters = "".join("".join(narrow).split())
    assert [word for word in broken if word not in letters and not _in_pieces(word, narrow)] == []


def _in_pieces(word: str, lines: list[str]) -> bool:
    """Return whether a long name stands below itself, piece by piece, each ending at a joint of the name."""
    at = 0
    for line in lines:
        for piece in line.split():
            if word.startswith(piece, at):
                at += len(piece)
                break
        if at == len(word):
            return True
    return False


def helps(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every verb with the words that its help is made of."""
    own = [command.help or "", *(getattr(p, "help", None) or "" for p in command.params)]
    inner = command.commands if isinstance(command, click.Group) else {}
    yield path, " ".join(own).replace("\\[", "[")
    for name, verb in inner.items():
        yield from helps(verb, (*path, name))


@pytest.mark.parametrize("width", [60, 100])
def test_help_loses_no_word_to_markup_or_width(width: int) -> None:
    runner = CliRunner()
    for path, text in helps(typer.main.get_command(app)):
        said = runner.invoke(app, [*path, "--help"], env={"COLUMNS": str(width)}).output
        there = set(said.replace("│", " ").split())
        assert [word for word in text.split() if word not in there and len(word) < 16] == [], path


@pytest.mark.parametrize("width", [60, 80, 120])
def test_progress_of_a_sweep_is_whole(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False)
    shown = SweepProgress(console, bars=True)
    job = SimpleNamespace(rounds=40, title="most-agreed-layers budget-per-client seed 12")
    shown.sweep_started(todo=[job], done=0, workers=1)  # type: ignore[list-item]
    shown.run_given(0, job)  # type: ignore[arg-type]
    shown.rounds_done(0, job, 3)  # type: ignore[arg-type]
    shown.rounds_done(0, job, 7)  # type: ignore[arg-type]
    shown.sweep_done()
    last = out.getvalue().split("\x1b[2K")[-1]
    assert {"most-agreed-layers", "budget-per-client", "seed", "12", "7/40", "ETA"} <= set(last.split())
    assert "…" not in last
