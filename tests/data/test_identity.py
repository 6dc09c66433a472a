from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from fedstrata.data.find_sources import find
from fedstrata.data.identity import processor_identity, tokenizer_identity
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.text import prepare_texts
from fedstrata.errors import DataError, ModelError

WORDS = {"[PAD]": 0, "[UNK]": 1, "[END]": 2, "a": 3, "b": 4, "c": 5}


def _tokenizer(**settings: Any) -> PreTrainedTokenizerFast:  # noqa: ANN401  whatever transformers takes
    backend = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", **settings)


def _lowered(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()


def _left(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.truncation_side = "left"


CHANGES: dict[str, Callable[[PreTrainedTokenizerFast], object]] = {
    "truncation side": _left,
    "padding side": lambda t: setattr(t, "padding_side", "left"),
    "normalizer": _lowered,
    "added token": lambda t: t.add_tokens([AddedToken("z", lstrip=True)]),
    "special token": lambda t: t.add_special_tokens({"cls_token": "[END]"}),
    "chat template": lambda t: setattr(t, "chat_template", "{{ messages }}"),
    "length": lambda t: setattr(t, "model_max_length", 3),
    "split of special tokens": lambda t: setattr(t, "split_special_tokens", True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_set_changes_what_a_tokenizer_is(change: str) -> None:
    tokenizer = _tokenizer()
    before = tokenizer_identity(tokenizer)
    CHANGES[change](tokenizer)
    assert tokenizer_identity(tokenizer) != before


def test_calls_and_the_place_of_the_folder_do_not_change_it(tmp_path: Path) -> None:
    tokenizer = _tokenizer(truncation_side="left")
    before = tokenizer_identity(tokenizer)
    tokenizer(["a b c"], truncation=True, max_length=2, padding="max_length")
    assert tokenizer_identity(tokenizer) == before
    for name in ("here", "there"):
        tokenizer.save_pretrained(tmp_path / name)
    here, there = (PreTrainedTokenizerFast.from_pretrained(tmp_path / name) for name in ("here", "there"))
    assert tokenizer_identity(here) == tokenizer_identity(there)


def test_texts_cut_on_one_side_are_not_taken_for_those_cut_on_the_other(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("note,label\na b c,0\n")
    table = read(find("rows.csv", tmp_path), Columns(text="note"), tmp_path)
    cut = {
        side: prepare_texts(table, tokenizer=_tokenizer(truncation_side=side), cache=tmp_path / "cache", max_length=2)
        for side in ("right", "left")
    }
    assert {side: rows.inputs["input_ids"].tolist() for side, rows in cut.items()} == {
        "right": [[3, 4]],
        "left": [[4, 5]],
    }


def test_a_tokenizer_that_cannot_be_saved_is_a_model_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no vocabulary\nat all")

    tokenizer = _tokenizer()
    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", fail)
    with pytest.raises(ModelError, match=r"tokenizer cannot be saved, .*: no vocabulary$"):
        tokenizer_identity(tokenizer)


@pytest.mark.parametrize(
    "setting", [{"resample": 0}, {"do_rescale": False}, {"image_mean": [0.1] * 3}, {"size": {"height": 9, "width": 8}}]
)
def test_whatever_is_set_changes_what_a_processor_is(setting: dict[str, Any]) -> None:
    plain, other = ViTImageProcessorPil(), ViTImageProcessorPil(**setting)
    assert processor_identity(plain) == processor_identity(ViTImageProcessorPil()) != processor_identity(other)


def test_a_full_folder_for_temporary_files_is_not_the_models_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def save_pretrained(self, folder: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        DataError, match=r"tokenizer cannot be looked at in .* No space left on device; make room, or name .* TMPDIR"
    ):
        tokenizer_identity(Full())
