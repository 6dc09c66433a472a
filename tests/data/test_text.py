from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fedstrata.data.find_sources import find
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.table import Table
from fedstrata.data.text import ensure_pad, prepare_texts
from fedstrata.errors import DataError, ModelError

WORDS = {"[PAD]": 0, "[UNK]": 1, "[END]": 2, "a": 3, "b": 4, "c": 5}


def _tokenizer(**special: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def _table(folder: Path, *texts: str) -> Table:
    (folder / "rows.csv").write_text("note,label\n" + "".join(f"{text},0\n" for text in texts))
    return read(find("rows.csv", folder), Columns(text="note"), folder / "cache")


def test_texts_are_padded_on_the_right_to_the_longest(tmp_path: Path) -> None:
    rows = prepare_texts(
        _table(tmp_path, "a", "a b c", "b zzz"), tokenizer=_tokenizer(pad_token="[PAD]"), cache=tmp_path
    )
    assert rows.inputs["input_ids"].tolist() == [[3, 0, 0], [3, 4, 5], [4, 1, 0]]
    assert rows.inputs["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]
    assert rows.inputs["input_ids"].dtype == torch.int64
    assert rows.notes == ()


def test_long_texts_are_cut_and_counted(tmp_path: Path) -> None:
    table = _table(tmp_path, "a b c", "a b", "c c c c")
    rows = prepare_texts(table, tokenizer=_tokenizer(pad_token="[PAD]"), cache=tmp_path, max_length=2)
    assert rows.inputs["input_ids"].tolist() == [[3, 4], [3, 4], [5, 5]]
    assert rows.notes == ("2 of 3 texts of rows.csv are cut to 2 tokens",)


def test_a_left_padding_tokenizer_is_padded_on_the_right_too(tmp_path: Path) -> None:
    tokenizer = _tokenizer(pad_token="[PAD]", padding_side="left")
    rows = prepare_texts(_table(tmp_path, "a", "a b"), tokenizer=tokenizer, cache=tmp_path)
    assert rows.inputs["input_ids"].tolist() == [[3, 0], [3, 4]]


def test_the_end_token_pads_where_there_is_no_pad_token(tmp_path: Path) -> None:
    rows = prepare_texts(_table(tmp_path, "a", "a b"), tokenizer=_tokenizer(eos_token="[END]"), cache=tmp_path)
    assert rows.inputs["input_ids"].tolist() == [[3, 2], [3, 4]]
    assert rows.inputs["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert rows.notes == ("the tokenizer has no pad token: its end token '[END]' pads",)


def test_a_tokenizer_without_any_token_to_pad_with_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"neither a pad token nor an end token"):
        ensure_pad(_tokenizer())


def test_texts_are_tokenised_once(tmp_path: Path) -> None:
    table, tokenizer = _table(tmp_path, "a b c", "a"), _tokenizer(pad_token="[PAD]")
    for _ in range(2):
        rows = prepare_texts(table, tokenizer=tokenizer, cache=tmp_path / "c", max_length=2)
        assert rows.notes == ("1 of 2 texts of rows.csv are cut to 2 tokens",)
    assert len(list((tmp_path / "c").glob("*.safetensors"))) == 1


def test_another_length_or_tokenizer_is_tokenised_anew(tmp_path: Path) -> None:
    table = _table(tmp_path, "a b c", "a")
    prepare_texts(table, tokenizer=_tokenizer(pad_token="[PAD]"), cache=tmp_path / "c", max_length=2)
    prepare_texts(table, tokenizer=_tokenizer(pad_token="[PAD]"), cache=tmp_path / "c", max_length=3)
    prepare_texts(table, tokenizer=_tokenizer(pad_token="[END]"), cache=tmp_path / "c", max_length=2)
    assert len(list((tmp_path / "c").glob("*.safetensors"))) == 3


def test_a_text_without_a_token_is_named_with_its_row(tmp_path: Path) -> None:
    backend = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    backend.normalizer = normalizers.Replace("z", "")
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")
    with pytest.raises(DataError, match=r"rows.csv row 1: the tokenizer finds no token"):
        prepare_texts(_table(tmp_path, "a", "zzz"), tokenizer=tokenizer, cache=tmp_path)
