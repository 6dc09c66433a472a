from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from architectures import ARCHITECTURES, batch_for, build
from fedstrata.domain.ids import TensorName
from fedstrata.models.export import save_model
from fedstrata.models.form import Form, Lora
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.lora import adapt
from fedstrata.models.merging import merged
from fedstrata.models.partition import partition

ADAPTER = Lora(rank=2, alpha=6)
NAMES = ["vit", "bert", "gpt2", "llama"]


def logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        output: Tensor = model(**batch).logits
    return output


class Trained:
    """An adapted model after some training, saved, and its base model's folder."""

    def __init__(self, folder: Path, name: str, adapter: Lora = ADAPTER, **roles: Any) -> None:  # noqa: ANN401
        torch.manual_seed(0)
        self.model = build(name, ARCHITECTURES[name][2], "cpu")
        self.batch = batch_for(self.model, ARCHITECTURES[name][2])
        self.base = folder / "base"
        self.model.save_pretrained(self.base)  # type: ignore[operator]
        self.layers = adapt(
            self.model, partition(self.model, **roles), adapter, seed=3, units=roles.get("units", "blocks")
        )
        trained = {t.name for t in self.layers.tensors_of(self.layers.everything)}
        self.state = {
            TensorName(n): p.detach() + 0.1 * torch.randn_like(p)
            for n, p in self.model.named_parameters()
            if n in trained
        }
        loaded = LoadedModel(
            self.model, self.layers, str(self.base), "image-classification", ("a",), form=Form(adapter=adapter)
        )
        self.folder = save_model(loaded, self.state, folder / "model", card="# Card")

    @property
    def logits(self) -> Tensor:
        state = {str(n): t for n, t in self.state.items()}
        with torch.no_grad():
            output: Tensor = torch.func.functional_call(self.model, state, (), self.batch).logits
        return output

    def read(self, folder: Path) -> nn.Module:
        model: nn.Module = type(self.model).from_pretrained(folder)  # type: ignore[attr-defined]
        return model.eval()


def test_product_is_added_to_the_weight() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 1, bias=False), nn.Identity()), nn.Sequential(nn.Linear(1, 1)))
    adapt(net, partition(net, blocks=["0", "1"]), Lora(rank=1, alpha=3))
    state = dict(net.state_dict())
    state |= {
        "0.0.base_layer.weight": torch.tensor([[1.0, 2.0]]),
        "0.0.lora_A.default.weight": torch.tensor([[1.0, -1.0]]),
        "0.0.lora_B.default.weight": torch.tensor([[0.5]]),
    }
    assert merged(net, state)["0.0.weight"].tolist() == [[2.5, 0.5]]  # + 3 / 1 * 0.5 * (1, -1)
    assert merged(net, state).keys() == {"0.0.weight", "1.0.weight", "1.0.bias"}


@pytest.mark.parametrize("name", NAMES)
def test_merged_folder_is_an_ordinary_one_with_the_same_logits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trained(tmp_path, name)
    assert load_file(made.folder / "model.safetensors").keys() == load_file(made.base / "model.safetensors").keys()
    monkeypatch.setitem(sys.modules, "peft", None)
    found = logits(made.read(made.folder), made.batch)
    assert not torch.allclose(found, logits(made.read(made.base), made.batch), atol=1e-2)
    assert torch.allclose(found, made.logits, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks for it
@pytest.mark.parametrize("name", NAMES)
def test_peft_reads_the_adapter_beside_it(name: str, tmp_path: Path) -> None:
    made = Trained(tmp_path, name)
    model = peft.PeftModel.from_pretrained(made.read(made.base), made.folder / "adapter").eval()
    assert torch.allclose(logits(model, made.batch), made.logits, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapter_of_some_halves_and_of_a_block_that_everyone_trains(tmp_path: Path) -> None:
    made = Trained(tmp_path, "bert", Lora(rank=2), units="halves", candidates="2-3", always=["0.mlp", "embeddings"])
    model = peft.PeftModel.from_pretrained(made.read(made.base), made.folder / "adapter").eval()
    assert torch.allclose(logits(model, made.batch), made.logits, atol=1e-5)
    assert torch.allclose(logits(made.read(made.folder), made.batch), made.logits, atol=1e-5)
    said = json.loads((made.folder / "adapter" / "adapter_config.json").read_text())
    assert {p.removeprefix("bert.encoder.layer.")[0] for p in said["target_modules"]} == {"0", "1"}
    assert said["modules_to_save"] == ["bert.embeddings", "bert.pooler", "classifier"]


def test_adapter_folder_says_what_it_is_and_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    made = Trained(tmp_path, "vit")
    assert sorted(p.name for p in (made.folder / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    text = (made.folder / "adapter" / "adapter_config.json").read_text()
    said = json.loads(text)
    assert (said["peft_type"], said["r"], said["lora_alpha"], said["bias"]) == ("LORA", 2, 6, "none")
    assert said["base_model_name_or_path"] == "base"
    assert str(tmp_path) not in text


def test_model_without_an_adapter_has_no_adapter_folder(tmp_path: Path) -> None:
    model = build("vit", ARCHITECTURES["vit"][2], "cpu")
    loaded = LoadedModel(model, partition(model), "base", "image-classification", ("a", "b"))
    assert not (save_model(loaded, {}, tmp_path / "model", card="") / "adapter").exists()
