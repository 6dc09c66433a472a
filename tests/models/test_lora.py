from __future__ import annotations

import sys
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

from architectures import ARCHITECTURES, GPT2, IMAGE, assert_every_parameter_once, batch_for, build
from fedstrata.client.probe import probe
from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.stats import Statistic
from fedstrata.errors import LayerError, ModelError
from fedstrata.models.custom import load_custom
from fedstrata.models.fake import fake_model
from fedstrata.models.form import Form, Lora
from fedstrata.models.hub import load_model
from fedstrata.models.lora import adapt
from fedstrata.models.partition import partition
from fedstrata.scores.relative_gradient_norm import RelativeGradientNorm
from small_models import save_bert

SMALL = Lora(rank=2, alpha=4)


def adapted(name: str, adapter: Lora = SMALL, *, seed: int = 0, **roles: Any) -> tuple[nn.Module, LayerMap]:  # noqa: ANN401
    torch.manual_seed(1)
    model = build(name, ARCHITECTURES[name][2], "cpu")
    units = roles.get("units", "blocks")
    return model, adapt(model, partition(model, **roles), adapter, seed=seed, units=units)


@pytest.mark.parametrize("units", ["blocks", "halves"])
@pytest.mark.parametrize("name", ["vit", "bert", "gpt2", "llama", "t5"])
def test_layers_keep_their_names_and_are_made_of_matrices_alone(name: str, units: Any) -> None:  # noqa: ANN401
    settings = ARCHITECTURES[name][2]
    plain = partition(build(name, settings, "meta"), units=units)
    model, layers = adapted(name, units=units)
    assert_every_parameter_once(layers, model)
    assert layers.names == plain.names
    assert [b.name for b in layers.always] == [b.name for b in plain.always]
    for layer, before in zip(layers, plain, strict=True):
        assert all(".lora_A." in n or ".lora_B." in n for n in layer.tensor_names)
        base = next(b for b in layers.never if b.name == f"{layer.name}.base")
        assert base.parameters == before.parameters
        assert not any("lora" in n for n in base.tensor_names)


def test_rank_that_no_weight_has_is_refused_before_memory_is_taken_for_it() -> None:
    adapted("bert", Lora(rank=16))
    with pytest.raises(ModelError, match=r"model.adapter.rank: 1,000,000,000 is larger .* \(16 at most\); lower it"):
        adapted("bert", Lora(rank=10**9))


def test_linear_module_of_a_block_gets_rank_rows_and_columns() -> None:
    _, layers = adapted("bert")
    shapes = {str(t.name): t.shape for t in layers.layers[0].tensors}
    assert len(shapes) == 2 * 6  # query, key, value, two outputs, intermediate
    assert shapes["bert.encoder.layer.0.intermediate.dense.lora_A.default.weight"] == (2, 16)
    assert shapes["bert.encoder.layer.0.intermediate.dense.lora_B.default.weight"] == (32, 2)


@pytest.mark.parametrize("name", ["vit", "bert", "gpt2"])
def test_adapted_model_starts_as_the_model_that_it_adapts(name: str) -> None:
    torch.manual_seed(1)
    plain = build(name, ARCHITECTURES[name][2], "cpu")
    model, _ = adapted(name)
    batch = batch_for(plain, ARCHITECTURES[name][2])
    assert torch.equal(plain(**batch).logits, model(**batch).logits)


