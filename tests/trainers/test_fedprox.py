"""FedProx against its own definition: autograd of the whole objective, and the minimum of a quadratic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedstrata.client.train import train
from fedstrata.domain.ids import TensorName
from fedstrata.errors import ConfigError
from fedstrata.trainers.fedprox import FedProx
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import TrainPlan
from toys import same_bits, toy_model, toy_rows

W = TensorName("w")


def test_the_correction_is_the_gradient_of_the_proximal_term() -> None:
    rng = torch.Generator().manual_seed(0)
    weight, start, target = (torch.randn(5, generator=rng, dtype=torch.float64) for _ in range(3))
    whole = weight.clone().requires_grad_(True)
    (((whole - target) ** 3).sum() + 0.7 / 2 * (whole - start).square().sum()).backward()
    parameter = nn.Parameter(weight.clone())
    ((parameter - target) ** 3).sum().backward()
    FedProx(mu=0.7).correct({W: parameter}, {W: start}, {})
    assert whole.grad is not None
    assert parameter.grad is not None
    torch.testing.assert_close(parameter.grad, whole.grad, rtol=1e-12, atol=0)


def test_it_converges_to_the_minimum_between_the_rows_and_the_global_weights() -> None:
    """Of 1/2 (w - 3)^2 + mu/2 (w - 1)^2 that is (3 + mu) / (1 + mu): 2 for mu 1, 1.5 for mu 3."""
    for mu, expected in ((0.0, 3.0), (1.0, 2.0), (3.0, 1.5)):
        weight = nn.Parameter(torch.tensor([1.0]))
        for _ in range(400):
            weight.grad = None
            (0.5 * (weight - 3).square()).sum().backward()
            FedProx(mu=mu).correct({W: weight}, {W: torch.tensor([1.0])}, {})
            assert weight.grad is not None
            weight.data.sub_(weight.grad, alpha=0.1)
        assert float(weight.detach()) == pytest.approx(expected, abs=1e-5)


def steps(trainer: Sgd, number: int, clip_norm: float | None = None) -> dict[TensorName, torch.Tensor]:
    model = toy_model()
    return dict(
        train(
            model,
            model.weights(),
            mask=frozenset({0, 2}),
            rows=toy_rows(20),
            indices=torch.arange(20),
            plan=TrainPlan(steps=number, epochs=None, batch_size=0, lr=0.3, clip_norm=clip_norm),
            rng=np.random.default_rng(0),
            trainer=trainer,
        ).deltas
    )


def test_without_the_term_and_in_the_first_step_it_is_local_sgd_to_the_bit() -> None:
    assert same_bits(steps(FedProx(mu=0.0), 6), steps(Sgd(), 6))
    assert same_bits(steps(FedProx(mu=5.0), 1), steps(Sgd(), 1))


def test_the_larger_the_term_the_nearer_a_client_stays() -> None:
    moved = [sum(float(d.square().sum()) for d in steps(FedProx(mu=mu), 12).values()) for mu in (0.0, 0.1, 1.0, 3.0)]
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < moved[0] / 2


def test_the_term_is_clipped_with_the_gradient() -> None:
    """One step from the start has no term; two have one, and no more than the norm is taken in each."""
    deltas = steps(FedProx(mu=2.0), 2, clip_norm=0.01)
    assert sum(float(d.square().sum()) for d in deltas.values()) ** 0.5 <= 2 * 0.3 * 0.01 * (1 + 1e-5)


@pytest.mark.parametrize("mu", [-0.1, float("inf"), float("nan")])
def test_a_term_that_is_none_is_refused(mu: float) -> None:
    with pytest.raises(ConfigError, match=r"trainer 'fedprox' has mu: .*; it must be 0 or more, such as 0\.01"):
        FedProx(mu=mu)
