from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

from fedstrata.domain.layers import Layer, LayerMap
from fedstrata.errors import LayerError, ModelError
from fedstrata.models.partition import partition

TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
    "pad_token_id": 0,
    "num_labels": 4,
}
CAUSAL = {**TEXT, "num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 2, "bos_token_id": 1}
IMAGE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 8,
    "patch_size": 2,
    "num_labels": 4,
}
TOWER = {key: value for key, value in IMAGE.items() if key != "num_labels"}
GPT2: dict[str, Any] = {"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 50, "pad_token_id": 0}
T5: dict[str, Any] = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 2,
    "vocab_size": 50,
    "decoder_start_token_id": 0,
    "eos_token_id": 1,
}
CLIP_TINY = {"vision_config": TOWER, "text_config": {"hidden_size": 16, "num_attention_heads": 2}, "num_labels": 4}
CLIP_BASE = {"vision_config": {"image_size": 224, "patch_size": 32}, "text_config": {}, "num_labels": 4}
NEXT = {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2, "num_labels": 4}
RES = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2], "num_labels": 4}
SWIN: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": [2, 1],
    "num_heads": [2, 2],
    "window_size": 4,
}

# name: (model class, config class, tiny settings, layers, real settings, layers, first layer, always, never)
Row = tuple[type, type, dict[str, Any], int, dict[str, Any], int, str, list[str], list[str]]
ARCHITECTURES: dict[str, Row] = {
    "vit": (
        *(tf.ViTForImageClassification, tf.ViTConfig, IMAGE, 3, {}, 12),
        *("vit.layers.0", ["vit.layernorm", "classifier"], ["vit.embeddings"]),
    ),
    "clip": (
        *(tf.CLIPForImageClassification, tf.CLIPConfig, CLIP_TINY, 3, CLIP_BASE, 12),
        "vision_model.encoder.layers.0",
        ["vision_model.post_layernorm", "classifier"],
        ["vision_model.embeddings", "vision_model.pre_layrnorm"],
    ),
    "clip-vision": (
        *(tf.CLIPVisionModel, tf.CLIPVisionConfig, TOWER, 3, {}, 12),
        *("encoder.layers.0", ["post_layernorm"], ["embeddings", "pre_layrnorm"]),
    ),
    "dinov2": (
        *(tf.Dinov2ForImageClassification, tf.Dinov2Config, IMAGE, 3, {}, 12),
        *("dinov2.encoder.layer.0", ["dinov2.layernorm", "classifier"], ["dinov2.embeddings"]),
    ),
    "bert": (
        *(tf.BertForSequenceClassification, tf.BertConfig, TEXT, 3, {}, 12),
        *("bert.encoder.layer.0", ["bert.pooler", "classifier"], ["bert.embeddings"]),
    ),
    "roberta": (
        *(tf.RobertaForSequenceClassification, tf.RobertaConfig, TEXT, 3, {}, 12),
        *("roberta.encoder.layer.0", ["classifier"], ["roberta.embeddings"]),
    ),
    "xlm-roberta": (
        *(tf.XLMRobertaForSequenceClassification, tf.XLMRobertaConfig, TEXT, 3, {}, 12),
        *("roberta.encoder.layer.0", ["classifier"], ["roberta.embeddings"]),
    ),
    "distilbert": (
        *(tf.DistilBertForSequenceClassification, tf.DistilBertConfig),
        *({"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "vocab_size": 50}, 3, {}, 6),
        *("distilbert.transformer.layer.0", ["pre_classifier", "classifier"], ["distilbert.embeddings"]),
    ),
    "modernbert": (
        *(tf.ModernBertForSequenceClassification, tf.ModernBertConfig, TEXT, 3, {}, 22),
        *("model.layers.0", ["model.final_norm", "head", "classifier"], ["model.embeddings", "model.rotary_emb"]),
    ),
    "llama": (
        *(tf.LlamaForSequenceClassification, tf.LlamaConfig, CAUSAL, 3, {"pad_token_id": 0}, 32),
        *("model.layers.0", ["model.norm", "score"], ["model.embed_tokens", "model.rotary_emb"]),
    ),
    "qwen2": (
        *(tf.Qwen2ForSequenceClassification, tf.Qwen2Config, CAUSAL, 3, {"num_hidden_layers": 24}, 24),
        *("model.layers.0", ["model.norm", "score"], ["model.embed_tokens", "model.rotary_emb"]),
    ),
    "qwen3": (
        *(tf.Qwen3ForSequenceClassification, tf.Qwen3Config, CAUSAL, 3, {"num_hidden_layers": 28}, 28),
        *("model.layers.0", ["model.norm", "score"], ["model.embed_tokens", "model.rotary_emb"]),
    ),
    "gpt2": (
        *(tf.GPT2ForSequenceClassification, tf.GPT2Config, GPT2, 3, {}, 12),
        *("transformer.h.0", ["transformer.ln_f", "score"], ["transformer.wte", "transformer.wpe"]),
    ),
    "t5": (
        *(tf.T5ForSequenceClassification, tf.T5Config, T5, 5, {}, 12),
        "transformer.encoder.block.0",
        ["transformer.decoder.final_layer_norm", "classification_head"],
        [
            "transformer.shared",
            "transformer.encoder.embed_tokens",
            "transformer.encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
            "transformer.decoder.embed_tokens",
            "transformer.decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
        ],
    ),
    "swin": (
        *(tf.SwinForImageClassification, tf.SwinConfig, SWIN, 3, {"depths": [2, 2, 6, 2]}, 12),
        *("swin.encoder.layers.0.blocks.0", ["swin.layernorm", "classifier"], ["swin.embeddings"]),
    ),
    "convnext": (
        *(tf.ConvNextForImageClassification, tf.ConvNextConfig, NEXT, 3, {"depths": [3, 3, 9, 3]}, 18),
        *("convnext.encoder.stages.0.layers.0", ["convnext.layernorm", "classifier"], ["convnext.embeddings"]),
    ),
    "resnet": (
        *(tf.ResNetForImageClassification, tf.ResNetConfig, RES, 3, {"depths": [3, 4, 6, 3]}, 16),
        *("resnet.encoder.stages.0.layers.0", ["classifier"], ["resnet.embedder"]),
    ),
}
each = pytest.mark.parametrize("name", list(ARCHITECTURES))


def build(name: str, settings: dict[str, Any], device: str) -> nn.Module:
    model_class, config_class = ARCHITECTURES[name][:2]
    with torch.device(device):
        model: nn.Module = model_class(config_class(**settings))
    return model.eval()


def blocks_of(layers: LayerMap) -> tuple[Layer, ...]:
    return (*layers.never, *layers.layers, *layers.always)


def assert_every_parameter_once(layers: LayerMap, model: nn.Module) -> None:
    counted = Counter(str(t.name) for block in blocks_of(layers) for t in block.tensors)
    assert counted == Counter(name for name, _ in model.named_parameters())
    listed = Counter(name for block in blocks_of(layers) for name in block.buffers)
    assert listed == Counter(name for name, _ in model.named_buffers(remove_duplicate=False))


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


def batch_for(model: nn.Module, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    if model.main_input_name == "pixel_values":
        side = 32 if "hidden_sizes" in settings else 16 if "embed_dim" in settings else 8
        return {"pixel_values": torch.zeros(1, 3, side, side)}
    ids = torch.tensor([[5, 6, 7, 1]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


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
