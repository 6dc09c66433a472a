"""Piggybacked statistics: those of a fresh probe at the same weights; the update is what it was without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import fedstrata.client.handler as handling
from fedstrata.client.handler import Handler
from fedstrata.client.resident import ResidentModel
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.stats import Statistic
from fedstrata.engines.local import LocalEngine
from fedstrata.errors import ClientError
from fedstrata.wire.messages import Failure, Origin, Probe, Probed, ProbePlan, Train, TrainPlan, Update
from toys import ToyNet, copy_of, same_bits, toy_clients, toy_layers, toy_model, toy_rows

A, ROUND, SEEDS = ClientId("a"), 3, Seeds(7)
CLIENTS = toy_clients({"a": 12, "b": 6})
PLAN = TrainPlan(steps=2, epochs=None, batch_size=4, lr=0.5)
ORIGIN = Origin("run", 1, "base")
EVERYTHING = ProbePlan(1, 5, frozenset(Statistic))


def trained(probe: ProbePlan | None, model: ResidentModel | None = None) -> Update:
    model = model or toy_model(dropout=0.3)
    request = Train(A, ROUND, model.weights(), frozenset({0, 2}), PLAN, ORIGIN, probe)
    (reply,) = LocalEngine(Handler(model, CLIENTS, SEEDS)).send([request])
    assert isinstance(reply, Update)
    return reply


def piggybacked(probe: ProbePlan) -> Probed:
    found = trained(probe).piggybacked
    assert found is not None
    return found


def test_it_is_what_the_next_rounds_probe_would_measure_at_these_weights() -> None:
    model = toy_model(dropout=0.3)
    fresh = Handler(model, CLIENTS, SEEDS).handle(Probe(A, ROUND + 1, model.weights(), EVERYTHING, ORIGIN))
    assert isinstance(fresh, Probed)
    assert (piggybacked(EVERYTHING).stats, piggybacked(EVERYTHING).loss) == (fresh.stats, fresh.loss)


def test_it_is_the_squared_gradient_over_the_rows_that_the_next_round_draws() -> None:
    """By plain autograd: the first five of the client's rows in the order of the stream of its next probe."""
    order = SEEDS.generator(Phase.PROBE, round=ROUND + 1, client="a").permutation(12)
    inputs, labels = toy_rows(18).take(torch.from_numpy(order[:5]))
    net = toy_model(dropout=0.3).module.eval().requires_grad_(True)
    loss = nn.functional.cross_entropy(net(inputs["features"]), labels)
    found = piggybacked(ProbePlan(1, 5))
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-6)
    for index, stats in enumerate(found.stats):
        gradients = torch.autograd.grad(
            loss, list(net.get_submodule(f"blocks.{index}").parameters()), retain_graph=True
        )
        assert stats.grad_sq == pytest.approx(sum(float(g.double().square().sum()) for g in gradients), rel=1e-5)


def test_it_says_where_it_belongs_as_the_update_does() -> None:
    found = piggybacked(EVERYTHING)
    assert (found.client, found.round, found.origin) == (A, ROUND, ORIGIN)


def test_the_update_is_what_it_is_without() -> None:
    alone, laden = trained(None), trained(EVERYTHING)
    assert alone.piggybacked is None
    assert same_bits(laden.deltas, alone.deltas)
    assert (laden.loss_first, laden.loss_mean, laden.steps) == (alone.loss_first, alone.loss_mean, alone.steps)


def test_model_and_weights_are_left_as_they_were() -> None:
    model = toy_model()
    before = copy_of(model.weights())
    trained(EVERYTHING, model)
    assert same_bits(model.weights(), before)
    assert all(p.grad is None for p in model.module.parameters())


def test_it_is_measured_before_anything_is_held_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a visit's peak is the larger of the two, as it is priced."""
    order: list[str] = []

    def noting(name: str) -> Callable[..., object]:
        original = getattr(handling, name)

        def noted(*args: object, **options: object) -> object:
            order.append(name)
            return original(*args, **options)

        return noted

    for name in ("probe", "train"):
        monkeypatch.setattr(handling, name, noting(name))
    trained(EVERYTHING)
    assert order == ["probe", "train"]


class Diverged(ToyNet):
    """A network whose loss is not finite while nothing is trained."""

    def forward(self, features: Tensor) -> Tensor:
        logits = super().forward(features)
        return logits if self.training else logits * float("nan")


def test_statistics_that_cannot_be_measured_fail_the_answer_as_a_whole() -> None:
    model = ResidentModel(Diverged(), toy_layers(ToyNet()))
    request = Train(A, ROUND, model.weights(), frozenset({0}), PLAN, ORIGIN, EVERYTHING)
    (failed,) = LocalEngine(Handler(model, CLIENTS, SEEDS)).send([request])
    assert isinstance(failed, Failure)
    assert (failed.phase, failed.reason, failed.round) == ("train", "NONFINITE", ROUND)
    (sound,) = LocalEngine(Handler(model, CLIENTS, SEEDS)).send([replace(request, probe=None)])
    assert isinstance(sound, Update)


def test_too_few_rows_for_the_probe_are_said() -> None:
    model = toy_model()
    handler = Handler(model, toy_clients({"a": 1}), SEEDS)
    with pytest.raises(ClientError, match="the probe needs at least 2 rows and got 1"):
        handler.handle(Train(A, ROUND, model.weights(), frozenset(), PLAN, ORIGIN, EVERYTHING))
