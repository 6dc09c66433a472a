"""The client's side of multiple-choice: probe, training and evaluation by the same objective."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fedstrata.client.evaluate import evaluate
from fedstrata.client.handler import Handler
from fedstrata.client.probe import probe
from fedstrata.client.resident import ResidentModel
from fedstrata.client.train import train
from fedstrata.data.tensors import ClientRows, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.stats import Statistic
from fedstrata.models.causal_head import with_frozen_head
from fedstrata.models.objective import Choice
from fedstrata.models.partition import partition
from fedstrata.wire.messages import Evaluate, Evaluated, Train, TrainPlan, Update
from questions import llama, prepared, questions, score, sentencewise

CLOSE = 1e-5
ROWS = 8


@pytest.fixture
def rows(tmp_path: Path) -> TensorRows:
    return prepared(questions(ROWS, seed=5), sentencewise(), tmp_path)


@pytest.fixture
def model() -> ResidentModel:
    net = llama(tied=True)
    return ResidentModel(net, with_frozen_head(net, partition(net), ()), Choice())


def loss_by_hand(model: ResidentModel, rows: TensorRows, indices: range) -> Tensor:
    """Return the summed loss of some rows, one text at a time."""
    answers = rows.answers
    assert answers is not None
    total = torch.zeros(())
    for row in indices:
        label = int(rows.labels[row])
        start, end = int(answers.starts[row, label]), int(answers.ends[row, label])
        ids = answers.ids[row, label].tolist()
        total = total - score(model.module, ids[:start], ids[start:end])
    return total


def test_the_probe_measures_gradients_of_the_mean_loss(model: ResidentModel, rows: TensorRows) -> None:
    weights = model.weights()
    asked = frozenset({Statistic.NORM})
    for batch_size in (3, ROWS):
        stats, loss = probe(
            model, weights, rows=rows, indices=torch.arange(ROWS), batch_size=batch_size, statistics=asked
        )
        with model.probing(weights) as parameters:
            written = loss_by_hand(model, rows, range(ROWS)) / ROWS
            gradients = torch.autograd.grad(written, list(parameters.values()))
            written = written.detach()
        squares = {n: float(g.double().square().sum()) for n, g in zip(parameters, gradients, strict=True)}
        for layer, found in zip(model.layers, stats, strict=True):
            expected = [squares[spec.name] for spec in layer.tensors]
            assert [t.grad_sq for t in found.tensors] == pytest.approx(expected, rel=1e-3)
        assert loss == pytest.approx(float(written), abs=CLOSE)


def test_a_local_step_follows_the_gradient_of_the_mean_loss(model: ResidentModel, rows: TensorRows) -> None:
    weights = model.weights()
    plan = TrainPlan(steps=1, epochs=None, batch_size=0, lr=0.1)
    result = train(
        model,
        weights,
        mask=frozenset({1}),
        rows=rows,
        indices=torch.arange(ROWS),
        plan=plan,
        rng=np.random.default_rng(0),
    )
    model.set_evaluation()
    with model.training(weights, frozenset({1})) as parameters:
        written = loss_by_hand(model, rows, range(ROWS)) / ROWS
        gradients = torch.autograd.grad(written, list(parameters.values()))
    assert set(result.deltas) == set(parameters)
    assert result.loss_first == pytest.approx(float(written.detach()), abs=CLOSE)
    for name, gradient in zip(parameters, gradients, strict=True):
        assert torch.allclose(result.deltas[name], -0.1 * gradient, atol=CLOSE), name
    assert not [name for name in result.deltas if "embed" in name or "lm_head" in name]


def test_training_teaches_the_right_choices(model: ResidentModel, rows: TensorRows) -> None:
    weights, everything = model.weights(), torch.arange(ROWS)
    plan = TrainPlan(steps=80, epochs=None, batch_size=4, lr=0.02, optimizer="adamw")
    before, _ = evaluate(model, weights, rows=rows, indices=everything, batch_size=64)
    result = train(
        model,
        weights,
        mask=model.layers.everything,
        rows=rows,
        indices=everything,
        plan=plan,
        rng=np.random.default_rng(0),
    )
    after = {name: tensor + result.deltas[name] for name, tensor in weights.items()}
    loss, correct = evaluate(model, after, rows=rows, indices=everything, batch_size=64)
    assert loss < before / 2
    assert correct == ROWS


def test_evaluation_does_not_depend_on_its_batches(model: ResidentModel, rows: TensorRows) -> None:
    results = [
        evaluate(model, model.weights(), rows=rows, indices=torch.arange(ROWS), batch_size=b) for b in (1, 11, 256)
    ]
    with torch.no_grad():
        written = float(loss_by_hand(model, rows, range(ROWS)))
    assert [loss for loss, _ in results] == pytest.approx([written] * 3, abs=CLOSE)
    assert len({correct for _, correct in results}) == 1


def test_no_forward_pass_takes_more_texts_than_the_evaluation_batch(model: ResidentModel, rows: TensorRows) -> None:
    sizes: list[int] = []
    model.module.register_forward_pre_hook(
        lambda _m, _a, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    evaluate(model, model.weights(), rows=rows, indices=torch.arange(ROWS), batch_size=11)
    assert max(sizes) <= 11
    assert sum(sizes) == int((rows.answers.ends > 0).sum())  # type: ignore[union-attr]


def test_a_client_answers_every_request(model: ResidentModel, rows: TensorRows) -> None:
    client = ClientId("a")
    own = ClientRows(rows, torch.arange(6), torch.arange(6, 8))
    handler = Handler(model, {client: own}, Seeds(0))
    update = handler.handle(Train(client, 0, model.weights(), frozenset({2}), TrainPlan(steps=2, epochs=None)))
    said = handler.handle(Evaluate(client, 0, model.weights()))
    assert isinstance(update, Update)
    assert isinstance(said, Evaluated)
    assert {name.split(".")[2] for name in update.deltas if "layers" in name} == {"2"}
    assert (said.num_examples, 0 <= said.correct <= 2) == (2, True)
