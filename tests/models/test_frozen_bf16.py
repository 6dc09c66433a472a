from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from torch import nn

from executed_steps import MODELS, Bench, predicted
from fedstrata.client.resident import ResidentModel
from fedstrata.client.train import train
from fedstrata.data.tensors import TensorRows
from fedstrata.models.export import save_model
from fedstrata.models.fake import fake_model
from fedstrata.models.form import Base, Form, Lora
from fedstrata.models.frozen_bf16 import set_base
from fedstrata.models.hub import load_model
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.lora import adapt
from fedstrata.models.objective import run
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step
from fedstrata.wire.messages import TrainPlan
from small_models import save_bert


def _load(folder: Path, base: Base, adapter: Lora | None = Lora(rank=2)) -> LoadedModel:  # noqa: B008  a value
    return load_model(
        folder, task="text-classification", labels=["a", "b"], form=Form(adapter=adapter, base_dtype=base)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("base") / "bert")


@pytest.mark.parametrize("adapter", [None, Lora(rank=2)])
def test_what_nobody_trains_takes_half_the_bytes_and_the_rest_stays_float32(folder: Path, adapter: Lora | None) -> None:
    whole, half = _load(folder, "fp32", adapter), _load(folder, "bf16", adapter)
    named = dict(half.model.named_parameters())
    assert {named[t.name].dtype for b in half.layers.never for t in b.tensors} == {torch.bfloat16}
    assert {named[t.name].dtype for b in half.layers.trainable for t in b.tensors} == {torch.float32}
    assert [b.bytes for b in half.layers.never] == [b.bytes // 2 for b in whole.layers.never]
    assert half.layers.trainable == whole.layers.trainable
    assert fake_model(str(folder), num_labels=2, form=Form(adapter=adapter, base_dtype="bf16")).layers == half.layers


@pytest.mark.parametrize("adapter", [None, Lora(rank=2)])
def test_a_run_on_it_comes_close_to_one_in_float32(folder: Path, adapter: Lora | None) -> None:
    rows = TensorRows(
        {"input_ids": torch.randint(5, 30, (8, 6)), "attention_mask": torch.ones(8, 6).long()}, torch.arange(8) % 2
    )
    deltas = []
    for base in ("fp32", "bf16"):
        loaded = _load(folder, base, adapter)
        model = ResidentModel(loaded.model, loaded.layers)
        weights = model.weights()
        result = train(
            model,
            weights,
            mask=loaded.layers.everything,
            rows=rows,
            indices=torch.arange(8),
            plan=TrainPlan(steps=2, epochs=None, batch_size=8, lr=0.1),
            rng=np.random.default_rng(0),
        )
        assert {d.dtype for d in result.deltas.values()} == {torch.float32}
        assert set(model.frozen_drift().values()) == {0.0}
        deltas.append(torch.cat([d.flatten() for d in result.deltas.values()]))
    first, second = deltas
    assert torch.nn.functional.cosine_similarity(first, second, dim=0) > 0.98


def test_the_exported_folder_is_float32_with_the_adapter_unrounded(folder: Path, tmp_path: Path) -> None:
    loaded = _load(folder, "bf16")
    state = {t.name: torch.full(t.shape, 0.01) for b in loaded.layers.layers for t in b.tensors}
    out = save_model(loaded, state, tmp_path / "out", card="", tokenizer_files_from=folder)
    assert json.loads((out / "config.json").read_text())["dtype"] == "float32"
    again = tf.AutoModelForSequenceClassification.from_pretrained(out)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    for name, value in (("bert.encoder.layer.0.attention.self.query", 16 / 2 * 2 * 0.01**2),):
        stored = tf.AutoModel.from_pretrained(folder).get_parameter(f"{name.removeprefix('bert.')}.weight")
        torch.testing.assert_close(
            again.get_parameter(f"{name}.weight"), stored.bfloat16().float() + value, rtol=0, atol=1e-8
        )


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_memory_is_predicted_as_it_is_held(name: str) -> None:
    torch.manual_seed(0)
    network = MODELS[name]()
    layers = set_base(network, adapt(network, partition(network), Lora(rank=2)), "bf16")
    bench = Bench(network, layers=layers)
    profile = measure_step(network, layers, bench.inputs)
    for mask in (frozenset[int](), frozenset({1, 3}), layers.everything):
        real, composed = bench.step(mask), predicted(profile, bench, mask)
        assert profile.flops(mask) == real.flops, sorted(mask)
        assert composed.peak == pytest.approx(real.peak, rel=0.1), sorted(mask)


def test_a_network_that_gets_its_base_after_a_forward_pass_multiplies_in_it_from_then_on() -> None:
    network = nn.Sequential(nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 2))
    rows = {"x": torch.tensor([1, 2])}
    assert run(network, rows).dtype is torch.float32
    set_base(network, partition(network), "bf16")
    assert run(network, rows).dtype is torch.bfloat16
