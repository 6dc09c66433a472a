"""The plan of a run in which probes piggyback: paid for in the round in which they are done, as the run pays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedstrata.config.load import check_config
from fedstrata.planning.forecast import Bounds, Forecast, forecast
from fedstrata.planning.plan import Plan, make_plan
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Top
from fedstrata.selectors.periodic import Periodic
from fedstrata.selectors.protocol import Selector
from fedstrata.selectors.warmup import Warmup
from small_runs import digits, events, start

LAYER, ALWAYS, PROBE = 133_888, 3_112, 24
"""Bytes of the embedded model: a layer, what everyone trains, a probe's reply."""
PIGGYBACK = {"batch_size": 8, "piggyback": True}


def planned(**sections: object) -> Plan:
    return make_plan(check_config(digits(Path("never"), probe=PIGGYBACK, **sections)))


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Return the plan of three clients with a budget of one layer."""
    return planned()


def play(plan: Plan, selector: Selector, rounds: int) -> Forecast:
    return forecast(plan.subject.prepared, selector, Bounds(plan.subject.prepared.setting), name="it", rounds=rounds)


def bytes_up(found: Forecast) -> tuple[float, float]:
    assert found.run is not None
    return found.run.low.bytes_up, found.run.high.bytes_up


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_of_n_rounds_the_first_has_two_probes_and_the_last_none(plan: Plan, rounds: int) -> None:
    found = play(plan, Consensus(), rounds)
    assert bytes_up(found) == (3 * rounds * (LAYER + ALWAYS + PROBE),) * 2
    assert found.probes == 1.0
    assert found.dearest is not None
    assert found.dearest.high.bytes_up == LAYER + ALWAYS + (2 if rounds > 1 else 1) * PROBE


def test_periodic_probes_once_a_period_and_not_for_a_round_after_the_last(plan: Plan) -> None:
    found = play(plan, Periodic(every=3, inner=Consensus()), 6)
    assert found.probes == pytest.approx(2 / 6)
    assert bytes_up(found) == (3 * (6 * (LAYER + ALWAYS) + 2 * PROBE),) * 2


def test_the_first_probe_after_a_warm_up_is_its_last_rounds(plan: Plan) -> None:
    found = play(plan, Warmup(rounds=2, inner=Consensus()), 3)
    assert found.dearest is not None
    assert found.dearest.high.bytes_up == LAYER + ALWAYS
    assert bytes_up(found) == (3 * (3 * ALWAYS + PROBE + LAYER),) * 2
    assert found.probes == pytest.approx(1 / 3)


def test_where_nobody_is_probed_the_key_changes_nothing(plan: Plan) -> None:
    found = play(plan, Top(), 3)
    assert found.probes == 0.0
    assert bytes_up(found) == (9 * (LAYER + ALWAYS),) * 2


CASES: dict[str, dict[str, Any]] = {
    "everyone": {"selector": "consensus"},
    "two of three": {"selector": "consensus", "sampler": {"kind": "uniform", "clients_per_round": 2}},
    "periodic": {"selector": {"kind": "periodic", "every": 2, "inner": "independent"}},
    "warm-up": {"selector": {"kind": "warmup", "rounds": 1, "inner": "independent"}},
    "flops": {"selector": "independent", "budget": {"flops": "280%"}},
    "room for a piggybacked probe and no layer": {
        "selector": {"kind": "periodic", "every": 2, "inner": "independent"},
        "budget": {"flops": "234%"},
        "train": {"rounds": 2, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"},
    },
    "too few flops for two": {"selector": "independent", "budget": {"flops": "200%"}},
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_costs_what_was_planned(tmp_path: Path, case: str) -> None:
    """Prices of masks that follow scores are a range; bytes of statistics are not, and show when each probe is done."""
    train = {"rounds": 4, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
    values = digits(tmp_path / "run", **{"probe": PIGGYBACK, "train": train, **CASES[case]})
    found = make_plan(check_config(values)).selectors[0]
    assert found.run is not None
    start(values)
    clients = events(tmp_path / "run", "client")
    assert all(c["predicted"]["bytes_up"] == c["bytes_up"] for c in clients)
    for unit in ("flops", "bytes_up", "layers"):
        paid = sum(c["predicted"][unit] for c in clients)
        assert dict(found.run.low.items())[unit] <= paid * (1 + 1e-9), unit
        assert paid <= dict(found.run.high.items())[unit] * (1 + 1e-9), unit
    statistics = sum(c["bytes_up"] - len(c["mask"]) * LAYER - ALWAYS for c in clients)
    assert found.probes == pytest.approx(statistics / PROBE / len(clients))
