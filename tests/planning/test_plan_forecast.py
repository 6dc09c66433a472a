from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from fedstrata.config.load import check_config
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.planning.forecast import Bounds, Forecast, forecast
from fedstrata.planning.plan import Plan, make_plan
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Full, Top
from fedstrata.selectors.fixed import FixedLayers
from fedstrata.selectors.periodic import Periodic
from fedstrata.selectors.protocol import Selector
from fedstrata.selectors.random import Random
from fedstrata.selectors.warmup import Warmup
from small_runs import digits

LAYER, ALWAYS, MASK, PROBE = 133_888, 3_112, 1, 24
"""Bytes of the embedded model: a layer, what everyone trains, a mask, a probe's reply."""


def planned(selectors: Sequence[str] = (), **sections: object) -> Plan:
    return make_plan(check_config(digits(Path("never"), **sections)), selectors=selectors)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Return the plan of three clients with a budget of one layer."""
    return planned()


def play(plan: Plan, selector: Selector, rounds: int = 2) -> Forecast:
    setting = plan.subject.prepared.setting
    return forecast(plan.subject.prepared, selector, Bounds(setting), name="it", rounds=rounds)


def costs(found: Forecast) -> tuple[Cost, Cost]:
    assert found.run is not None
    return found.run.low, found.run.high


def test_bytes_of_the_references_are_the_models(plan: Plan) -> None:
    full, nothing = costs(plan.full)[1], costs(plan.head_only)[1]
    assert full.bytes_up == 2 * 3 * (6 * LAYER + ALWAYS)
    assert nothing.bytes_up == 2 * 3 * ALWAYS
    # first round: what everyone trains; second round: all that moved
    assert full.bytes_down == 3 * (ALWAYS + MASK) + 3 * (6 * LAYER + ALWAYS + MASK)
    assert nothing.bytes_down == 2 * 3 * (ALWAYS + MASK)


def test_a_selector_without_scores_is_known_to_the_byte(plan: Plan) -> None:
    found = play(plan, Top())
    _, high = costs(found)
    assert found.run is not None
    assert found.run.known
    assert not found.ranged
    assert high.bytes_up == 6 * (LAYER + ALWAYS)
    assert (found.down_first, found.down_later) == (ALWAYS + MASK, LAYER + ALWAYS + MASK)
    price = plan.subject.prepared.setting.method.cost.prices
    one = [price(c, ClientRound()).of(frozenset({5})).flops for c in plan.subject.prepared.setting.profiles]
    assert high.flops == 2 * sum(one)


def test_random_masks_are_the_runs_own(plan: Plan) -> None:
    prepared = plan.subject.prepared
    setting = prepared.setting
    expected = 0.0
    for round in range(4):
        problem = setting.problem(round, {c: ClientRound() for c in setting.profiles}, None)
        masks = Random().select(problem, {})[0].masks
        expected += sum(problem.price(c, mask).flops for c, mask in masks.items())
    assert costs(play(plan, Random(), rounds=4))[1].flops == pytest.approx(expected)


def test_a_scored_selector_lies_between_the_cheapest_and_the_dearest_mask() -> None:
    for budget in ({"layers": 2}, {"flops": "75%"}, {"bytes_up": "40%", "flops": "90%"}, {"bytes_peak": "99%"}):
        plan = planned(budget=budget, train={"rounds": 1, "steps": 4, "batch_size": 8})
        setting = plan.subject.prepared.setting
        low, high = np.zeros(3), np.zeros(3)
        for client, profile in setting.profiles.items():
            prices = setting.method.cost.prices(client, ClientRound(probes=1, bytes_down=ALWAYS))
            masks = [frozenset(m) for size in range(1, 7) for m in combinations(range(6), size)]
            tried = [p for p in map(prices.of, masks) if p.fits(profile.budget)]
            values = np.array([(p.flops, p.bytes_up, p.layers) for p in tried])
            low, high = low + values.min(axis=0), high + values.max(axis=0)
        for cost, expected in zip(costs(plan.selectors[0]), (low, high), strict=True):
            assert (cost.flops, cost.bytes_up, cost.layers) == pytest.approx(tuple(expected))
        assert plan.selectors[0].ranged


def test_a_probe_is_part_of_what_a_scored_selector_costs(plan: Plan) -> None:
    assert costs(plan.selectors[0])[1].bytes_up == 6 * (LAYER + ALWAYS + PROBE)
    assert plan.selectors[0].probes == 1.0
    assert plan.selectors[0].down_later == 6 * LAYER + ALWAYS + MASK


def test_periodic_probes_once_a_period(plan: Plan) -> None:
    found = play(plan, Periodic(every=3, inner=Consensus()), rounds=6)
    assert found.probes == pytest.approx(1 / 3)
    assert costs(found)[1].bytes_up == 3 * (6 * (LAYER + ALWAYS) + 2 * PROBE)


def test_warmup_is_exact_until_the_first_probe(plan: Plan) -> None:
    found = play(plan, Warmup(rounds=1, inner=Consensus()), rounds=2)
    low, _ = costs(found)
    assert low.bytes_up == 3 * ALWAYS + 3 * (LAYER + ALWAYS + PROBE)
    assert found.probes == 0.5


def test_rounds_beyond_those_played_are_like_them(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = play(plan, Top(), rounds=50)
    monkeypatch.setattr("fedstrata.planning.forecast.VISITS", 9)
    part = play(plan, Top(), rounds=50)
    assert (part.rounds, whole.rounds) == (3, 50)
    for one, other in zip(costs(part)[1].items(), costs(whole)[1].items(), strict=True):
        assert one[1] == pytest.approx(other[1], nan_ok=True)


@pytest.mark.parametrize("selector", [Full(), FixedLayers("last:2")])
def test_a_selector_that_the_budgets_do_not_pay_for_says_so(plan: Plan, selector: Selector) -> None:
    found = play(plan, selector)
    assert found.run is None
    assert found.problem is not None
    assert "client-00, whose budget is 1 layer" in found.problem


def test_a_probe_over_the_budget_is_a_problem_of_its_selector() -> None:
    plan = planned(["consensus"], selector="top", budget={"bytes_up": LAYER + ALWAYS})
    top, scored = plan.selectors
    assert (top.name, top.problem, scored.name) == ("top", None, "consensus")
    assert scored.ranged
    # the reply of the probe leaves no room for a layer: nobody trains one
    assert costs(scored)[1].bytes_up == 6 * (ALWAYS + PROBE)


def test_cohorts_are_part_of_the_federation() -> None:
    plan = planned(selector="top", sampler={"kind": "uniform", "clients_per_round": 2})
    assert costs(plan.selectors[0])[1].bytes_up == 2 * 2 * (LAYER + ALWAYS)


def test_bounds_are_shared_by_equal_clients(plan: Plan) -> None:
    bounds = Bounds(replace(plan.subject.prepared.setting))
    clients = list(plan.subject.prepared.setting.profiles)
    found = [bounds.of(c, ClientRound())[1] for c in clients]
    assert found[0].singles == (0, 1, 2, 3, 4, 5)
    assert bounds.reachable() == 6 * LAYER
