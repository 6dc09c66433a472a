"""Cost and accuracy: points at the means, bars over seeds, the step line, and what cannot be drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fedstrata.comparison.grouping import group
from fedstrata.comparison.pareto import Standing
from fedstrata.domain.records import Metrics, RoundRecord
from fedstrata.report.blocks import Block, Picture, Pictures, Text
from fedstrata.report.figures.axes import Axis
from fedstrata.report.figures.tradeoff import tradeoff
from fedstrata.report.sections.frontier import costs_and_accuracy
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.synthetic_run import write_run

LEFT, RIGHT, TOP, BOTTOM = 50.0, 310.0, 8.0, 244.0


def spent(
    accuracy: float, *, up: int = 100, flops: float | None = 1e9, seconds: float = 1.0
) -> Callable[..., RoundRecord]:
    def change(record: RoundRecord) -> RoundRecord:
        price = {} if flops is None else {"flops": flops}
        clients = tuple(
            replace(c, predicted=price, seconds_probe=0.0, seconds_train=seconds) for c in record.clients[:1]
        )
        return replace(record, clients=clients, bytes_up=up, test=Metrics(accuracy, 1.0, 100))

    return change


def made(folder: Path, method: str, change: Callable[..., RoundRecord], *, seed: int = 1) -> Run:
    return read_run(write_run(folder, method=method, seed=seed, rounds=1, change=change))


def shown(runs: Sequence[Run]) -> tuple[list[Picture], list[str]]:
    blocks: tuple[Block, ...] = costs_and_accuracy(group(runs)[0])
    pictures = [p for b in blocks if isinstance(b, Pictures) for p in b.items]
    return pictures, [b.text for b in blocks if isinstance(b, Text)]


def at(
    label: str,
    cost: float,
    accuracy: float,
    *,
    costs: tuple[float, float] | None = None,
    accuracies: tuple[float, float] | None = None,
) -> Standing:
    return Standing(label, 0, cost, accuracy, costs or (cost, cost), accuracies or (accuracy, accuracy), label)


def drawn(*points: Standing, unit: str = "flops") -> ET.Element:
    return ET.fromstring(tradeoff(points, x=Axis("x", unit), y="y", title="t", description="d"))


def paths(tree: ET.Element, style: str) -> list[str]:
    return [e.get("d", "") for e in tree.iter("path") if e.get("class") == style]


def test_three_plots_with_the_numbers_of_the_records(tmp_path: Path) -> None:
    runs = [
        made(tmp_path / "full", "full", spent(0.75, up=6000, flops=6e9, seconds=3.0)),
        made(tmp_path / "top", "top", spent(0.5, up=1000, flops=2e9, seconds=1.5)),
    ]
    (upload, compute, time), said = shown(runs)
    assert said == []
    assert "full: 75.0% for 6.00 kB" in upload.svg
    assert "top: 50.0% for 2.00 GFLOP" in compute.svg
    assert "top: 50.0% for 1.5 s" in time.svg
    assert "Frontier: top, full." in compute.caption


def test_method_that_is_beaten_is_not_on_the_frontier(tmp_path: Path) -> None:
    runs = [
        made(tmp_path / m, m, spent(a, up=u)) for m, a, u in (("full", 0.7, 900), ("bad", 0.4, 500), ("top", 0.5, 100))
    ]
    assert "Frontier: top, full." in shown(runs)[0][0].caption


def test_one_that_is_cheapest_and_best_is_named(tmp_path: Path) -> None:
    runs = [made(tmp_path / m, m, spent(a, up=u)) for m, a, u in (("a", 0.7, 100), ("b", 0.4, 500))]
    assert "Best at the least cost: a." in shown(runs)[0][0].caption


def test_seeds_are_one_point_at_the_mean_with_bars(tmp_path: Path) -> None:
    runs = [made(tmp_path / f"a{s}", "a", spent(0.4 + s / 10, up=100 * (1 + s)), seed=s) for s in (0, 2)]
    runs.append(made(tmp_path / "b", "b", spent(0.3)))
    upload = shown(runs)[0][0]
    assert "a: 50.0% for 200 B (mean of 2 runs: 40.0% to 60.0%)" in upload.svg
    assert "Bars run over the seeds." in upload.caption
    assert len(paths(ET.fromstring(upload.svg), "range s0")) == 1


def test_single_method_has_no_frontier(tmp_path: Path) -> None:
    assert shown([made(tmp_path / "a", "a", spent(0.5))]) == ([], [])


def test_method_without_prices_is_left_out_by_name(tmp_path: Path) -> None:
    runs = [made(tmp_path / m, m, spent(0.5, flops=f)) for m, f in (("old", None), ("new", 1e9), ("other", 2e9))]
    pictures, said = shown(runs)
    assert len(pictures) == 3
    assert said == ["Not in the plot of compute: old (no predicted FLOPs in the log)."]


def test_kind_of_cost_that_one_method_has_is_not_plotted(tmp_path: Path) -> None:
    runs = [made(tmp_path / m, m, spent(0.5, flops=f, seconds=0.0)) for m, f in (("old", None), ("new", 1e9))]
    pictures, said = shown(runs)
    assert len(pictures) == 1
    assert said == [
        "No plot of compute: old (no predicted FLOPs in the log).",
        "No plot of time: old, new (no measured time in the log).",
    ]


def test_runs_without_a_round_have_no_point(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / m, method=m, rounds=r)) for m, r in (("a", 1), ("b", 0))]
    assert shown(runs) == ([], [])


def test_points_stand_where_their_numbers_say() -> None:
    tree = drawn(at("a", 0.0, 0.2), at("b", 10e9, 0.6))
    marks = {e[0].text: e.get("d", "").split("m")[0] for e in tree.iter("path") if len(e)}
    # x: from 0 to 10 G and a margin of 12 %; y: from 0.2 to 0.6 with margins of a tenth
    right = LEFT + (RIGHT - LEFT) / 1.12
    low, high = (BOTTOM - (BOTTOM - TOP) * (share - 0.16) / 0.48 for share in (0.2, 0.6))
    assert marks == {
        "a": f"M{LEFT:.1f} {low:.1f}",
        "b": f"M{right:.1f} {high:.1f}",
    }


def test_step_line_runs_along_the_frontier_to_the_right_edge() -> None:
    (path,) = paths(drawn(at("a", 0.0, 0.2), at("worse", 5e9, 0.1), at("b", 10e9, 0.6)), "frontier")
    x = LEFT + (RIGHT - LEFT) / 1.12
    low, high = (BOTTOM - (BOTTOM - TOP) * (share - 0.05) / 0.6 for share in (0.2, 0.6))
    assert path == f"M{LEFT:.1f} {low:.1f}H{x:.1f}V{high:.1f}H{RIGHT:.1f}"


@pytest.mark.parametrize(("most", "log"), [(21.0, True), (19.0, False)])
def test_axis_is_logarithmic_where_costs_differ_more_than_twentyfold(most: float, log: bool) -> None:
    texts = {e.text for e in drawn(at("a", 1e9, 0.2), at("b", most * 1e9, 0.6)).iter("text")}
    assert ("10 GFLOP" in texts) == log
    assert ("x, GFLOP" in texts) != log


def test_costs_that_are_equal_or_zero_can_be_drawn() -> None:
    for cost in (0.0, 5.0):
        tree = drawn(at("a", cost, 0.5), at("b", cost, 0.5))
        assert len([e for e in tree.iter("path") if len(e)]) == 2


def test_bars_span_the_range() -> None:
    tree = drawn(at("a", 5.0, 0.5, accuracies=(0.4, 0.6)), at("b", 6.0, 0.5, costs=(5.0, 8.0)), unit="seconds")
    first, second = paths(tree, "range s0")
    assert (first.count("V"), first.count("H")) == (1, 0)
    assert (second.count("V"), second.count("H")) == (0, 1)


def test_long_labels_are_clipped_with_their_name_on_hover() -> None:
    name = "consensus (rho=0.5, budget=3) <b>"
    tree = drawn(at(name, 1.0, 0.5), at("b", 2.0, 0.6))
    label = next(e for e in tree.iter("text") if len(e))
    assert (label.text, label[0].text) == ("consensus (…get=3) <b>", name)
