from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

from architectures import ARCHITECTURES, CAUSAL, IMAGE, TEXT, assert_every_parameter_once, batch_for, build
from fedstrata.domain.layer_language import parse_layers
from fedstrata.errors import ModelError
from fedstrata.models.partition import partition
from fedstrata.models.sublayers import halves

BODIES = [name for name in ARCHITECTURES if name not in ("convnext", "resnet")]

# what the attention half and the MLP half of the first block consist of, under the block's path
EXPECTED: dict[str, tuple[set[str], set[str]]] = {
    "vit": ({"layernorm_before", "attention"}, {"layernorm_after", "mlp"}),
    "clip": ({"layer_norm1", "self_attn"}, {"layer_norm2", "mlp"}),
    "dinov2": ({"norm1", "attention", "layer_scale1"}, {"norm2", "mlp", "layer_scale2"}),
    "bert": ({"attention"}, {"intermediate", "output"}),
    "roberta": ({"attention"}, {"intermediate", "output"}),
    "xlm-roberta": ({"attention"}, {"intermediate", "output"}),
    "distilbert": ({"attention", "sa_layer_norm"}, {"ffn", "output_layer_norm"}),
    "modernbert": ({"attn_norm", "attn"}, {"mlp_norm", "mlp"}),
    "llama": ({"input_layernorm", "self_attn"}, {"post_attention_layernorm", "mlp"}),
    "qwen2": ({"input_layernorm", "self_attn"}, {"post_attention_layernorm", "mlp"}),
    "gpt2": ({"ln_1", "attn"}, {"ln_2", "mlp"}),
    "t5": ({"layer.0"}, {"layer.1"}),
    "swin": ({"layernorm_before", "attention"}, {"layernorm_after", "mlp"}),
}


@pytest.mark.parametrize("name", BODIES)
def test_every_parameter_of_a_block_is_in_one_half_and_attention_comes_first(name: str) -> None:
    model = build(name, ARCHITECTURES[name][2], "meta")
    whole, found = partition(model), partition(model, units="halves")
    assert_every_parameter_once(found, model)
    assert found.names == tuple(f"{block}.{half}" for block in whole.names for half in ("attention", "mlp"))
    for index, block in enumerate(whole):
        attention, mlp = found.layers[2 * index : 2 * index + 2]
        assert sorted((*attention.tensor_names, *mlp.tensor_names)) == sorted(block.tensor_names)
    assert [b.name for b in (*found.always, *found.never)] == [b.name for b in (*whole.always, *whole.never)]


@pytest.mark.parametrize("name", EXPECTED)
def test_norm_goes_with_the_half_that_it_serves(name: str) -> None:
    model = build(name, ARCHITECTURES[name][2], "meta")
    block, first, second = partition(model).names[0], *partition(model, units="halves").layers[:2]
    assert tuple({p.removeprefix(f"{block}.") for p in half.parts} for half in (first, second)) == EXPECTED[name]


@pytest.mark.parametrize("name", BODIES)
def test_halves_are_in_the_order_in_which_the_model_runs_them(name: str) -> None:
    settings = ARCHITECTURES[name][2]
    model = build(name, settings, "cpu")
    layers = partition(model, units="halves")
    ran: list[str] = []
    for half in layers:
        for part in half.parts:
            model.get_submodule(part).register_forward_hook(
                lambda *_, n=half.name: ran.append(n) if n not in ran[-1:] else None
            )
    model(**batch_for(model, settings))
    assert ran == list(layers.names)


