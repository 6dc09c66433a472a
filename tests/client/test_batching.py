"""Rows in groups are used whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedstrata.client.batching import groups_of, probed_rows
from fedstrata.client.train import batches
from fedstrata.domain.stats import Statistic
from fedstrata.errors import ClientError
from fedstrata.wire.messages import ProbePlan, TrainPlan

HALVES = frozenset({Statistic.HALVES})


def parts_of(batch: torch.Tensor, rows: int, together: int) -> list[float]:
    """Return which share of each group is in a batch."""
    inside = set(batch.tolist())
    return [len(inside & set(g.tolist())) / len(g) for g in groups_of(torch.arange(rows), together)]


@pytest.mark.parametrize(("rows", "sizes"), [(4, [4]), (5, [5]), (7, [7]), (8, [4, 4]), (11, [4, 7]), (3, [3])])
def test_what_is_left_over_joins_the_last_group(rows: int, sizes: list[int]) -> None:
    assert [len(group) for group in groups_of(torch.arange(rows), 4)] == sizes


@pytest.mark.parametrize("rows", [4, 7, 8, 30, 33])
@pytest.mark.parametrize("size", [0, 4, 6, 8, 29, 50])
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_every_step_uses_whole_groups(rows: int, size: int, steps: int) -> None:
    plan = TrainPlan(steps=steps, epochs=None, batch_size=size)
    found = list(batches(torch.arange(rows), plan, np.random.default_rng(0), together=4))
    assert len(found) == steps
    for batch in found:
        assert set(parts_of(batch, rows, 4)) <= {0.0, 1.0}
        assert 4 <= len(batch) <= max(size or rows, 4) + 3


def test_an_epoch_uses_every_row_once() -> None:
    plan = TrainPlan(epochs=2, batch_size=9)
    found = torch.cat(list(batches(torch.arange(23), plan, np.random.default_rng(1), together=4)))
    assert found.bincount().tolist() == [2] * 23


@pytest.mark.parametrize("rows", [8, 9, 11, 12, 30])
@pytest.mark.parametrize("plan", [ProbePlan(0, 5), ProbePlan(2, 4), ProbePlan(3, 5), ProbePlan(9, 9)])
def test_a_probe_and_each_of_its_halves_use_whole_groups(rows: int, plan: ProbePlan) -> None:
    drawn = probed_rows(torch.arange(rows), plan, np.random.default_rng(0), together=4)
    assert set(parts_of(drawn, rows, 4)) <= {0.0, 1.0}
    halved = ProbePlan(plan.batches, plan.batch_size, HALVES)
    if rows in (8, 12, 30):
        drawn = probed_rows(torch.arange(rows), halved, np.random.default_rng(0), together=4)
        half = len(drawn) // 2
        for part in (drawn[:half], drawn[half:]):
            assert set(parts_of(part, rows, 4)) <= {0.0, 1.0}
            assert len(part) >= 4


def test_halves_that_no_whole_groups_make_are_refused() -> None:
    with pytest.raises(ClientError, match="two halves of the probe need 8 rows"):
        probed_rows(torch.arange(20), ProbePlan(1, 7, HALVES), np.random.default_rng(0), together=4)


@pytest.mark.parametrize(("count", "size", "rows"), [(1, 8, 8), (0, 8, 20), (3, 8, 20), (2, 1, 2)])
def test_a_probe_of_single_rows_is_as_long_as_asked(count: int, size: int, rows: int) -> None:
    assert len(probed_rows(torch.arange(20), ProbePlan(count, size), np.random.default_rng(0))) == rows