def test_matrices_follow_from_the_seed_and_the_global_stream_does_not_move() -> None:
    before = torch.random.get_rng_state()

    def matrices(seed: int) -> list[torch.Tensor]:
        torch.random.set_rng_state(before)
        model = build("vit", IMAGE, "cpu")
        after_building = torch.random.get_rng_state()
        adapt(model, partition(model), SMALL, seed=seed)
        assert torch.equal(after_building, torch.random.get_rng_state())
        return [p for n, p in model.named_parameters() if ".lora_A." in n]

    first, again, other = matrices(3), matrices(3), matrices(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_first_gradient_is_zero_for_a_and_not_for_b_and_every_score_is_finite() -> None:
    model, layers = adapted("vit")
    resident = ResidentModel(model, layers)
    rows = TensorRows({"pixel_values": torch.randn(8, 3, 8, 8)}, torch.arange(8) % 4)
    weights = resident.weights()
    stats, _ = probe(
        resident, weights, rows=rows, indices=torch.arange(8), batch_size=4, statistics=frozenset(Statistic)
    )
    for layer, found in zip(layers, stats, strict=True):
        for spec, tensor in zip(layer.tensors, found.tensors, strict=True):
            assert (tensor.grad_sq == 0) == (".lora_A." in spec.name)
            assert (tensor.weight_sq == 0) == (".lora_B." in spec.name)
            assert all(v is None or isfinite(v) for v in (tensor.half_dot, tensor.snr_sum, tensor.noise_sum))
        norm = sqrt(sum(t.grad_sq for t in found.tensors)) / sqrt(sum(t.weight_sq for t in found.tensors))
        assert RelativeGradientNorm()(found) == pytest.approx(norm)


def test_targets_are_names_or_endings_of_paths() -> None:
    _, layers = adapted("bert", Lora(rank=2, targets=("query", "intermediate.dense")))
    ends = {str(n).split(".lora_")[0].removeprefix("bert.encoder.layer.0.") for n in layers.layers[0].tensor_names}
    assert ends == {"attention.self.query", "intermediate.dense"}


def test_blocks_that_nobody_trains_get_no_matrices() -> None:
    model, layers = adapted("vit", candidates="last:1")
    assert layers.names == ("vit.layers.2",)
    assert {n.split(".")[2] for n, _ in model.named_parameters() if ".lora_" in n} == {"2"}
    assert [b.name for b in layers.never] == ["vit.embeddings", "vit.layers.0", "vit.layers.1", "vit.layers.2.base"]


def test_block_that_everyone_trains_is_adapted_too() -> None:
    _, layers = adapted("vit", always=0)
    assert [b.name for b in layers.always] == ["vit.layers.0", "vit.layernorm", "classifier"]
    assert all(".lora_" in name for name in layers.always[0].tensor_names)
    assert "vit.layers.0.base" in [b.name for b in layers.never]


def test_own_weights_of_a_layer_cannot_be_asked_for() -> None:
    with pytest.raises(LayerError, match=r"no block is named 'layers\.0\.base'"):
        adapted("vit", always="layers.0.base")


@pytest.mark.parametrize(
    ("name", "adapter", "roles", "words"),
    [
        ("bert", Lora(targets=("qeury",)), {}, "no linear module of a layer is named 'qeury'; did you mean 'query'"),
        ("bert", Lora(targets=("LayerNorm",)), {}, "target 'LayerNorm' is a LayerNorm; LoRA adapts linear modules"),
        ("bert", Lora(targets=("classifier",)), {}, "no linear module of a layer is named 'classifier'"),
        (
            "bert",
            Lora(targets=("query",)),
            {"units": "halves"},
            "layer.0.mlp' has no module named 'query'",
        ),
        ("resnet", Lora(), {}, "layer 'resnet.encoder.stages.0.layers.0' has no linear module"),
    ],
)
def test_target_that_adapts_nothing_is_an_error(name: str, adapter: Lora, roles: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        adapted(name, adapter, **roles)
    assert str(caught.value).startswith("model.adapter: ")
    assert words in str(caught.value)


def test_layer_without_a_target_may_be_left_out_of_the_candidates() -> None:
    _, layers = adapted("bert", Lora(rank=2, targets=("query",)), units="halves", candidates="/attention/")
    assert [len(layer.tensors) for layer in layers] == [2, 2, 2]


def test_layers_that_share_weights_are_an_error() -> None:
    shared = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    net = nn.ModuleDict({"h": nn.ModuleList([shared, nn.Sequential(nn.Linear(4, 4), nn.ReLU()), shared])})
    with pytest.raises(ModelError, match=r"layer 'h\.0' shares weights with 'h\.2'"):
        adapt(net, partition(net), SMALL)


def test_fused_attention_which_would_pass_the_matrices_by_is_an_error() -> None:
    net = nn.ModuleDict({"h": nn.ModuleList(nn.TransformerEncoderLayer(4, 2, 8) for _ in range(2))})
    with pytest.raises(ModelError, match=r"'h\.0' is torch's TransformerEncoderLayer"):
        adapt(net, partition(net), SMALL)


def test_parameter_that_no_adapter_folder_can_hold_is_an_error() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))
            self.h = nn.ModuleList(nn.Sequential(nn.Linear(4, 4)) for _ in range(2))

    net = Net()
    with pytest.raises(ModelError, match="'scale' is trained by everyone and is a parameter of no module"):
        adapt(net, partition(net, always="scale"), SMALL)


def test_missing_library_is_an_error_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"pip install 'fedstrata\[lora\]'"):
        adapted("vit")


def test_without_an_adapter_nothing_is_changed() -> None:
    model = build("vit", IMAGE, "meta")
    layers = partition(model)
    assert adapt(model, layers, None) is layers


def test_dropout_is_on_in_training_alone() -> None:
    model, _ = adapted("vit", Lora(rank=2, dropout=0.5))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.fill_(0.1)
    batch = batch_for(model, IMAGE)
    batch["pixel_values"] += 1
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    model.train()
    assert not torch.equal(model(**batch).logits, model(**batch).logits)


def test_model_of_a_folder_has_its_head_by_the_same_seed_with_and_without_an_adapter(tmp_path: Path) -> None:
    save_bert(tmp_path / "bert")
    given: dict[str, Any] = {"task": "text-classification", "labels": ["a", "b"], "seed": 5}
    plain = load_model(tmp_path / "bert", **given)
    loaded = load_model(tmp_path / "bert", form=Form(units="halves", adapter=SMALL), **given)
    assert loaded.form.adapter == SMALL
    assert torch.equal(plain.model.classifier.weight, loaded.model.classifier.weight)  # type: ignore[union-attr, arg-type]
    assert len(loaded.layers) == 6
    assert loaded.new_head == plain.new_head
    fake = fake_model(str(tmp_path / "bert"), num_labels=2, form=Form(units="halves", adapter=SMALL))
    assert fake.layers == loaded.layers


def test_custom_network_can_be_adapted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, n))"
    source = f"from torch import nn\ndef net(n):\n    return {body}\n"
    (tmp_path / "lora_nets.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    loaded = load_custom("lora_nets:net", task="image-classification", labels=["a", "b"], form=Form(adapter=SMALL))
    assert loaded.layers.layers[0].tensor_names == ("0.0.lora_A.default.weight", "0.0.lora_B.default.weight")


def test_conv1d_of_gpt2_is_a_linear_module() -> None:
    with torch.device("meta"):
        model = tf.GPT2ForSequenceClassification(tf.GPT2Config(**GPT2))
    layers = adapt(model, partition(model), SMALL)
    shapes = {str(t.name): t.shape for t in layers.layers[0].tensors}
    assert shapes["transformer.h.0.attn.c_attn.lora_A.default.weight"] == (2, 16)
    assert shapes["transformer.h.0.attn.c_attn.lora_B.default.weight"] == (48, 2)
