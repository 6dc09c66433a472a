"""What a reader is spared: axes and frontiers of noise, means over some seeds unsaid, and what only a pointer shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.comparison.compare import compare
from fedstrata.comparison.grouping import group
from fedstrata.comparison.methods import Rules
from fedstrata.comparison.pareto import Standing
from fedstrata.comparison.results import CurvePoint
from fedstrata.domain.records import Metrics, RoundRecord
from fedstrata.report.blocks import MOST_TOLD, Note, Picture, Pictures
from fedstrata.report.compare_tables import sheets
from fedstrata.report.figures.axes import Axis
from fedstrata.report.figures.tradeoff import tradeoff
from fedstrata.report.sections.certificates import certificates
from fedstrata.report.sections.curves import curves
from fedstrata.report.sections.fairness import fairness
from fedstrata.report.sections.frontier import SAME_COST, costs_and_accuracy
from fedstrata.report.write_report import render
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.made_outcomes import several
from report.synthetic_run import write_run


def made(folder: Path, **options: object) -> Run:
    return read_run(write_run(folder, **options))  # type: ignore[arg-type]


def pictures(blocks: tuple[object, ...]) -> list[Picture]:
    return [picture for block in blocks if isinstance(block, Pictures) for picture in block.items]


def points(*costs: float) -> list[Standing]:
    return [Standing(f"m{i}", i, cost, 0.5 + i / 10, (cost, cost), (0.5, 0.9)) for i, cost in enumerate(costs)]


def drawn(*costs: float) -> str:
    return str(tradeoff(points(*costs), x=Axis("x", "bytes_up"), y="y", title="t", description="d"))


def test_nearly_equal_costs_share_an_axis_from_0_and_have_no_frontier() -> None:
    near, far = drawn(1.6440e6, 1.6443e6), drawn(1.0e6, 1.6e6)
    assert re.search(r'class="mid">0<', near)
    assert 'class="frontier"' not in near
    assert 'class="frontier"' in far


def test_nearly_equal_costs_are_said_to_be(tmp_path: Path) -> None:
    def same(record: RoundRecord) -> RoundRecord:
        return replace(record, bytes_up=1_644_000)

    runs = [made(tmp_path / m, method=m, rounds=2, change=same) for m in ("a", "b")]
    upload = pictures(costs_and_accuracy(group(runs)[0]))[0]
    assert SAME_COST in upload.caption
    assert "Frontier" not in upload.caption


def test_the_loss_has_a_curve_and_what_is_not_finite_is_a_gap(tmp_path: Path) -> None:
    def odd(record: RoundRecord) -> RoundRecord:
        loss = float("inf") if record.round == 2 else 2.0 / record.round
        return replace(record, test=Metrics(0.5, loss, 100))

    run = made(tmp_path / "a", rounds=3, change=odd)
    found = next(p for p in pictures(curves(group([run])[0])) if p.caption.startswith("Loss"))
    assert "loss 0.6667" in found.svg
    assert "2 rounds" not in "".join(t for t in found.told if t.startswith("test rows"))


def test_what_pointing_shows_is_text_too(tmp_path: Path) -> None:
    page = render([made(tmp_path / "a", rounds=2)])
    texts = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert "test rows at the server, 2 rounds, " in texts
    assert "worst client, 2 rounds: " in texts
    assert page.count('<details class="values">') == page.count("<figure")


def test_of_many_marks_some_are_text_and_the_rest_is_counted(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=60, names=tuple(f"c{i}" for i in range(4)))
    told = [p.told for p in pictures(tuple(b for b in curves(group([run])[0])))]
    assert all(len(lines) <= MOST_TOLD + 1 for lines in told)
    wide = Picture("".join(f"<title>mark {i}</title>" for i in range(500)), "c")  # type: ignore[arg-type]
    assert (len(wide.told), str(wide.told[-1])) == (MOST_TOLD + 1, "380 more")


def test_a_target_that_some_seeds_reached_says_how_many() -> None:
    curve = (CurvePoint(0, 0.1, 0, 0.0), CurvePoint(2, 0.5, 26_360_000, 2e9))
    outcomes = [replace(o, curve=curve if o.seed < 2 else ()) for o in several("consensus", [0.5] * 3)]
    outcomes += [replace(o, curve=curve) for o in several("top", [0.5] * 3)]
    (contest,) = compare(outcomes, Rules(target=0.4))
    costs = sheets(contest)[1]
    rows = [dict(zip(costs.head, row, strict=True)) for row in costs.rows]
    assert [row["# MB up to 40%"] for row in rows] == ["26.36 (2 of 3 seeds)", "26.36"]
    assert any(note.startswith("Not every seed came to the target (consensus 2 of 3)") for note in contest.notes)


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ([7.2e-15, 0.0], "milp chose the masks of 2 rounds, proven optimal."),
        ([0.0, 0.02], "milp chose the masks of 2 rounds, proven optimal in 1, at most 2% below the optimum in 1."),
        ([float("inf"), 0.02], "at most 2% below the optimum in 1, without a bound in 1."),
    ],
)
def test_a_gap_that_is_rounding_is_proof(tmp_path: Path, gaps: list[float], said: str) -> None:
    def signed(record: RoundRecord) -> RoundRecord:
        gap = gaps[record.round - 1]
        return replace(record, certificate={"objective": 1.0, "bound": 1.0, "gap": gap, "rule": "milp"})

    text = getattr(certificates(made(tmp_path / "a", rounds=2, change=signed))[0], "text", "")
    assert said in text
    assert "e-" not in text


def test_percentages_of_few_rows_are_called_coarse(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=1)
    assert run.data_card is not None
    clients = {name: replace(card, held_out=200) for name, card in run.data_card.clients.items()}
    clients["client-03"] = replace(clients["client-03"], held_out=4)

    def notes(of: Run) -> list[str]:
        return [block.text for block in fairness(of) if isinstance(block, Note)]

    assert notes(replace(run, data_card=replace(run.data_card, clients=clients))) == [
        "1 client of 10 held out fewer than 30 rows, client-03 as few as 4, of which one is 25 points: differences "
        "between such clients may be chance."
    ]
    clients["client-03"] = replace(clients["client-03"], held_out=30)
    assert notes(replace(run, data_card=replace(run.data_card, clients=clients))) == []
