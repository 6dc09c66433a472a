"""The error of a round with the clients' own rows, against every gradient written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedstrata.client.exact import ExactGradients
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.domain.theory import terms_of
from fedstrata.errors import ClientError
from fedstrata.server.theory import moments_of, shares_of
from gradients import error_terms, explicit
from toys import BLOCKS, copy_of, same_bits, toy_clients, toy_model

SIZES = {"a": 12, "b": 6, "c": 9}
MASKS: list[tuple[set[int], ...]] = [
    ({0}, {1}, {2}),
    ({0, 1}, {0}, set()),
    ({0, 1, 2}, {0, 1, 2}, {0, 1, 2}),
    (set(), set(), set()),
    ({2}, {2}, {0, 2}),
]


@pytest.mark.parametrize("masks", MASKS, ids=str)
def test_sums_over_clients_one_at_a_time_are_the_formula_over_all_of_them(masks: tuple[set[int], ...]) -> None:
    model, clients = toy_model(dropout=0.5), toy_clients(SIZES)
    shares = shares_of({ClientId(c): n for c, n in SIZES.items()})
    chosen: dict[ClientId, Mask] = {c: frozenset(m) for c, m in zip(shares, masks, strict=True)}
    found, loss = ExactGradients(model, clients, batch_size=4).moments(model.weights(), shares, chosen)
    gradients, losses = explicit(model, clients)
    alpha = np.array(list(shares.values()))
    table = np.array([[layer in mask for layer in range(BLOCKS)] for mask in masks])
    for layer, one in enumerate(found):
        wanted = moments_of(gradients[layer], alpha, table[:, layer])
        assert one.gradient_sq == pytest.approx(wanted.gradient_sq, rel=1e-5)
        assert one.spread == pytest.approx(wanted.spread, rel=1e-5)
        assert one.off == pytest.approx(wanted.off, rel=1e-5, abs=1e-14)
    assert loss == pytest.approx(float(alpha @ losses), rel=1e-6)
    terms = terms_of(found, [float(alpha[table[:, layer]].sum()) for layer in range(BLOCKS)])
    brute = error_terms(gradients, alpha, table)
    assert (terms.missing_layers, terms.wrong_weights) == pytest.approx((brute.missing_layers, brute.wrong_weights))
    assert terms.error <= terms.bound * (1 + 1e-9)


def test_the_loss_is_the_one_over_all_training_rows() -> None:
    model, clients = toy_model(), toy_clients(SIZES, held_out=4)
    shares = shares_of({ClientId(c): n for c, n in SIZES.items()})
    exact = ExactGradients(model, clients)
    rows = torch.cat([own.train for own in clients.values()])
    inputs, labels = clients[ClientId("a")].rows.take(rows)
    wanted = nn.functional.cross_entropy(model.module.eval()(inputs["features"]), labels)
    assert exact.loss(model.weights(), shares) == pytest.approx(float(wanted), rel=1e-6)
    assert exact.moments(model.weights(), shares, {})[1] == pytest.approx(float(wanted), rel=1e-6)


def test_the_model_is_left_as_it_was_found() -> None:
    model, clients = toy_model(), toy_clients(SIZES)
    weights = model.weights()
    before = copy_of(weights)
    ExactGradients(model, clients).moments(weights, {ClientId("a"): 1.0}, {ClientId("a"): frozenset({0})})
    assert same_bits(before, model.weights())
    assert all(p.grad is None and not p.requires_grad for p in model.module.parameters())


def test_a_model_that_diverged_has_no_gradients() -> None:
    model, clients = toy_model(), toy_clients(SIZES)
    weights = {name: tensor * float("nan") for name, tensor in model.weights().items()}
    with pytest.raises(ClientError, match="not finite"):
        ExactGradients(model, clients).moments(weights, {ClientId("a"): 1.0}, {})
