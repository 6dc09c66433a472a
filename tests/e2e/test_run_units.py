"""Whole runs whose layers are halves of blocks, matrices of an adapter, or both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification

from fedstrata.assembly.finish import finish
from fedstrata.assembly.run import prepare_run, reopen_run
from fedstrata.assembly.runtime import handler_of
from fedstrata.config.load import check_config
from fedstrata.domain.ids import ClientId
from fedstrata.models.folder_config import EMBEDDED
from fedstrata.server.observers import Quiet
from fedstrata.wire.messages import Train, Update
from small_runs import after, digits, essence, events, never, start
from toy_runs import Assigned

BASE = EMBEDDED["embedded:vit-digits"]
HEAD = {"classifier.weight", "classifier.bias", "vit.layernorm.weight", "vit.layernorm.bias"}
ONE_ROUND = {"rounds": 1, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
BOTH = {"path": "embedded:vit-digits", "units": "halves", "adapter": {"kind": "lora", "rank": 2, "dropout": 0.1}}


def settings(output: Path, model: dict[str, Any], **sections: object) -> dict[str, Any]:
    return digits(output, model={"path": "embedded:vit-digits", **model}, train=ONE_ROUND, cost="layers", **sections)


def moved(run: Path) -> set[str]:
    """Return the weights of what came out, the head aside, that are not those of the base model to the bit."""
    before, since = (AutoModelForImageClassification.from_pretrained(f).state_dict() for f in (BASE, run / "model"))
    return {n for n, value in since.items() if n not in HEAD and not torch.equal(value, before[n])}


def test_selected_half_moves_and_everything_else_keeps_its_bits(tmp_path: Path) -> None:
    start(settings(tmp_path / "run", {"units": "halves"}, selector={"kind": "fixed", "layers": "3.mlp"}))
    found = moved(tmp_path / "run")
    assert {name.split(".")[3] for name in found} == {"layernorm_after", "mlp"}
    assert {name.split(".")[2] for name in found} == {"3"}
    trained = {r["name"] for e in events(tmp_path / "run", "round") for r in e["layers"] if r["contributors"]}
    assert trained == {"vit.layers.3.mlp", "vit.layernorm", "classifier"}


def test_matrices_of_the_selected_layer_move_and_everything_else_keeps_its_bits(tmp_path: Path) -> None:
    adapter = {"kind": "lora", "rank": 2}
    result = start(settings(tmp_path / "run", {"adapter": adapter}, selector={"kind": "fixed", "layers": "3"}))
    changed = {n for n, t in result.weights.items() if ".lora_B." in n and t.any()}
    assert {n.split(".")[2] for n in changed} == {"3"}
    merged = moved(tmp_path / "run")
    assert {f"{n.split('.lora_')[0]}.weight" for n in changed} == merged
    assert (tmp_path / "run" / "model" / "adapter" / "adapter_model.safetensors").exists()
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "- adapter: lora, rank 2, alpha 16" in card
    assert "frozen: vit.embeddings, the layers' own weights" in card


def test_disjoint_masks_are_aggregated_unit_by_unit(tmp_path: Path) -> None:
    data = {"kind": "digits", "held_out": 0.1, "partition": {"kind": "iid", "clients": 2}}
    prepared = prepare_run(check_config(settings(tmp_path / "run", BOTH, data=data), base=Path()))
    masks = {client: frozenset({index}) for index, client in enumerate(map(str, prepared.setting.profiles))}
    method = replace(prepared.setting.method, selector=Assigned(masks))
    prepared = replace(prepared, setting=replace(prepared.setting, method=method))
    handler = handler_of(prepared.loaded, prepared.resident, prepared.data)
    expected: dict[str, torch.Tensor] = {}
    for index, client in enumerate(masks):
        asked = Train(ClientId(client), 0, prepared.weights, masks[client], prepared.setting.train)
        reply = handler.handle(asked)
        assert isinstance(reply, Update)
        names = prepared.setting.layers.layers[index].tensor_names
        expected |= {n: prepared.weights[n] + reply.deltas[n] for n in names}
    result = prepared.run(observer=Quiet(), stop=never).start(prepared.weights)
    assert len(expected) == 8 + 4  # two matrices of query, key, value, output; of two MLP layers
    for name, value in result.weights.items():
        if name in expected:
            assert torch.allclose(value, expected[name], atol=1e-7)
            assert torch.equal(value, prepared.weights[name]) == (".lora_A." in name)
        elif ".lora_" in name:
            assert torch.equal(value, prepared.weights[name])


@pytest.mark.slow
def test_a_run_that_is_resumed_in_a_worker_has_the_bits_of_one_that_is_not(tmp_path: Path) -> None:
    start(digits(tmp_path / "whole", model=BOTH, cost="layers"))
    start(digits(tmp_path / "run", model=BOTH, cost="layers"), stop=after(1))
    prepared = reopen_run(tmp_path / "run", ["engine=processes", "workers=1"])
    finish(prepared, prepared.run(observer=Quiet(), stop=never).resume(prepared.weights))
    assert essence(tmp_path / "run") == essence(tmp_path / "whole")
    adapters = [tmp_path / r / "model" / "adapter" / "adapter_model.safetensors" for r in ("run", "whole")]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()
