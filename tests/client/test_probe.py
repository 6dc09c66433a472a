"""The probe against autograd, row by row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fedstrata.client.probe import probe
from fedstrata.client.resident import ResidentModel
from fedstrata.domain.stats import LayerStats, Statistic
from fedstrata.errors import ClientError
from toys import copy_of, same_bits, toy_model, toy_rows

NORM = frozenset({Statistic.NORM})
HALVES = frozenset({Statistic.HALVES})
SAMPLES = frozenset({Statistic.SAMPLES})
ROWS = toy_rows(13)
ALL = torch.arange(13)


def measure(
    statistics: frozenset[Statistic], *, indices: Tensor = ALL, batch_size: int = 4, model: ResidentModel | None = None
) -> tuple[LayerStats, ...]:
    model = model or toy_model()
    stats, _ = probe(model, model.weights(), rows=ROWS, indices=indices, batch_size=batch_size, statistics=statistics)
    return stats


def per_row_gradients(index: int) -> Tensor:
    """Gradients of one layer for every row, by plain autograd: ``[rows, parameters]``."""
    net = toy_model().module.requires_grad_(True)
    parameters = list(net.get_submodule(f"blocks.{index}").parameters())
    out = []
    for row in range(len(ROWS)):
        inputs, labels = ROWS.take(torch.tensor([row]))
        loss = nn.functional.cross_entropy(net(inputs["features"]), labels)
        out.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    return torch.stack(out).double()


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_squared_norm_equals_autograd(layer: int) -> None:
    expected = per_row_gradients(layer).mean(0).square().sum()
    assert measure(NORM)[layer].grad_sq == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_half_dot_is_the_inner_product_of_two_halves(layer: int) -> None:
    g = per_row_gradients(layer)
    stats = measure(HALVES)[layer]
    assert sum(t.half_dot or 0.0 for t in stats.tensors) == pytest.approx(
        float(g[:6].mean(0) @ g[6:].mean(0)), rel=1e-4
    )
    assert stats.grad_sq == pytest.approx(float(g.mean(0).square().sum()), rel=1e-5)


def test_half_dot_is_unbiased_where_the_squared_norm_is_not() -> None:
    """Over all pairs of rows, the mean inner product of distinct rows has no noise term; the norm of a mean has."""
    g = per_row_gradients(0)
    n = len(g)
    dots = [float(g[i] @ g[j]) for i in range(n) for j in range(n) if i != j]
    unbiased = sum(dots) / len(dots)
    drawn = []
    for seed in range(300):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        drawn.append(sum(t.half_dot or 0.0 for t in measure(HALVES, indices=order, batch_size=13)[0].tensors))
    estimate = torch.tensor(drawn)
    error = float(estimate.std()) / 300**0.5
    assert abs(float(estimate.mean()) - unbiased) < 4 * error
    assert abs(float(g.mean(0).square().sum()) - unbiased) > 8 * error


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_signal_to_noise_moments_equal_autograd(layer: int) -> None:
    g = per_row_gradients(layer)
    expected = (g.mean(0).square() / g.var(0, unbiased=False)).sum()
    stats = measure(SAMPLES)[layer]
    assert sum(t.snr_sum or 0.0 for t in stats.tensors) == pytest.approx(float(expected), rel=1e-2)
    assert stats.grad_sq == pytest.approx(float(g.mean(0).square().sum()), rel=1e-5)


@pytest.mark.parametrize("statistics", [NORM, HALVES, SAMPLES])
def test_batching_the_same_rows_differently_changes_nothing(statistics: frozenset[Statistic]) -> None:
    reference = measure(statistics, batch_size=13)
    for size in (1, 2, 5, 12):
        for a, b in zip(measure(statistics, batch_size=size), reference, strict=True):
            assert a.grad_sq == pytest.approx(b.grad_sq, rel=1e-4)
            for s, t in zip(a.tensors, b.tensors, strict=True):
                assert (s.half_dot or 0.0) == pytest.approx(t.half_dot or 0.0, rel=1e-3, abs=1e-9)
                assert (s.snr_sum or 0.0) == pytest.approx(t.snr_sum or 0.0, rel=1e-3)


def test_the_score_is_not_a_cumulative_sum() -> None:
    """The released code never cleared gradients between mini-batches: more batches meant a larger score."""
    many, one = measure(NORM, batch_size=1), measure(NORM, batch_size=13)
    assert [s.grad_sq for s in many] == pytest.approx([s.grad_sq for s in one], rel=1e-4)


def test_no_gradient_is_left_behind() -> None:
    model = toy_model()
    first = measure(NORM, model=model)
    assert all(p.grad is None and not p.requires_grad for p in model.module.parameters())
    assert measure(NORM, model=model) == first


def test_probing_moves_no_weight() -> None:
    model = toy_model()
    before = copy_of(model.weights())
    measure(SAMPLES, model=model)
    assert same_bits(model.weights(), before)


def test_dropout_is_off() -> None:
    assert measure(NORM, model=toy_model(dropout=0.5)) == measure(NORM, model=toy_model(dropout=0.0))


def test_norms_of_large_gradients_do_not_overflow() -> None:
    model = toy_model()
    with torch.no_grad():
        model.module.get_submodule("head").weight.mul_(3e4)  # type: ignore[operator]
    for stats in measure(NORM, model=model):
        assert 65504 < stats.grad_sq < float("inf")


def test_weight_norm_is_that_of_the_layer() -> None:
    model = toy_model()
    expected = sum(
        float(p.detach().double().square().sum()) for p in model.module.get_submodule("blocks.1").parameters()
    )
    assert measure(NORM, model=model)[1].weight_sq == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("statistics", [HALVES, SAMPLES])
def test_one_row_is_too_few_for_a_spread(statistics: frozenset[Statistic]) -> None:
    with pytest.raises(ClientError, match="at least 2 rows"):
        measure(statistics, indices=torch.tensor([0]))


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    model = toy_model()
    with torch.no_grad():
        model.module.get_submodule("head").bias.fill_(float("nan"))  # type: ignore[operator]
    with pytest.raises(ClientError, match="not finite"):
        measure(NORM, model=model)


def test_gradients_are_freed_as_they_are_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one mini-batch no two gradients are alive in ``.grad`` at once."""
    model = toy_model()
    alive: list[int] = []
    original: Callable[[Tensor], Tensor] = __import__("fedstrata.client.probe", fromlist=["_square"])._square

    def counting(tensor: Tensor) -> Tensor:
        alive.append(sum(p.grad is not None for p in model.module.parameters()))
        return original(tensor)

    monkeypatch.setattr("fedstrata.client.probe._square", counting)
    measure(NORM, batch_size=13, model=model)
    assert max(alive) == 0
