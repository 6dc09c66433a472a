"""Causal models from folders: heads that stay as they are, ties that do not train in silence, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

from fedstrata.domain.ids import TensorName
from fedstrata.errors import LayerError, ModelError
from fedstrata.models.export import save_model
from fedstrata.models.fake import fake_model
from fedstrata.models.form import Form
from fedstrata.models.hub import load_model
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.profiling.step import measure_model
from questions import SIZES, bytewise, gpt2, llama, qwen2, save_causal, sentencewise

POSITIONS = ("0", "1", "2", "3", "4")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with causal models."""
    folder = tmp_path_factory.mktemp("causal")
    save_causal(folder / "llama", llama(), sentencewise())
    save_causal(folder / "llama-tied", llama(tied=True), sentencewise())
    save_causal(folder / "qwen2", qwen2(), bytewise())
    save_causal(folder / "gpt2", gpt2(), bytewise())
    return folder


def loaded(folder: Path, **options: Any) -> LoadedModel:  # noqa: ANN401
    head = options.pop("head", "auto")
    return load_model(folder, task="multiple-choice", labels=POSITIONS, head=head, form=Form(**options))


def roles(model: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401
    return [b.name for b in model.layers.always], [b.name for b in model.layers.never]


@pytest.mark.parametrize(
    ("name", "layer", "norm", "frozen"),
    [
        ("llama", "model.layers.0", "model.norm", ["model.embed_tokens", "model.rotary_emb", "lm_head"]),
        ("llama-tied", "model.layers.0", "model.norm", ["model.embed_tokens", "model.rotary_emb", "lm_head"]),
        ("qwen2", "model.layers.0", "model.norm", ["model.embed_tokens", "model.rotary_emb", "lm_head"]),
        ("gpt2", "transformer.h.0", "transformer.ln_f", ["transformer.wte", "transformer.wpe", "lm_head"]),
    ],
)
def test_embeddings_and_head_are_frozen_and_the_last_norm_is_trained(
    home: Path, name: str, layer: str, norm: str, frozen: list[str]
) -> None:
    for model in (loaded(home / name), fake_model(str(home / name), task="multiple-choice")):
        assert (len(model.layers), model.layers.names[0]) == (3, layer)
        assert roles(model) == ([norm], frozen)


def test_every_weight_is_the_folders(home: Path) -> None:
    model = loaded(home / "llama")
    assert model.new_head == ()
    assert model.labels == POSITIONS
    tensors = load_file(home / "llama" / "model.safetensors")
    assert all(torch.equal(p, tensors[n]) for n, p in model.model.named_parameters())


def test_an_untied_head_is_trained_where_always_names_it(home: Path) -> None:
    for model in (
        loaded(home / "llama", always=("lm_head",)),
        fake_model(str(home / "llama"), task="multiple-choice", form=Form(always=("0", "lm_head"))),
    ):
        assert "lm_head" in roles(model)[0]
        assert [t.name for t in model.layers.always[-1].tensors] == ["lm_head.weight"]


@pytest.mark.parametrize(("name", "embeddings"), [("llama-tied", "model.embed_tokens"), ("gpt2", "transformer.wte")])
def test_a_tied_head_is_trained_by_the_name_of_the_embeddings_alone(home: Path, name: str, embeddings: str) -> None:
    with pytest.raises(LayerError, match=f"'lm_head' shares its weights with '{embeddings}'; name '{embeddings}' in"):
        loaded(home / name, always=("lm_head",))
    both = loaded(home / name, always=(embeddings,))
    assert embeddings in roles(both)[0]
    assert roles(both)[1][-1] == "lm_head"


def test_a_new_head_is_refused(home: Path) -> None:
    with pytest.raises(ModelError, match=r"language-model head that the folder has; leave model.head out"):
        loaded(home / "llama", head="new")


def test_a_model_that_reads_both_ways_is_refused(tmp_path: Path) -> None:
    sizes = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
    tf.BertForMaskedLM(tf.BertConfig(vocab_size=20, **sizes)).save_pretrained(tmp_path)
    words = "holds a bert model, which sees the tokens after the one that it predicts; multiple-choice needs a causal"
    with pytest.raises(ModelError, match=words):
        loaded(tmp_path)
    with pytest.raises(ModelError, match=words):
        fake_model(str(tmp_path), task="multiple-choice")


def test_a_folder_that_lacks_its_untied_head_is_an_error(home: Path, tmp_path: Path) -> None:
    save_causal(tmp_path, llama(), sentencewise())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("lm_head.weight")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors are missing .* such as 'lm_head.weight'"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("name", "always"), [("llama", ()), ("llama-tied", ()), ("llama-tied", ("model.embed_tokens",)), ("gpt2", ())]
)
def test_a_saved_model_reloads_as_a_causal_model_tied_as_before(
    home: Path, tmp_path: Path, name: str, always: tuple[str, ...]
) -> None:
    model = loaded(home / name, always=always)
    specs = model.layers.tensors_of(model.layers.everything)
    values = {t.name: model.model.get_parameter(t.name).detach() + 0.5 for t in specs}
    save_model(model, values, tmp_path / "out", card="x", tokenizer_files_from=home / name)
    again: Any = tf.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tied = name != "llama"
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) == tied
    for key, parameter in again.named_parameters():
        expected = values.get(TensorName(key), model.model.get_parameter(key))
        assert torch.equal(parameter, expected), key
    assert again.config.id2label == tf.AutoConfig.from_pretrained(home / name).id2label
    assert tf.AutoTokenizer.from_pretrained(tmp_path / "out")("warm") is not None


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_step_can_be_measured_without_weights(home: Path, name: str) -> None:
    profile = measure_model(fake_model(str(home / name), task="multiple-choice"), rows=4, length=20)
    assert (profile.rows, profile.length, profile.layers) == (4, 20, 3)
    assert profile.forward[list(map(str, profile.blocks)).index("lm_head")] == 2 * 4 * 8 * 16 * (
        300 if name == "llama" else 400
    )
