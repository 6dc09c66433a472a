from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

from architectures import ARCHITECTURES, GPT2, RES, assert_every_parameter_once, batch_for, blocks_of, build
from fedstrata.errors import LayerError, ModelError
from fedstrata.models.partition import partition

each = pytest.mark.parametrize("name", list(ARCHITECTURES))


@each
def test_real_size_model_is_split_into_its_blocks(name: str) -> None:
    *_, settings, count, first, always, never = ARCHITECTURES[name]
    model = build(name, settings, "meta")
    layers = partition(model)
    assert (len(layers), layers.names[0]) == (count, first)
    assert [b.name for b in layers.always] == always
    assert [b.name for b in layers.never] == never
    assert_every_parameter_once(layers, model)


@each
def test_tiny_model_is_split_into_its_blocks(name: str) -> None:
    settings, count = ARCHITECTURES[name][2:4]
    model = build(name, settings, "meta")
    layers = partition(model)
    assert len(layers) == count
    assert_every_parameter_once(layers, model)


@each
def test_blocks_are_in_the_order_in_which_the_model_runs_them(name: str) -> None:
    settings = ARCHITECTURES[name][2]
    model = build(name, settings, "cpu")
    layers = partition(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    ran: list[str] = []
    for block in blocks_of(layers):
        inside = any(block.name.startswith(f"{other}.") for other in layers.names)
        if block.name in modules and block.tensors and not inside:
            modules[block.name].register_forward_hook(lambda *_, n=block.name: ran.append(n) if n not in ran else None)
    model(**batch_for(model, settings))
    ordered = [str(b.name) for b in blocks_of(layers) if b.name in ran]
    assert ran == ordered
    assert set(layers.names) <= set(ran)


@pytest.mark.parametrize(
    ("name", "between", "owner"),
    [
        ("swin", "swin.encoder.layers.0.downsample.reduction.weight", "swin.encoder.layers.0.blocks.1"),
        ("convnext", "convnext.encoder.stages.1.downsampling_layer.1.weight", "convnext.encoder.stages.1.layers.0"),
        ("t5", "transformer.encoder.final_layer_norm.weight", "transformer.encoder.block.1"),
    ],
)
def test_what_lies_between_two_blocks_joins_the_nearer(name: str, between: str, owner: str) -> None:
    layers = partition(build(name, ARCHITECTURES[name][2], "meta"))
    assert [b.name for b in layers if between in b.tensor_names] == [owner]


def test_batchnorm_statistics_are_listed_with_their_block() -> None:
    layers = partition(build("resnet", RES, "meta"))
    assert "resnet.encoder.stages.0.layers.0.layer.0.normalization.running_mean" in layers.layers[0].buffers


def test_decoder_layers_of_mixture_of_experts_are_layers_not_their_experts() -> None:
    class Moe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(stack() for _ in range(4))

    layers = partition(nn.ModuleDict({"h": nn.ModuleList(Moe() for _ in range(3))}))
    assert layers.names == ("h.0", "h.1", "h.2")


def stack(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU())


def network(*blocks: nn.Module) -> nn.Module:
    return nn.ModuleDict({"embed": nn.Embedding(9, 4), "h": nn.ModuleList(blocks), "head": nn.Linear(4, 9)})


def test_language_model_head_tied_to_frozen_embeddings_is_counted_once() -> None:
    with torch.device("meta"):
        model = tf.GPT2LMHeadModel(tf.GPT2Config(**GPT2))
    layers = partition(model)
    head, table = layers.always[-1], layers.never[0]
    assert (head.name, head.parameters, head.tied_with) == ("lm_head", 0, ("transformer.wte",))
    assert (table.name, table.parameters, table.tied_with) == ("transformer.wte", 800, ("lm_head",))


def test_block_used_twice_is_tied_and_counted_once() -> None:
    shared = stack()
    layers = partition(network(shared, stack(), shared))
    assert [b.parameters for b in layers] == [20, 20, 0]
    assert [b.tied_with for b in layers] == [("h.2",), (), ("h.0",)]


def test_never_owns_a_tensor_that_comes_earlier_elsewhere() -> None:
    model = nn.ModuleDict({"h": nn.ModuleList([stack(), stack()]), "head": nn.Linear(4, 9, bias=False)})
    model["table"] = nn.Embedding(9, 4)
    model["table"].weight = model["head"].weight
    layers = partition(model)
    assert [(b.name, b.parameters) for b in layers.always] == [("head", 0)]
    assert [(b.name, b.tensor_names) for b in layers.never] == [("table", ("head.weight",))]


def test_roles_can_be_overridden_by_name_index_and_group() -> None:
    model = network(stack(), stack(), stack())
    layers = partition(model, candidates="0-1", always="embed", never=["head"])
    assert layers.names == ("h.0", "h.1")
    assert [b.name for b in layers.always] == ["embed"]
    assert [b.name for b in layers.never] == ["h.2", "head"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"candidates": "5"}, "layer 5 does not exist"),
        ({"always": ["haed"]}, "no block is named 'haed'; did you mean 'head'"),
        ({"never": "/conv/"}, "pattern /conv/ matches no block"),
        ({"always": "h.0", "never": 0}, "'h.0' is named by both"),
        ({"candidates": "none"}, "leave no layer to select"),
        ({"never": "all"}, "leave no layer to select"),
    ],
)
def test_wish_that_cannot_be_met_is_an_error(wish: dict[str, Any], words: str) -> None:
    with pytest.raises(LayerError) as caught:
        partition(network(stack(), stack()), **wish)
    assert words in str(caught.value)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def test_network_without_block_lists_says_what_to_pass() -> None:
    with pytest.raises(ModelError, match=r"set model\.blocks to 'children'"):
        partition(mlp())


@pytest.mark.parametrize(
    ("blocks", "layers", "always"),
    [("children", ("0", "2", "4"), []), (["0", "2"], ("0", "2"), ["4"])],
)
def test_blocks_can_be_named(blocks: str | list[str], layers: tuple[str, ...], always: list[str]) -> None:
    found = partition(mlp(), blocks=blocks)
    assert (found.names, [b.name for b in found.always]) == (layers, always)
    assert_every_parameter_once(found, mlp())


def test_naming_a_list_means_its_members() -> None:
    assert partition(network(stack(), stack()), blocks="h").names == ("h.0", "h.1")


@pytest.mark.parametrize(
    ("blocks", "words"),
    [("hh", "'hh' (in 'blocks') does not exist"), (["h.0", "h.0.0"], "lies inside"), ("h.0.1", "has no parameters")],
)
def test_named_block_that_does_not_fit_is_an_error(blocks: str | list[str], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        partition(network(stack(), stack()), blocks=blocks)
    assert words in str(caught.value)


def make_single() -> nn.Module:
    return nn.ModuleDict({"a": nn.Sequential(stack(), stack()), "b": nn.Sequential(stack())})


def make_sequential() -> nn.Module:
    return nn.Sequential(stack(), stack())


@pytest.mark.parametrize(("make", "names"), [(make_single, ("a.0", "a.1", "b.0")), (make_sequential, ("0", "1"))])
def test_small_shapes_of_block_lists(make: Callable[[], nn.Module], names: tuple[str, ...]) -> None:
    assert partition(make()).names == names
