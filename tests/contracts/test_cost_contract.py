"""What every cost model owes its callers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from every_kind import every
from fedstrata.costs.protocol import CostModel, Facts, Workload
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.domain.stats import Statistic
from fedstrata.wire.messages import ProbePlan, TrainPlan
from price_lists import LAYERS, PHONE, profile

COSTS: list[CostModel] = every("cost")
CLIENT = ClientId("c0")
MASKS = [frozenset(m) for size in range(len(LAYERS) + 1) for m in combinations(range(len(LAYERS)), size)]


def facts(optimizer: str = "sgd", device: DeviceProfile | None = PHONE) -> Facts:
    return Facts(
        layers=LAYERS,
        train=TrainPlan(steps=3, epochs=None, batch_size=4, optimizer=optimizer),  # type: ignore[arg-type]
        probe=ProbePlan(1, 8, frozenset({Statistic.HALVES})),
        workloads={CLIENT: Workload(train=((4, None),) * 3, probe=((4, None), (4, None)))},
        devices={} if device is None else {CLIENT: device},
        profiles=lambda: (profile(),),
        parameter_bytes=1000,
    )


@pytest.mark.parametrize("cost", COSTS, ids=repr)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("probes", [0, 1, 2])
def test_more_layers_never_cost_less_in_any_unit(cost: CostModel, optimizer: str, probes: int) -> None:
    prices = cost.bind(facts(optimizer)).prices(CLIENT, ClientRound(probes))
    of = {mask: prices.of(mask) for mask in MASKS}
    for mask in MASKS:
        for layer in range(len(LAYERS)):
            more, less = dict(of[mask | {layer}].items()), dict(of[mask].items())
            assert all(np.isnan(less[u]) or less[u] <= more[u] * (1 + 1e-12) for u in less), (mask, layer)


@pytest.mark.parametrize("cost", COSTS, ids=repr)
@pytest.mark.parametrize("probes", [0, 1])
def test_another_probe_never_makes_a_mask_cheaper(cost: CostModel, probes: int) -> None:
    bound = cost.bind(facts())
    for mask in MASKS:
        without = dict(bound.prices(CLIENT, ClientRound(probes)).of(mask).items())
        probed = dict(bound.prices(CLIENT, ClientRound(probes + 1)).of(mask).items())
        assert all(np.isnan(without[u]) or without[u] <= probed[u] for u in without)


@pytest.mark.parametrize("cost", COSTS, ids=repr)
def test_every_mask_is_payable_without_a_limit_whatever_was_not_measured(cost: CostModel) -> None:
    prices = cost.bind(facts(device=None)).prices(CLIENT, ClientRound())
    assert all(prices.of(mask).fits(Cost.unlimited()) for mask in MASKS)


@pytest.mark.parametrize("cost", COSTS, ids=repr)
def test_layers_are_counted_by_everyone(cost: CostModel) -> None:
    prices = cost.bind(facts()).prices(CLIENT, ClientRound())
    assert [prices.of(m).layers for m in MASKS] == [len(m) for m in MASKS]
