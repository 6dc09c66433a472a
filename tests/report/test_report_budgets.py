"""Budgets: every unit is checked, prices and measurements apart, with numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import ClientRecord, RoundRecord
from fedstrata.report.blocks import Check, Meter, Note
from fedstrata.report.sections.budgets import budget_shown, budgets, tightest
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.synthetic_run import write_run

PRICE = {"layers": 2.0, "flops": 4e9, "bytes_up": 300.0, "bytes_down": 50.0, "bytes_peak": 8e6, "seconds": 3.0}


def client(budget: Mapping[str, float], **fields: object) -> ClientRecord:
    base = ClientRecord(1, ClientId("c"), 40, budget=budget, mask=(0, 1), predicted=PRICE)
    return replace(base, **fields)  # type: ignore[arg-type]


def made(folder: Path, record: ClientRecord) -> Run:
    def put(round: RoundRecord) -> RoundRecord:
        return replace(round, clients=(record,))

    return read_run(write_run(folder, rounds=1, names=("c",), change=put))


def told(folder: Path, record: ClientRecord) -> tuple[Check, list[str]]:
    first, *rest = budgets(made(folder, record))
    assert isinstance(first, Check)
    return first, [note.text for note in rest if isinstance(note, Note)]


def test_price_within_every_limit_holds(tmp_path: Path) -> None:
    check, notes = told(tmp_path / "a", client(PRICE))
    assert check.passed
    assert check.text == (
        "The price of every mask is within its client's budget in every unit that has a limit "
        "(layers, FLOPs, bytes up, bytes down, peak memory and 1 more), in 1 client-round."
    )
    assert notes == []


@pytest.mark.parametrize(
    ("unit", "limit", "said"),
    [
        ("layers", 1.0, "c in round 1 (2 of 1 layer)"),
        ("flops", 3e9, "c in round 1 (4.00 GFLOP of 3.00 GFLOP)"),
        ("bytes_up", 299.0, "c in round 1 (300 B of 299 B up)"),
        ("bytes_peak", 7e6, "c in round 1 (8.00 MB of 7.00 MB peak)"),
        ("seconds", 0.0, "c in round 1 (3 s of 0 s)"),
    ],
)
def test_price_over_any_limit_fails_with_its_numbers(tmp_path: Path, unit: str, limit: float, said: str) -> None:
    check, _ = told(tmp_path / "a", client({unit: limit}))
    assert not check.passed
    assert check.text == f"1 mask of 1 over budget: {said}."


def test_layers_are_counted_in_the_mask_not_believed(tmp_path: Path) -> None:
    check, _ = told(tmp_path / "a", client({"layers": 2.0}, mask=(0, 1, 2)))
    assert "c in round 1 (3 of 2 layers)" in check.text


def test_mask_that_was_not_priced_in_a_limited_unit_fails(tmp_path: Path) -> None:
    check, _ = told(tmp_path / "a", client({"seconds": 5.0}, predicted={"layers": 2.0}))
    assert check.text == "1 mask of 1 over budget: c in round 1 (limit 5 s, not priced)."


def test_client_that_failed_before_it_had_a_mask_broke_no_budget(tmp_path: Path) -> None:
    record = client({"seconds": 5.0}, mask=(), predicted={}, failure="TIMEOUT", failure_message="late")
    check, notes = told(tmp_path / "a", record)
    assert check.passed
    assert check.text == "No client had a limit, in 0 client-rounds."
    assert notes == []


@pytest.mark.parametrize(
    ("budget", "fields", "said"),
    [
        ({"bytes_up": 300.0}, {"bytes_up": 301}, "bytes up went past the limit in 1 client-round, worst first: c in"),
        ({"bytes_peak": 9e6}, {"peak_bytes": 9_500_000}, "c in round 1 (9.50 MB of 9.00 MB peak)."),
        ({"seconds": 3.0}, {"seconds_probe": 1.0, "seconds_train": 2.5}, "c in round 1 (3.5 s of 3 s)."),
    ],
)
def test_measurement_past_a_limit_is_a_warning_not_a_broken_promise(
    tmp_path: Path, budget: Mapping[str, float], fields: Mapping[str, object], said: str
) -> None:
    check, notes = told(tmp_path / "a", client(budget, **fields))
    assert check.passed
    assert len(notes) == 1
    assert said in notes[0]


def test_run_without_limits_says_so(tmp_path: Path) -> None:
    check, notes = told(tmp_path / "a", client({}, peak_bytes=10**12))
    assert (check.passed, check.text, notes) == (True, "No client had a limit, in 1 client-round.", [])


def test_budget_is_shown_in_its_units() -> None:
    assert budget_shown([client({"bytes_up": 3e6, "layers": 2.0})]) == "2 layers, 3.00 MB up"
    assert budget_shown([client({})]) == "no limit"


def test_budget_that_varies_is_shown_with_both_ends() -> None:
    own = [client({"bytes_peak": 1e9}), client({"bytes_peak": 2e9})]
    assert budget_shown(own) == "1.00 GB to 2.00 GB peak"


def test_meter_is_of_the_unit_that_is_used_most() -> None:
    own = [client({"layers": 4.0, "bytes_peak": 10e6}), client({"layers": 4.0, "bytes_peak": 16e6})]
    assert tightest(own) == Meter("80% of peak memory", 0.8, 1.0)


def test_meter_past_its_limit_is_drawn_past_its_tick() -> None:
    assert tightest([client({"seconds": 1.5})]) == Meter("200% of seconds", 1.0, 0.5, over=True)


def test_meter_of_a_limit_of_zero() -> None:
    assert tightest([client({"flops": 0.0})]) == Meter("over 0 FLOPs", 1.0, 0.0, over=True)
    assert tightest([client({"layers": 0.0}, mask=())]) == Meter("0% of layers", 0.0, 1.0)


def test_no_limit_has_no_meter() -> None:
    assert tightest([client({}), client({"bytes_up": float("inf")}, predicted={})]) == "–"
