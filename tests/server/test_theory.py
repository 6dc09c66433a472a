"""The error of a round is within its bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fedstrata.domain.layers import Mask
from fedstrata.domain.theory import chi2
from gradients import error_terms
from toys import BLOCKS, toy_clients, toy_model


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    clients, layers = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    rows = rng.integers(1, 50, clients)
    gradients = [rng.normal(size=(clients, rng.integers(1, 4))) * 10.0 ** rng.integers(-3, 3) for _ in range(layers)]
    return gradients, rows / rows.sum(), rng.random((clients, layers)) < draw(st.sampled_from([0.1, 0.5, 0.9]))


@given(cases())
def test_the_error_is_within_its_bound(case: tuple[list[np.ndarray], np.ndarray, np.ndarray]) -> None:
    terms = error_terms(*case)
    assert terms.error <= terms.bound * (1 + 1e-9) + 1e-12
    assert terms.missing_layers >= 0


@given(cases())
def test_full_masks_have_no_error(case: tuple[list[np.ndarray], np.ndarray, np.ndarray]) -> None:
    gradients, shares, masks = case
    assert error_terms(gradients, shares, np.ones_like(masks)).error == pytest.approx(0, abs=1e-12)


@given(cases())
def test_what_nobody_trains_is_missing_whole(
    case: tuple[list[np.ndarray], np.ndarray, np.ndarray],
) -> None:
    gradients, shares, masks = case
    terms = error_terms(gradients, shares, np.zeros_like(masks))
    whole = sum(float(((shares @ g) ** 2).sum()) for g in gradients)
    assert terms.error == pytest.approx(whole)
    assert terms.wrong_weights == 0


def test_two_clients_and_one_layer_by_hand() -> None:
    """Gradients 1 and 3 with equal shares: the mean is 2; if the first trains alone it is off by 1, bound by 1 * 1."""
    terms = error_terms([np.array([[1.0], [3.0]])], np.array([0.5, 0.5]), np.array([[True], [False]]))
    assert (terms.error, terms.missing_layers, terms.wrong_weights) == (1.0, 0.0, 1.0)


def test_chi2_is_the_distance_of_the_weights_from_the_shares() -> None:
    shares, mask = np.array([0.2, 0.3, 0.5]), np.array([True, False, True])
    weights = np.where(mask, shares, 0) / shares[mask].sum()
    assert chi2(0.7) == pytest.approx(float(((weights - shares) ** 2 / shares).sum()))


@pytest.mark.parametrize(
    "masks", [({0}, {1}, {2}), ({0, 1}, {0}, set()), ({0, 1, 2}, {0, 1, 2}, {0, 1, 2}), (set(), set(), set())]
)
def test_on_a_model_with_exact_gradients(masks: tuple[Mask, ...]) -> None:
    model, clients = toy_model(), toy_clients({"a": 12, "b": 6, "c": 9})
    net = model.module.requires_grad_(True)
    per_layer: list[list[np.ndarray]] = [[] for _ in range(BLOCKS)]
    for rows in clients.values():
        inputs, labels = rows.rows.take(rows.train)
        net.zero_grad()
        nn.functional.cross_entropy(net(inputs["features"]), labels).backward()
        for layer, block in enumerate(net.get_submodule("blocks").children()):
            flat = torch.cat([p.grad.flatten() for p in block.parameters() if p.grad is not None])
            per_layer[layer].append(flat.double().numpy())
    chosen = np.array([[layer in mask for layer in range(BLOCKS)] for mask in masks])
    terms = error_terms([np.stack(g) for g in per_layer], np.array([12, 6, 9]) / 27, chosen)
    assert terms.error <= terms.bound * (1 + 1e-9)
    assert (terms.error == pytest.approx(0, abs=1e-15)) == bool(chosen.all())
