from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fedstrata.domain.ids import LayerName
from fedstrata.errors import ModelError
from fedstrata.models.flops import BlockFlops, layer_flops
from fedstrata.models.meta import meta_flops, meta_inputs
from fedstrata.models.partition import partition


class Chain(nn.Module):
    """Two blocks of one 4x4 product each and a 4x2 head."""

    def __init__(self, *, broken: str = "") -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU()) for _ in range(2))
        self.head = nn.Linear(4, 2, bias=False)
        self.broken = broken

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.broken == "first":
            raise RuntimeError("no way in. Read on")
        for block in self.blocks:
            x = block(x)
        if self.broken == "last":
            raise RuntimeError("no way out. Read on")
        return self.head(x)  # type: ignore[no-any-return]


def chain(*, broken: str = "") -> Chain:
    with torch.device("meta"):
        return Chain(broken=broken)


ROWS = {"x": torch.empty(8, 4, device="meta")}
BLOCK = BlockFlops(forward=2 * 8 * 4 * 4, activation_gradient=2 * 8 * 4 * 4, weight_gradient=2 * 8 * 4 * 4)


def test_product_costs_two_operations_per_multiply_add_each_way() -> None:
    net = chain()
    report = layer_flops(net, partition(net), ROWS)
    assert report.blocks == {"blocks.0": BLOCK, "blocks.1": BLOCK, "head": BlockFlops(128, 128, 128)}
    assert report.problem is None


def test_block_used_twice_costs_twice() -> None:
    net = chain()
    net.blocks.append(net.blocks[0])
    layers = partition(net)
    assert layer_flops(net, layers, ROWS).blocks[LayerName("blocks.0")] == BLOCK + BLOCK


def test_embedding_has_no_gradient_of_its_input_and_no_products() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    report = layer_flops(net, partition(net), {"input": torch.ones(8, dtype=torch.long, device="meta")})
    assert report.blocks[LayerName("0")] == BlockFlops(0, 0, 0)


def test_depthwise_convolution_costs_as_much_for_each_gradient_as_forward() -> None:
    with torch.device("meta"):
        net = nn.Sequential(*(nn.Conv2d(6, 6, 3, padding=1, groups=6) for _ in range(2)))
    report = layer_flops(net, partition(net), {"input": torch.empty(2, 6, 5, 5, device="meta")})
    once = 2 * 2 * 25 * 6 * 9  # two operations, rows, places, channels, window
    assert report.blocks[LayerName("0")] == BlockFlops(once, once, once)


def test_forward_that_stops_late_leaves_the_rest_unmeasured_and_says_why() -> None:
    net = chain(broken="last")
    report = layer_flops(net, partition(net), ROWS)
    assert set(report.blocks) == {"blocks.0", "blocks.1"}
    assert report.problem == "RuntimeError: no way out"


def test_forward_that_reaches_no_layer_is_an_error() -> None:
    net = chain(broken="first")
    with pytest.raises(ModelError, match="its forward pass fails: RuntimeError: no way in"):
        layer_flops(net, partition(net), ROWS)


def test_measuring_leaves_mode_and_gradient_flags_alone() -> None:
    net = chain().train()
    net.head.requires_grad_(requires_grad=False)
    layer_flops(net, partition(net), ROWS)
    assert net.training
    assert [p.requires_grad for p in net.parameters()] == [True, True, False]


TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 9}
IMAGE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8, "patch_size": 2}
MODELS: list[tuple[Any, Any]] = [
    (tf.ViTForImageClassification, tf.ViTConfig(**IMAGE)),
    (tf.BertForSequenceClassification, tf.BertConfig(**TEXT)),
    (tf.ModernBertForSequenceClassification, tf.ModernBertConfig(**{**TEXT, "pad_token_id": 0})),
    (tf.LlamaForSequenceClassification, tf.LlamaConfig(**TEXT)),
    (tf.GPT2ForSequenceClassification, tf.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=9)),
    (
        tf.SwinForImageClassification,
        tf.SwinConfig(image_size=32, depths=[2, 2], num_heads=[2, 2], embed_dim=8, window_size=4),
    ),
    (tf.ConvNextForImageClassification, tf.ConvNextConfig(hidden_sizes=[8, 16], depths=[2, 2], num_stages=2)),
    (tf.ResNetForImageClassification, tf.ResNetConfig(hidden_sizes=[16, 32], depths=[2, 2], embedding_size=8)),
]


@pytest.mark.parametrize(("model_class", "config"), MODELS, ids=[m.__name__ for m, _ in MODELS])
def test_blocks_add_up_to_the_whole_model(model_class: Any, config: Any) -> None:  # noqa: ANN401
    with torch.device("meta"):
        model = model_class(config).eval()
    layers = partition(model)
    report, _ = meta_flops(model, layers, batch=1, length=8)
    assert report.problem is None
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation("eager")
    assert sum(b.forward for b in report.blocks.values()) == whole_forward(model)


def whole_forward(model: nn.Module) -> int:
    for mask in (False, True):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            try:
                model(**meta_inputs(model, batch=1, length=8, mask=mask))
            except RuntimeError:
                continue
        return int(counter.get_total_flops())
    raise AssertionError("the model does not run on the meta device")


def test_training_a_transformer_block_costs_about_twice_its_forward() -> None:
    with torch.device("meta"):
        model = tf.BertForSequenceClassification(tf.BertConfig(num_hidden_layers=2))
    layers = partition(model)
    block = meta_flops(model, layers)[0].blocks[layers.names[0]]
    assert block.backward == 2 * block.forward
    products = 2 * 128 * (4 * 768 * 768 + 2 * 768 * 3072) + 2 * 2 * 128 * 128 * 768
    assert block.forward == products


def test_measuring_restores_the_attention_implementation() -> None:
    with torch.device("meta"):
        model = tf.BertForSequenceClassification(tf.BertConfig(**TEXT))
    meta_flops(model, partition(model), length=8)
    assert model.config._attn_implementation == "sdpa"


def test_model_that_does_not_say_what_it_takes_is_an_error() -> None:
    with pytest.raises(ModelError, match="does not say what input it takes"):
        meta_inputs(chain())