@pytest.mark.parametrize(
    ("model_class", "config", "half"),
    [
        (tf.LlamaModel, tf.LlamaConfig(**CAUSAL), "mlp"),
        (tf.Glm4Model, tf.Glm4Config(**CAUSAL), "mlp"),
        (tf.Gemma2Model, tf.Gemma2Config(**CAUSAL), "attention"),
        (tf.Olmo2Model, tf.Olmo2Config(**{k: v for k, v in CAUSAL.items() if k != "head_dim"}), "attention"),
    ],
    ids=["before the MLP", "before the MLP, with another after attention", "with others around the MLP", "post-norm"],
)
def test_norm_that_is_named_for_what_it_follows_goes_with_what_it_serves(
    model_class: Any,  # noqa: ANN401
    config: Any,  # noqa: ANN401
    half: str,
) -> None:
    with torch.device("meta"):
        layers = partition(model_class(config), units="halves")
    owner = [str(h.name) for h in layers if any("post_attention_layernorm" in name for name in h.tensor_names)]
    assert owner == [f"layers.{i}.{half}" for i in range(3)]


def test_parameters_that_a_block_holds_itself_go_by_their_names() -> None:
    with torch.device("meta"):
        model = tf.BeitForImageClassification(tf.BeitConfig(**IMAGE))
    layers = partition(model, units="halves")
    assert_every_parameter_once(layers, model)
    assert layers.layers[0].tensor_names[0].endswith("lambda_1")
    assert any(name.endswith("lambda_2") for name in layers.layers[1].tensor_names)


def test_decoder_s_cross_attention_is_of_the_attention_half() -> None:
    with torch.device("meta"):
        model = tf.GPT2Model(tf.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50, add_cross_attention=True))
    first = partition(model, units="halves").layers[0]
    assert {p.rpartition(".")[2] for p in first.parts} == {"ln_1", "attn", "crossattention", "ln_cross_attn"}


def test_parts_without_parameters_that_both_halves_use_are_of_neither() -> None:
    block = build("vit", IMAGE, "meta").get_submodule("vit.layers.0")
    assert "dropout" in dict(block.named_children())
    assert not any(half.holds("dropout") for half in halves(block, "vit.layers.0"))


def children(**parts: nn.Module) -> nn.Module:
    return nn.ModuleDict(parts)


def linear() -> nn.Module:
    return nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (
            children(conv=linear(), norm=nn.LayerNorm(2)),
            "children: 'conv', 'norm') has no part that reads",
        ),
        (children(norm1=nn.LayerNorm(2), mlp=linear()), "has no part that reads like attention"),
        (children(attn=linear(), norm2=nn.LayerNorm(2)), "has no part that reads like an MLP"),
        (children(attn=linear(), mlp=linear(), gate=linear()), "nothing tells which half 'gate' is of"),
    ],
    ids=["no attention", "a norm is no attention", "a norm is no MLP", "unknown part"],
)
def test_block_that_cannot_be_split_is_an_error_that_lists_its_children(block: nn.Module, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        halves(block, "h.0")
    assert words in str(caught.value)
    assert str(caught.value).startswith("model.units: block 'h.0' (ModuleDict")
    assert str(caught.value).endswith("set model.units to blocks")


@pytest.mark.parametrize("name", ["convnext", "resnet"])
def test_network_without_attention_has_no_halves(name: str) -> None:
    with pytest.raises(ModelError, match="has no part that reads like attention"):
        partition(build(name, ARCHITECTURES[name][2], "meta"), units="halves")


def test_layer_language_names_halves() -> None:
    layers = partition(build("bert", TEXT, "meta"), units="halves")
    assert sorted(parse_layers("/attention/", layers)) == [0, 2, 4]
    assert sorted(parse_layers(["layer.1.mlp", "bert.2.attention"], layers)) == [3, 4]
    assert sorted(parse_layers("last:1", layers)) == [5]


def test_roles_are_given_to_halves() -> None:
    layers = partition(build("vit", IMAGE, "meta"), units="halves", candidates="/mlp/", always="2.attention")
    assert layers.names == tuple(f"vit.layers.{i}.mlp" for i in range(3))
    assert [b.name for b in layers.always] == ["vit.layers.2.attention", "vit.layernorm", "classifier"]
    assert [b.name for b in layers.never[1:]] == ["vit.layers.0.attention", "vit.layers.1.attention"]


def test_block_that_is_one_module_needs_no_list_of_parts() -> None:
    assert [layer.parts for layer in partition(build("vit", IMAGE, "meta"))] == [()] * 3
