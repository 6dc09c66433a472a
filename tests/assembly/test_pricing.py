"""Workloads are the batches that clients really take."""

from __future__ import annotations

import torch

from fedstrata.assembly.pricing import lengths_of, workload
from fedstrata.client.handler import Handler
from fedstrata.costs.protocol import Workload
from fedstrata.data.tensors import ClientRows, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.stats import Statistic
from fedstrata.wire.messages import Probe, ProbePlan, Train, TrainPlan
from toys import toy_model

A = ClientId("a")


class Spied:
    """Rows that remember the batches that were taken of them."""

    def __init__(self, rows: TensorRows) -> None:
        self.rows, self.taken = rows, []  # type: ignore[var-annotated]

    def take(self, indices: torch.Tensor) -> object:
        self.taken.append((len(indices), None))
        return self.rows.take(indices)

    def __getattr__(self, name: str) -> object:
        return getattr(self.rows, name)


def test_batches_of_images_are_those_of_a_real_visit() -> None:
    model = toy_model()
    rows = TensorRows({"x": torch.randn(23, 4)}, torch.randint(0, 3, (23,)))
    spied = Spied(rows)
    data = ClientRows(spied, torch.arange(23), torch.arange(0))  # type: ignore[arg-type]
    handler = Handler(model, {A: data}, Seeds(3))
    for statistics in (
        {Statistic.NORM},
        {Statistic.HALVES},
        {Statistic.SAMPLES},
        {Statistic.HALVES, Statistic.SAMPLES},
    ):
        train = TrainPlan(epochs=2, batch_size=5)
        probe = ProbePlan(2, 6, frozenset(statistics))
        found = workload(ClientRows(rows, data.train, data.held_out), A, train=train, probe=probe, seeds=Seeds(3))
        spied.taken.clear()
        handler.handle(Probe(A, 0, model.weights(), probe))
        assert sorted(spied.taken) == sorted(found.probe)
        spied.taken.clear()
        handler.handle(Train(A, 0, model.weights(), frozenset(), train))
        assert tuple(spied.taken) == found.train


def test_lengths_of_texts_are_those_of_a_real_first_round() -> None:
    lengths = torch.tensor([3, 9, 4, 8, 5, 2])
    mask = (torch.arange(9)[None] < lengths[:, None]).long()
    rows = TensorRows({"input_ids": mask, "attention_mask": mask}, torch.zeros(6, dtype=torch.int64))
    data = ClientRows(rows, torch.tensor([0, 2, 3, 4, 5]), torch.tensor([1]))
    found = workload(data, A, train=TrainPlan(epochs=1, batch_size=2), probe=ProbePlan(0, 10), seeds=Seeds(0))
    assert [count for count, _ in found.train] == [2, 2, 1]
    assert found.probe == ((5, 8),)
    assert found.longest == 8
    assert max(length or 0 for _, length in found.train) == 8


def test_a_step_is_measured_from_the_shortest_batch_to_the_longest_text() -> None:
    assert lengths_of([Workload(((4, 10),), ((4, 16),), longest=40), Workload(((4, 12),), longest=20)]) == (10, 25, 40)
    assert lengths_of([Workload(((4, 7),), longest=7)]) == (7,)
