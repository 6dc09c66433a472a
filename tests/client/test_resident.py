"""The resident model: mounted by reference, restored exactly."""

from __future__ import annotations

import pytest
import torch

from fedstrata.domain.ids import TensorName
from toys import copy_of, same_bits, toy_model


def test_weights_are_mounted_by_reference() -> None:
    model = toy_model()
    weights = copy_of(model.weights())
    model.mount(weights)
    assert (
        dict(model.module.named_parameters())["head.weight"].data_ptr() == weights[TensorName("head.weight")].data_ptr()
    )


def test_only_the_mask_and_always_require_gradients() -> None:
    model = toy_model()
    with model.training(copy_of(model.weights()), frozenset({1})) as trained:
        wanting = {n for n, p in model.module.named_parameters() if p.requires_grad}
    assert wanting == set(trained) == {"blocks.1.weight", "blocks.1.bias", "head.weight", "head.bias"}


def test_training_in_place_never_reaches_the_mounted_weights() -> None:
    model = toy_model()
    weights = copy_of(model.weights())
    before = copy_of(weights)
    with model.training(weights, frozenset({0, 1, 2})) as trained:
        for parameter in trained.values():
            parameter.data.add_(1.0)
    assert same_bits(weights, before)
    assert same_bits(model.weights(), before)


def test_a_client_that_raises_leaves_no_trace() -> None:
    model = toy_model()
    weights = copy_of(model.weights())

    def client() -> None:
        with model.training(weights, frozenset({2})) as trained:
            next(iter(trained.values())).data.add_(1.0)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        client()
    assert same_bits(model.weights(), weights)
    assert not any(p.requires_grad or p.grad is not None for p in model.module.parameters())


def test_unmasked_layers_are_not_copied() -> None:
    model = toy_model()
    weights = copy_of(model.weights())
    with model.training(weights, frozenset({2})):
        parameters = dict(model.module.named_parameters())
        assert parameters["blocks.0.weight"].data_ptr() == weights[TensorName("blocks.0.weight")].data_ptr()
        assert parameters["blocks.2.weight"].data_ptr() != weights[TensorName("blocks.2.weight")].data_ptr()


def test_frozen_drift_is_zero_until_a_frozen_tensor_moves() -> None:
    model = toy_model()
    assert model.frozen_drift() == {"stem": 0.0}
    dict(model.module.named_parameters())["stem.weight"].data[0, 0] += 1e-3
    assert model.frozen_drift() == {"stem": float("inf")}


def test_running_statistics_stay_put_in_training_mode() -> None:
    model = toy_model()
    model.module.add_module("norm", torch.nn.BatchNorm1d(3))
    model.set_training()
    norm = model.module.get_submodule("norm")
    assert model.module.training
    assert not norm.training


def test_what_is_mounted_already_is_left_and_what_moved_since_is_mounted_again() -> None:
    model = toy_model()
    weights = copy_of(model.weights())
    model.mount(weights)
    name = TensorName("head.weight")
    parameter = dict(model.module.named_parameters())["head.weight"]
    parameter.data = torch.zeros_like(parameter)
    model.mount(weights)
    assert parameter.data_ptr() == weights[name].data_ptr()
    other = {**weights, name: weights[name] + 1.0}
    model.mount(other)
    assert parameter.data_ptr() == other[name].data_ptr()
    model.mount(weights)
    assert same_bits(model.weights(), weights)


def test_a_tensor_that_begins_anywhere_is_read_anew_each_time_it_is_mounted() -> None:
    """Its copy is the model's, and the tensor may have been written to since."""
    model = toy_model()
    name = TensorName("head.bias")
    weights = copy_of(model.weights())
    odd = torch.zeros(len(weights[name]) + 1)[1:]
    model.mount({**weights, name: odd})
    odd += 1.0
    model.mount({**weights, name: odd})
    assert model.weights()[name].tolist() == odd.tolist()


def test_a_module_that_was_switched_by_somebody_else_is_switched_back() -> None:
    model = toy_model()
    model.set_training()
    model.set_evaluation()
    assert not any(module.training for module in model.module.modules())
    model.set_training()
    assert all(module.training for module in model.module.modules())
    next(iter(model.module.children())).eval()
    model.set_training()
    assert all(module.training for module in model.module.modules())
