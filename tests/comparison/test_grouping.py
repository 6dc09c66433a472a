"""Groups and series: what may be compared, what is a seed of the same method, and how names are told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.comparison.grouping import (
    chosen_accuracy,
    final_accuracy,
    group,
    measure,
    settings,
    trajectory,
    uploaded,
)
from fedstrata.domain.records import Metrics, RoundRecord
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.synthetic_run import write_run


def labels(runs: list[Run]) -> list[tuple[str, list[str]]]:
    return [(g.label, [s.label for s in g.series]) for g in group(runs)]


def test_runs_that_differ_in_the_seed_alone_are_one_series(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / f"s{s}", seed=s, rounds=1)) for s in (3, 1)]
    (only,) = group(runs)
    assert only.series[0].seeds == (1, 3)


def test_runs_on_different_data_are_never_compared(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / d, data=d, rounds=1)) for d in ("north", "south")]
    assert labels(runs) == [("north", ["consensus"]), ("south", ["consensus"])]


def test_data_settings_part_groups_that_share_a_name(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / str(a), extra={"data": {"alpha": a}}, rounds=1)) for a in (0.1, 1.0)]
    assert labels(runs) == [
        ("digits, inverted and rotated (alpha=0.1)", ["consensus"]),
        ("digits, inverted and rotated (alpha=1.0)", ["consensus"]),
    ]


def test_settings_part_series_that_share_a_method(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / str(x), extra={"train": {"lr": x}}, rounds=1)) for x in (0.1, 0.01)]
    assert labels(runs) == [("digits, inverted and rotated", ["consensus (lr=0.1)", "consensus (lr=0.01)"])]


def test_settings_that_are_empty_are_not_named_beside_others(tmp_path: Path) -> None:
    budgets: list[dict[str, object]] = [{"layers": 1, "seconds": None}, {"layers": None, "seconds": "80%"}]
    runs = [read_run(write_run(tmp_path / str(i), extra={"budget": b}, rounds=1)) for i, b in enumerate([*budgets, {}])]
    assert labels(runs)[0][1] == [
        "consensus (layers=1)",
        "consensus (seconds=80%)",
        "consensus (layers=unset, seconds=unset)",
    ]


def test_a_method_keeps_its_style_in_every_group(tmp_path: Path) -> None:
    order = [("top", "a"), ("full", "a"), ("full", "b"), ("top", "b")]
    runs = [read_run(write_run(tmp_path / f"{m}{d}", method=m, data=d, rounds=1)) for m, d in order]
    styles = [{s.label: s.style for s in g.series} for g in group(runs)]
    assert styles[0] == styles[1] == {"top": 0, "full": 1}


def test_unreadable_config_has_no_settings() -> None:
    assert settings("a: [") == {}
    assert settings(None) == {}


def test_trajectory_begins_at_the_baseline_and_adds_up_uploads(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", rounds=2, start=0.25))
    points = trajectory(run, "test")
    first, second = (r.bytes_up for r in run.log.rounds)
    assert [(p.rounds, p.bytes_up) for p in points] == [(0, 0), (1, first), (2, first + second)]
    assert points[0].metrics.accuracy == 0.25
    assert uploaded(run) == first + second


def without_test(record: RoundRecord) -> RoundRecord:
    return replace(record, test=None)


def test_run_without_a_test_set_is_measured_on_held_out_rows(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", rounds=2, change=without_test))
    last = run.log.rounds[-1].validation
    assert last is not None
    assert measure(run) == "validation"
    assert final_accuracy(run) == last.accuracy


def test_run_that_was_never_evaluated_has_no_accuracy(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", rounds=2, start=None, change=without_test, validation=False))
    assert (measure(run), final_accuracy(run), chosen_accuracy(run)) == ("", None, None)


@pytest.mark.parametrize(("held_out", "chosen"), [((0.2, 0.9, 0.5), 0.6), ((0.9, 0.2, 0.1), 0.7)])
def test_round_is_chosen_on_held_out_rows_not_on_test_rows(
    tmp_path: Path, held_out: tuple[float, ...], chosen: float
) -> None:
    tests = (0.7, 0.6, 0.5)

    def set_both(record: RoundRecord) -> RoundRecord:
        t = record.round - 1
        return replace(record, test=Metrics(tests[t], 1.0, 10), validation=Metrics(held_out[t], 1.0, 10))

    run = read_run(write_run(tmp_path / "a", rounds=3, start=0.1, change=set_both))
    assert chosen_accuracy(run) == chosen
    assert final_accuracy(run) == 0.5


@pytest.mark.parametrize(
    "config",
    [
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
        "train: " + "[" * 3000,
        "lr: !!float ''",
        "a: 1\na: 2",
        "[1]",
    ],
    ids=["exploding", "deep", "wrong tag", "twice", "list"],
)
def test_a_configuration_that_cannot_be_read_has_no_settings(config: str) -> None:
    assert settings(config) == {}
