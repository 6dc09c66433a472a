"""What can be priced of rows that nobody here has seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedstrata.assembly.pricing import workload
from fedstrata.assembly.remote_workload import MOST_BATCHES, Lengths, lengths_of, remote_workload
from fedstrata.data.tensors import ClientRows, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.stats import Statistic
from fedstrata.errors import ConfigError
from fedstrata.wire.messages import ProbePlan, TrainPlan


@pytest.mark.parametrize("rows", [1, 4, 5, 8, 23])
@pytest.mark.parametrize(
    "train",
    [
        TrainPlan(epochs=2, batch_size=4),
        TrainPlan(epochs=1, batch_size=0),
        TrainPlan(epochs=None, steps=7, batch_size=4),
        TrainPlan(epochs=2, steps=3, batch_size=4),
    ],
)
@pytest.mark.parametrize(
    "probe",
    [
        ProbePlan(2, 3),
        ProbePlan(0, 3),
        ProbePlan(1, 6, frozenset({Statistic.HALVES})),
        ProbePlan(1, 6, frozenset({Statistic.SAMPLES})),
    ],
)
def test_batches_of_images_are_those_of_the_rows_themselves(rows: int, train: TrainPlan, probe: ProbePlan) -> None:
    own = ClientRows(
        TensorRows({"x": torch.zeros(rows)}, torch.zeros(rows, dtype=torch.int64)), torch.arange(rows), torch.arange(0)
    )
    assert remote_workload(rows, None, train=train, probe=probe) == workload(
        own, ClientId("a"), train=train, probe=probe, seeds=Seeds(0)
    )


def test_a_batch_of_texts_is_as_long_as_the_longest_of_so_many_test_rows_is_on_average() -> None:
    lengths = Lengths(np.array([2, 4, 9]), longest=32)
    assert lengths.of(1) == 5
    # two of them: 2 with 1/9, 4 with 3/9, 9 with 5/9: 59 / 9
    assert lengths.of(2) == 7
    assert lengths.of(10_000) == 9
    found = remote_workload(5, lengths, train=TrainPlan(epochs=1, batch_size=2), probe=ProbePlan(1, 1))
    assert (found.train, found.probe) == (((2, 7), (2, 7), (1, 5)), ((1, 5),))


def test_memory_is_priced_for_the_longest_text_that_there_can_be() -> None:
    mask = (torch.arange(6)[None] < torch.tensor([3, 6, 2])[:, None]).long()
    test = TensorRows({"input_ids": mask, "attention_mask": mask}, torch.zeros(3, dtype=torch.int64))
    lengths = lengths_of(test, 40)
    assert lengths is not None
    assert (lengths.seen.tolist(), lengths.longest) == ([2, 3, 6], 40)
    assert remote_workload(5, lengths, train=TrainPlan(), probe=ProbePlan()).longest == 40


def test_test_rows_that_are_longer_than_the_model_says_count() -> None:
    mask = torch.ones(1, 6, dtype=torch.int64)
    lengths = lengths_of(TensorRows({"attention_mask": mask}, torch.zeros(1, dtype=torch.int64)), 4)
    assert lengths is not None
    assert lengths.longest == 6


def test_images_have_no_length() -> None:
    assert lengths_of(TensorRows({"pixel_values": torch.zeros(2, 1, 8, 8)}, torch.zeros(2)), 9) is None


@pytest.mark.parametrize(
    ("train", "probe"),
    [(TrainPlan(epochs=1, batch_size=1), ProbePlan()), (TrainPlan(steps=5, epochs=None), ProbePlan(0, 32))],
)
def test_more_rows_than_can_be_listed_are_refused(train: TrainPlan, probe: ProbePlan) -> None:
    with pytest.raises(ConfigError, match=r"1000001 rows make .* and 1000000 at most can be priced; give train.steps"):
        remote_workload(MOST_BATCHES + 1, None, train=train, probe=probe)


def test_any_number_of_rows_can_be_priced_where_steps_are_counted() -> None:
    found = remote_workload(2**40, None, train=TrainPlan(steps=3, epochs=None, batch_size=8), probe=ProbePlan(1, 8))
    assert (found.train, found.probe) == (((8, None),) * 3, ((8, None),))
