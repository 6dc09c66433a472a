from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fedstrata.domain.profile import StepProfile
from fedstrata.errors import ModelError
from fedstrata.models.fake import FakeModel, fake_batch, fake_copy, faked
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import BETWEEN, measure_model, measure_step


class Chain(nn.Module):
    """Two blocks of one 4x4 product each and a 4x2 head."""

    def __init__(self, *, broken: str = "") -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU()) for _ in range(2))
        self.head = nn.Linear(4, 2, bias=False)
        self.broken = broken

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.broken == "values" and x.sum() > 0:
            return x
        for block in self.blocks[: 1 if self.broken == "skips" else None]:
            x = block(x)
        return self.head(x)  # type: ignore[no-any-return]


ROWS = {"x": torch.empty(8, 4)}
PRODUCT = 2 * 8 * 4 * 4


def measured(net: nn.Module, inputs: dict[str, torch.Tensor] | None = None) -> StepProfile:
    return measure_step(net, partition(net), inputs or ROWS)


def test_product_costs_two_operations_per_multiply_add_each_way() -> None:
    profile = measured(Chain())
    assert profile.blocks == ("blocks.0", "blocks.1", "head", BETWEEN)
    assert profile.layer == (0, 1, -1, -2)
    assert profile.forward.tolist() == [PRODUCT, PRODUCT, 128, 0]
    assert profile.weight.tolist() == [PRODUCT, PRODUCT, 128, 0]


def test_gradient_is_carried_through_what_lies_above_the_lowest_layer_alone() -> None:
    profile = measured(Chain())
    assert profile.carry.tolist() == [[0, PRODUCT, 128, 0], [0, 0, 128, 0], [0, 0, 0, 0]]


def test_product_keeps_its_input_for_its_weights_and_relu_its_output() -> None:
    profile = measured(Chain())
    activation = 8 * 4 * 4
    softmax = 8 * 2 * 4 + 8 * 8 + 4  # log-probabilities, labels, their weight
    lowest_0, lowest_1, head_only = profile.saved.tolist()
    assert lowest_0[:3] == [
        activation,
        activation,
        0,
    ]  # the batch lives anyway; a relu keeps its output
    assert lowest_1[:3] == [0, 2 * activation, 0]
    assert head_only[:3] == [0, 0, activation]
    assert lowest_0[3] == lowest_1[3] == head_only[3] <= softmax
    assert profile.saved_extra.tolist() == [0, 0, 0, 0]
    assert profile.batch_bytes == activation


def test_block_used_twice_costs_twice() -> None:
    net = Chain()
    net.blocks.append(net.blocks[0])
    profile = measured(net)
    assert profile.blocks == ("blocks.0", "blocks.1", "head", BETWEEN)
    assert profile.forward.tolist() == [2 * PRODUCT, PRODUCT, 128, 0]
    assert profile.weight.tolist()[0] == 2 * PRODUCT


def test_frozen_table_costs_nothing_backward() -> None:
    net = nn.Sequential(nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Flatten())
    profile = measured(net, {"input": torch.ones(8, 3, dtype=torch.long)})
    assert profile.blocks[0] == "0"
    assert (profile.forward[0], profile.carry[:, 0].sum(), profile.weight[0]) == (0, 0, 0)


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1, groups=6) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks[1](self.blocks[0](x)).mean((2, 3))  # type: ignore[no-any-return]


def test_depthwise_convolution_costs_as_much_for_each_gradient_as_forward() -> None:
    profile = measured(Depthwise(), {"x": torch.empty(2, 6, 5, 5)})
    once = 2 * 2 * 25 * 6 * 9  # two operations, rows, places, channels, window
    assert (profile.forward[1], profile.carry[0, 1], profile.weight[1]) == (once, once, once)


def test_code_that_looks_at_values_is_an_error() -> None:
    with pytest.raises(ModelError, match="cannot measure Chain: DataDependentOutputException"):
        measured(Chain(broken="values"))


def test_layer_that_is_not_run_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"does not call layer 'blocks.1'; leave it out"):
        measured(Chain(broken="skips"))


def test_measuring_leaves_a_model_as_it_was() -> None:
    net = Chain()
    net.head.requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    measured(net.eval())
    assert not net.training
    assert [p.requires_grad for p in net.parameters()] == [True, True, False]
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_measuring_leaves_a_fake_model_as_it_was() -> None:
    net = fake_copy(Chain().eval())
    net.requires_grad_(requires_grad=False)
    first = measure_step(net, partition(net), ROWS)
    assert not net.training
    assert not any(p.requires_grad or p.grad is not None for p in net.parameters())
    assert all("forward" not in vars(module) for module in net.modules())
    again = measure_step(net, partition(net), ROWS)
    assert (first.saved == again.saved).all()


TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 9}
IMAGE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8, "patch_size": 2}
MODELS: list[tuple[Any, Any]] = [
    (tf.ModernBertForSequenceClassification, tf.ModernBertConfig(**{**TEXT, "pad_token_id": 0, "eos_token_id": 1})),
    (tf.GPT2ForSequenceClassification, tf.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=9, pad_token_id=0)),
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
        hollow = model_class(config)
    model = fake_copy(hollow)
    profile = measure_model(FakeModel(model, partition(model), "test"), rows=1, length=8)
    model.set_attn_implementation("eager")  # type: ignore[operator]
    with faked(model, fake_batch(model, rows=1, length=8)) as (_, inputs), FlopCounterMode(display=False) as counter:
        model(**inputs)
    assert profile.forward.sum() == counter.get_total_flops()


def test_training_a_transformer_block_costs_about_twice_its_forward() -> None:
    with torch.device("meta"):
        hollow = tf.BertForSequenceClassification(tf.BertConfig(num_hidden_layers=2))
    profile = measure_model(FakeModel(fake_copy(hollow), partition(hollow), "test"), rows=1)
    top = profile.layer.index(1)
    attention = 2 * 2 * 128 * 128 * 768
    products = 2 * 128 * (4 * 768 * 768 + 2 * 768 * 3072) + attention
    assert profile.forward[top] == products
    assert profile.carry[0, top] + profile.weight[top] == 2 * products


def test_loaded_text_model_is_measured_without_mask_where_it_looks_at_one() -> None:
    class Looks(nn.Module):
        main_input_name = "input_ids"

        def __init__(self) -> None:
            super().__init__()
            self.config = tf.BertConfig(max_position_embeddings=6)
            self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
            if attention_mask is not None and attention_mask.all():
                raise RuntimeError("never here")
            states = input_ids[:, :4].float()
            return self.blocks[1](self.blocks[0](states))  # type: ignore[no-any-return]

    net = Looks()
    profile = measure_model(FakeModel(net, partition(net), "test"), rows=2, length=9)
    assert (profile.rows, profile.length) == (2, 6)


def test_model_that_does_not_say_what_it_takes_is_an_error() -> None:
    with pytest.raises(ModelError, match="does not say what input it takes"):
        fake_batch(Chain())
