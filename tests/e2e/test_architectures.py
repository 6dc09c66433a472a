"""One round of each architecture that the evaluation needs, from a folder as it is published to an exported model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

from questions import SIZES, bytewise, gpt2, llama, questions, qwen2, save_causal, save_questions, sentencewise
from small_models import save_images, save_text
from small_runs import events, start

TOWER = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
TEXT = {"train": "train.jsonl", "test": "test.jsonl", "text": "note", "label": "outcome", "max_length": 16}
IMAGE = {"train": "photos", "test": "photos-test", "image": "image"}
CHOICE = {"train": "qa.jsonl", "test": "qa-test.jsonl", "question": "question", "choices": "choices", "label": "answer"}


def clip(projection: int = 16) -> Any:  # noqa: ANN401
    """Return a whole CLIP: both towers, their projections, the temperature."""
    vision = {**TOWER, "image_size": 8, "patch_size": 4}
    text = {**TOWER, "vocab_size": 9, "max_position_embeddings": 8, "eos_token_id": 2}
    return tf.CLIPModel(tf.CLIPConfig(vision_config=vision, text_config=text, projection_dim=projection))


def xlm_roberta() -> Any:  # noqa: ANN401
    """Return a bare multilingual encoder."""
    config = tf.XLMRobertaConfig(vocab_size=300, pad_token_id=0, max_position_embeddings=40, **TOWER)
    return tf.XLMRobertaModel(config)


def padded(tokenizer: tf.PreTrainedTokenizerFast) -> tf.PreTrainedTokenizerFast:
    """Give a tokenizer its end token to pad with, as its folder's owner would."""
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


Row = tuple[Callable[[], Any], Callable[[], Any] | None, dict[str, Any], str, list[str], Any]
CASES: dict[str, Row] = {
    "clip": (
        *(clip, None, IMAGE, "vision_model.encoder.layers.0"),
        *(["classifier"], tf.AutoModelForImageClassification),
    ),
    "xlm-roberta": (
        *(xlm_roberta, sentencewise, TEXT, "roberta.encoder.layer.0", ["classifier"]),
        tf.AutoModelForSequenceClassification,
    ),
    "llama": (
        *(llama, sentencewise, TEXT, "model.layers.0", ["model.norm", "score"]),
        tf.AutoModelForSequenceClassification,
    ),
    "qwen2": (
        *(qwen2, lambda: padded(bytewise()), TEXT, "model.layers.0", ["model.norm", "score"]),
        tf.AutoModelForSequenceClassification,
    ),
    "gpt2": (
        *(gpt2, lambda: padded(bytewise()), TEXT, "transformer.h.0", ["transformer.ln_f", "score"]),
        tf.AutoModelForSequenceClassification,
    ),
    "qwen2 answers": (qwen2, bytewise, CHOICE, "model.layers.0", ["model.norm"], tf.AutoModelForCausalLM),
    "gpt2 answers": (gpt2, bytewise, CHOICE, "transformer.h.0", ["transformer.ln_f"], tf.AutoModelForCausalLM),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with rows of every kind."""
    folder = tmp_path_factory.mktemp("architectures")
    for name, rows in (("train.jsonl", 24), ("test.jsonl", 8)):
        save_text(folder / name, rows, seed=rows)
    for name, rows in (("qa.jsonl", 24), ("qa-test.jsonl", 8)):
        save_questions(folder / name, questions(rows, seed=rows))
    save_images(folder / "photos", ["dark", "light"], 9)
    save_images(folder / "photos-test", ["dark", "light"], 4, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSTRATA_CACHE", str(folder / "cache"))
        yield folder


def config(home: Path, data: dict[str, Any], output: Path) -> dict[str, Any]:
    return {
        "base": str(home),
        "model": {"path": "model"},
        "data": {**data, "partition": {"kind": "iid", "clients": 2}},
        "cost": "layers",
        "probe": {"batch_size": 4},
        "train": {"rounds": 1, "steps": 1, "batch_size": 4, "lr": 0.1, "optimizer": "sgd"},
        "output": str(output),
    }


@pytest.mark.parametrize("name", CASES)
def test_a_round_trains_and_exports_it(home: Path, tmp_path: Path, name: str) -> None:
    make, tokenizer, data, layer, always, auto = CASES[name]
    model = make()
    save_causal(tmp_path / "model", model, tokenizer() if tokenizer else model)
    values = config(home, data, tmp_path / "run")
    start(values | {"model": {"path": str(tmp_path / "model")}})
    said = events(tmp_path / "run", "run")[0]
    assert (len(said["layers"]), said["layers"][0], said["always"]) == (3, layer, always)
    reloaded = auto.from_pretrained(tmp_path / "run" / "model")
    before, moved = dict(model.named_parameters()), set()
    for key, tensor in reloaded.named_parameters():
        old = before.get(key, before.get(key.partition(".")[2]))
        if old is not None and not torch.equal(old, tensor):
            moved.add(key)
    chosen = [said["layers"][i] for e in events(tmp_path / "run", "client") for i in e["mask"]]
    blocks = (*chosen, *always)
    assert {block for block in chosen if any(key.startswith(f"{block}.") for key in moved)} == set(chosen)
    assert [key for key in moved if not key.startswith(tuple(f"{b}." for b in blocks))] == []


def test_a_clip_classifies_by_the_mean_of_its_patches_without_its_text_tower(home: Path, tmp_path: Path) -> None:
    """``transformers`` takes the mean over patches behind the last block: no class token, no norm, no projection."""
    whole = clip(projection=7)
    whole.save_pretrained(tmp_path / "model")
    start(config(home, IMAGE, tmp_path / "run") | {"model": {"path": str(tmp_path / "model")}})
    said = events(tmp_path / "run", "run")[0]
    unused = "vision_model.post_layernorm"
    assert said["never"] == ["vision_model.embeddings", "vision_model.pre_layrnorm", unused]
    model = tf.AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "model").eval()
    assert not [name for name, _ in model.named_parameters() if "text" in name or "projection" in name]
    pixels = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        hidden = model.vision_model(pixels).last_hidden_state
        assert torch.allclose(model(pixels).logits, model.classifier(hidden[:, 1:].mean(dim=1)), atol=1e-6)
