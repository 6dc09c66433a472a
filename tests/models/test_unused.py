"""Blocks that a classifier's logits do not depend on: those of the table, and no others of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

from fedstrata.models.fake import fake_model
from fedstrata.models.hub import load_custom, load_model
from fedstrata.models.partition import partition
from fedstrata.models.unused import UNUSED, without_unused

TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 8,
    "patch_size": 4,
}
CONFIGS = {
    "CLIPForImageClassification": tf.CLIPConfig,
    "MetaClip2ForImageClassification": tf.MetaClip2Config,
    "SiglipForImageClassification": tf.SiglipConfig,
}


def classifier(name: str) -> Any:  # noqa: ANN401
    text = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 9}
    return getattr(tf, name)(CONFIGS[name](vision_config=TOWER, text_config=text, num_labels=3))


def without_gradient(model: nn.Module) -> set[str]:
    model(torch.randn(2, 3, 8, 8)).logits.square().sum().backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is None}


@pytest.mark.parametrize("name", UNUSED)
def test_what_is_frozen_is_what_gets_no_gradient(name: str) -> None:
    model = classifier(name)
    found = without_unused(model, partition(model), ())
    assert found.never[-1].name == UNUSED[name]
    assert set(found.never[-1].tensor_names) == without_gradient(model)


def test_a_block_that_the_user_names_stays_as_they_want_it() -> None:
    model = classifier("CLIPForImageClassification")
    found = partition(model)
    assert without_unused(model, found, ["0", "post_layernorm"]) == found


def test_loaded_and_planned_models_have_the_same_blocks(tmp_path: Path) -> None:
    classifier("CLIPForImageClassification").save_pretrained(tmp_path)
    loaded = load_model(tmp_path, task="image-classification", labels=("a", "b", "c"))
    assert loaded.layers == fake_model(str(tmp_path), num_labels=3).layers
    assert [block.name for block in loaded.layers.always] == ["classifier"]


def test_a_network_of_one_s_own_code_is_planned_with_the_blocks_that_are_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = {"hidden_size": 16, "num_attention_heads": 2}
    config = f"tf.CLIPConfig(vision_config={TOWER}, text_config={text}, num_labels=labels)"
    source = "import transformers as tf\n\n\ndef net(labels):\n    return tf.CLIPForImageClassification("
    (tmp_path / "clip_of_ones_own.py").write_text(f"{source}{config})\n")
    monkeypatch.chdir(tmp_path)
    loaded = load_custom("clip_of_ones_own:net", task="image-classification", labels=("a", "b", "c"))
    assert loaded.layers == fake_model("clip_of_ones_own:net", num_labels=3).layers
    assert [block.name for block in loaded.layers.always] == ["vision_model.post_layernorm", "classifier"]
