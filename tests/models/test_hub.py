from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from fedstrata.errors import LayerError, ModelError
from fedstrata.models.folder_config import load_config, load_processor, load_tokenizer, model_folder
from fedstrata.models.form import Form
from fedstrata.models.hub import load_model
from memory_places import astray, misplace

SIZES: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
TEN = [f"class {i}" for i in range(10)]
FOUR = ["a", "b", "c", "d"]


def bert_config(labels: list[str]) -> Any:  # noqa: ANN401
    return tf.BertConfig(
        vocab_size=20, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)}, **SIZES
    )


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a BERT whose head knows ten classes."""
    folder = tmp_path_factory.mktemp("models") / "bert-ten"
    torch.manual_seed(0)
    tf.BertForSequenceClassification(bert_config(TEN)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bare BERT encoder."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    torch.manual_seed(0)
    tf.BertModel(bert_config(FOUR)).save_pretrained(folder)
    return folder


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    """Return a folder with a GPT-2 that names no padding token, and a tokenizer without one."""
    folder = tmp_path / "gpt2"
    torch.manual_seed(0)
    tf.GPT2Model(tf.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=6, n_positions=16)).save_pretrained(folder)
    words = {"<end>": 0, "good": 1, "bad": 2, "<fill>": 3}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<end>"))
    tf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    return folder


def test_head_of_the_folder_is_kept(bert: Path) -> None:
    loaded = load_model(bert, task="text-classification", labels=TEN)
    plain = tf.BertForSequenceClassification.from_pretrained(bert)
    assert loaded.new_head == ()
    assert all(torch.equal(p, plain.get_parameter(n)) for n, p in loaded.model.named_parameters())
    assert len(loaded.layers) == 3
    assert not loaded.model.training


def test_tensors_of_a_mapped_file_are_aligned(bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "bert"))
    misplace(folder / "model.safetensors")
    model = load_model(folder, task="text-classification", labels=TEN).model
    assert not astray([*model.parameters(), *model.buffers()])


def test_head_of_the_wrong_size_is_an_error_that_says_what_to_set(bert: Path) -> None:
    with pytest.raises(ModelError, match=r"has 10 labels, but the data have 4; set model\.head: new"):
        load_model(bert, task="text-classification", labels=FOUR)


@pytest.mark.parametrize("labels", [FOUR, TEN])
def test_new_head_replaces_one_of_any_size_and_nothing_else(bert: Path, labels: list[str]) -> None:
    loaded = load_model(bert, task="text-classification", labels=labels, head="new", seed=1)
    plain = tf.BertForSequenceClassification.from_pretrained(bert)
    assert loaded.new_head == ("classifier.weight", "classifier.bias")
    values = dict(loaded.model.named_parameters())
    assert values["classifier.weight"].shape == (len(labels), 8)
    assert not torch.equal(values["classifier.weight"], plain.classifier.weight[: len(labels)])
    kept = [n for n in values if n not in loaded.new_head]
    assert all(torch.equal(values[n], plain.get_parameter(n)) for n in kept)


def test_bare_encoder_gets_a_head_that_depends_on_the_seed_alone(encoder: Path) -> None:
    def weight(seed: int) -> torch.Tensor:
        loaded = load_model(encoder, task="text-classification", labels=FOUR, seed=seed)
        assert loaded.new_head == ("classifier.weight", "classifier.bias")
        return loaded.model.get_parameter("classifier.weight")

    torch.manual_seed(5)
    first = weight(1)
    torch.manual_seed(6)
    assert torch.equal(first, weight(1))
    assert not torch.equal(first, weight(2))


def test_loading_leaves_the_global_random_stream_alone(encoder: Path) -> None:
    before = torch.get_rng_state()
    load_model(encoder, task="text-classification", labels=FOUR, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_keeping_a_head_that_is_not_there_is_an_error(encoder: Path) -> None:
    with pytest.raises(ModelError, match="no classification head to keep"):
        load_model(encoder, task="text-classification", labels=FOUR, head="keep")


def test_head_for_other_classes_is_not_reused_silently(bert: Path) -> None:
    other = [f"kind {i}" for i in range(10)]
    with pytest.raises(ModelError, match=r"was trained for the labels class 0, .* but the data have kind 0"):
        load_model(bert, task="text-classification", labels=other)
    kept = load_model(bert, task="text-classification", labels=other, head="keep")
    assert kept.new_head == ()
    assert kept.labels == tuple(other)


def test_weights_that_lack_a_layer_are_an_error(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(ModelError, match=r"16 tensors are missing.*'bert\.encoder\.layer\.3"):
        load_model(folder, task="text-classification", labels=TEN)


def test_weights_that_lack_running_statistics_are_an_error(tmp_path: Path) -> None:
    config = tf.ResNetConfig(embedding_size=8, hidden_sizes=[16], depths=[2], num_labels=4)
    tf.ResNetForImageClassification(config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.endswith("running_mean")}
    assert len(kept) < len(tensors)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"tensors are missing.*running_mean"):
        load_model(tmp_path, task="image-classification", labels=FOUR)


def test_architecture_that_cannot_do_the_task_is_an_error(bert: Path) -> None:
    with pytest.raises(ModelError, match="bert model, which has no image-classification; it can do text"):
        load_model(bert, task="image-classification", labels=TEN)


def test_misspelt_folder_is_an_error_with_the_nearest_name(bert: Path) -> None:
    with pytest.raises(ModelError, match="does not exist; did you mean 'bert-ten'"):
        load_model(bert.with_name("bert-tne"), task="text-classification", labels=TEN)


def test_folder_without_safetensors_is_an_error(bert: Path, tmp_path: Path) -> None:
    shutil.copy(bert / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"no model\.safetensors \(it has pytorch_model\.bin"):
        model_folder(tmp_path)


def test_folder_without_config_names_one_inside_that_has_it(bert: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json; known: bert-ten"):
        model_folder(bert.parent)


def test_broken_weights_are_an_error(bert: Path, tmp_path: Path) -> None:
    shutil.copy(bert / "config.json", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="cannot load"):
        load_model(tmp_path, task="text-classification", labels=TEN)


@pytest.mark.parametrize("labels", [["one"], ["a", "a"]])
def test_labels_must_be_two_or_more_and_differ(bert: Path, labels: list[str]) -> None:
    with pytest.raises(ModelError, match="two or more different labels"):
        load_model(bert, task="text-classification", labels=labels)


def test_dropout_is_set_everywhere(bert: Path) -> None:
    model = load_model(bert, task="text-classification", labels=TEN, dropout=0.0).model
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}


def test_layer_that_does_not_exist_is_an_error(bert: Path) -> None:
    with pytest.raises(LayerError, match="layer 3 does not exist: the model has 3 layers"):
        load_model(bert, task="text-classification", labels=TEN, form=Form(candidates=3))


def test_loading_prints_nothing(encoder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(encoder, task="text-classification", labels=FOUR)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_clip_classifies_with_its_vision_tower_alone(tmp_path: Path) -> None:
    vision = {**SIZES, "image_size": 8, "patch_size": 4}
    tf.CLIPModel(tf.CLIPConfig(vision_config=vision, text_config={**SIZES, "vocab_size": 9})).save_pretrained(tmp_path)
    loaded = load_model(tmp_path, task="image-classification", labels=FOUR)
    assert loaded.new_head == ("classifier.weight", "classifier.bias")
    assert loaded.layers.names[-1] == "vision_model.encoder.layers.2"
    assert loaded.facts["image_size"] == 8


def test_padding_token_comes_from_the_tokenizer(gpt2: Path) -> None:
    settings = json.loads((gpt2 / "tokenizer_config.json").read_text())
    (gpt2 / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": "<fill>"}))
    loaded = load_model(gpt2, task="text-classification", labels=FOUR)
    batch = load_tokenizer(gpt2)(["good", "good"], return_tensors="pt", padding=True)
    assert loaded.model(**batch).logits.shape == (2, 4)
    assert loaded.model.config.pad_token_id == 3  # type: ignore[union-attr]


def test_missing_tokenizer_and_processor_are_errors(bert: Path) -> None:
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(bert)
    with pytest.raises(ModelError, match=r"no preprocessor_config\.json"):
        load_processor(bert)


@pytest.mark.parametrize("file", ["spm.model", "tokenizer.model"])
def test_a_sentencepiece_model_alone_says_which_package_is_missing(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf.DebertaV2Config(vocab_size=20).save_pretrained(tmp_path)
    (tmp_path / file).write_bytes(b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "sentencepiece" else find(name))
    with pytest.raises(ModelError, match=rf"'{file}' is a SentencePiece model, and reading one needs sentencepiece; "):
        load_tokenizer(tmp_path)


def test_processor_is_read(bert: Path, tmp_path: Path) -> None:
    shutil.copy(bert / "config.json", tmp_path)
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    image = torch.zeros(3, 4, 4, dtype=torch.uint8).numpy()
    assert load_processor(tmp_path)(image, return_tensors="pt")["pixel_values"].shape == (1, 3, 8, 8)


@pytest.mark.slow
def test_real_sentence_encoder_gets_a_head() -> None:
    folder = os.environ.get("FEDSTRATA_MINILM")
    if folder is None:
        pytest.skip("set FEDSTRATA_MINILM to a MiniLM-L6 folder")
    loaded = load_model(folder, task="text-classification", labels=FOUR)
    assert len(loaded.layers) == 6
    assert loaded.new_head == ("classifier.weight", "classifier.bias")
    assert sum(p.numel() for p in loaded.model.parameters()) == 22_713_216 + 4 * 384 + 4


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_a_part_of_a_configuration_that_is_no_mapping_is_a_model_error(tmp_path: Path, part: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", part: 5}))
    with pytest.raises(ModelError, match=f"{part} is int, not a mapping"):
        load_config(tmp_path)
