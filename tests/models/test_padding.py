from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from fedstrata.data.text import prepare_texts
from fedstrata.errors import ModelError
from fedstrata.models.export import save_model
from fedstrata.models.fake import fake_model
from fedstrata.models.hub import load_model
from fedstrata.models.padding import padded_tokenizer, padding_of

WORDS = {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "good": 4, "day": 5, "bad": 6, "road": 7}
TEXTS = ("good", "bad day road day good", "good day <unk>", "road bad")
ROPE: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "vocab_size": len(WORDS),
    "initializer_range": 0.5,
}


def llama(**changed: Any) -> tf.PreTrainedModel:  # noqa: ANN401
    return tf.LlamaModel(tf.LlamaConfig(**{**ROPE, "num_key_value_heads": 2, "pad_token_id": None, **changed}))


def mistral(**changed: Any) -> tf.PreTrainedModel:  # noqa: ANN401
    return tf.MistralModel(tf.MistralConfig(**{**ROPE, "num_key_value_heads": 2, "pad_token_id": None, **changed}))


def gpt2(**changed: Any) -> tf.PreTrainedModel:  # noqa: ANN401
    size: dict[str, Any] = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16, "vocab_size": len(WORDS)}
    return tf.GPT2Model(tf.GPT2Config(**{**size, "pad_token_id": None, "initializer_range": 0.5, **changed}))


def bert(**changed: Any) -> tf.PreTrainedModel:  # noqa: ANN401
    return tf.BertModel(tf.BertConfig(**{**ROPE, **changed}))


def roberta(**changed: Any) -> tf.PreTrainedModel:  # noqa: ANN401
    return tf.RobertaModel(tf.RobertaConfig(**{**ROPE, **changed}))


def _saved(folder: Path, model: tf.PreTrainedModel, pad: int | None, **tokenizer: Any) -> Path:  # noqa: ANN401
    """Save a model and a tokenizer of words; ``pad`` is written into config.json whatever it is."""
    made = Tokenizer(WordLevel(WORDS, unk_token="<unk>"))
    made.pre_tokenizer = WhitespaceSplit()
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", **tokenizer}
    tf.PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": pad}))
    return folder


def _batch(folder: Path, cache: Path) -> dict[str, torch.Tensor]:
    """Return the texts as training sees them: in one padded batch."""
    zeros = np.zeros(len(TEXTS), dtype=np.int64)
    table: Any = SimpleNamespace(texts=lambda: TEXTS, labels=zeros, fingerprint="x", files=("rows.csv",))
    tokenizer, note = padded_tokenizer(folder)
    rows = prepare_texts(table, tokenizer=tokenizer, cache=cache, note=note)
    assert rows.notes == (() if note is None else (note,))
    return dict(rows.inputs)


@pytest.mark.parametrize(
    ("model", "pad", "tokenizer"),
    [
        (llama, 0, {}),
        (llama, -1, {}),
        (llama, None, {}),
        (llama, 99, {"pad_token": "<pad>"}),
        (llama, 0, {"pad_token": "<pad>"}),
        (llama, 4, {"pad_token": "<pad>"}),
        (llama, 3, {"pad_token": "<pad>", "padding_side": "left"}),
        (mistral, None, {"pad_token": "<pad>"}),
        (mistral, 0, {"padding_side": "left"}),
        (gpt2, None, {"padding_side": "left"}),
        (gpt2, 2, {"pad_token": "<pad>", "padding_side": "left"}),
        (bert, 0, {}),
        (bert, 4, {"pad_token": "<pad>"}),
        (bert, -1, {"padding_side": "left"}),
        (roberta, 1, {"pad_token": "<pad>"}),
        (roberta, 3, {"padding_side": "left"}),
    ],
)
def test_what_is_computed_is_what_the_exported_folder_computes(
    model: Any,  # noqa: ANN401
    pad: int | None,
    tokenizer: dict[str, str],
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    folder = _saved(tmp_path / "base", model(), pad, **tokenizer)
    loaded = load_model(folder, task="text-classification", labels=["a", "b"], seed=3)
    out = save_model(loaded, {}, tmp_path / "out", card="", tokenizer_files_from=folder)
    theirs = tf.AutoModelForSequenceClassification.from_pretrained(out).eval()
    words = tf.AutoTokenizer.from_pretrained(out)
    with torch.no_grad():
        ours = loaded.model(**_batch(folder, tmp_path / "cache")).logits
        together = theirs(**words(list(TEXTS), padding=True, return_tensors="pt")).logits
        alone = torch.cat([theirs(**words(text, return_tensors="pt")).logits for text in TEXTS])
    torch.testing.assert_close(together, ours, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, ours, rtol=1e-4, atol=1e-5)
    fake_model(str(folder), num_labels=2)


def test_a_folder_that_agrees_is_left_as_it_is(tmp_path: Path) -> None:
    found = padding_of(_saved(tmp_path, llama(), 3, pad_token="<pad>"))
    assert found is not None
    assert (found.token, found.id, found.model, dict(found.tokenizer), found.note) == ("<pad>", 3, 3, {}, None)


def test_what_is_changed_is_said(tmp_path: Path) -> None:
    assert padded_tokenizer(_saved(tmp_path / "a", llama(), 0))[1] == (
        "the tokenizer, which has no pad token, pads with '<unk>'"
    )
    assert padded_tokenizer(_saved(tmp_path / "b", llama(), 0, pad_token="<pad>"))[1] == (
        "the model's pad_token_id, 0, is 3 as the tokenizer's"
    )


def test_no_token_to_pad_with_is_an_error_that_says_what_to_add(tmp_path: Path) -> None:
    folder = _saved(tmp_path, llama(), None, eos_token=None)
    with pytest.raises(ModelError, match=r"names a padding token of the vocabulary.*tokenizer_config\.json"):
        load_model(folder, task="text-classification", labels=["a", "b"])
