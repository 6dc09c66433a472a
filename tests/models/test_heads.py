from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as tf

from fedstrata.errors import ModelError
from fedstrata.models.heads import Match, match_labels
from fedstrata.models.hub import load_model
from fedstrata.models.loaded import LoadedModel

SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def _match(own: list[str], labels: list[str], *, keep: bool = False) -> Match:
    return match_labels(own, labels, folder=Path("m"), keep=keep)


def test_equal_names_need_no_word() -> None:
    assert _match(["a", "b"], ["a", "b"]) == Match((0, 1))


@pytest.mark.parametrize("labels", [["neg", "neu", "pos"], ["NEG", " neu", "Pos "]])
@pytest.mark.parametrize("keep", [True, False])
def test_names_are_matched_in_any_order_case_and_blanks(labels: list[str], keep: bool) -> None:
    found = _match(["pos", "neg", "Neu"], labels, keep=keep)
    assert found.order == (1, 2, 0)
    assert str(found.note).startswith("the head's labels are matched by name: ")


def test_names_that_differ_in_case_alone_are_matched_exactly() -> None:
    assert _match(["a", "A"], ["A", "a"]).order == (1, 0)


@pytest.mark.parametrize(
    ("own", "labels"),
    [(["LABEL_0", "LABEL_1"], ["bad", "good"]), (["bad", "good"], ["0", "1"]), (["0", "1"], ["x", "y"])],
)
def test_names_that_say_nothing_leave_the_position_with_a_note(own: list[str], labels: list[str]) -> None:
    found = _match(own, labels)
    assert found.order == (0, 1)
    assert f"taken by position: {labels[0]} is {own[0]}, {labels[1]} is {own[1]}" in str(found.note)


def test_other_names_are_refused_unless_the_head_is_to_be_kept() -> None:
    with pytest.raises(ModelError, match=r"was trained for the labels up, down, but the data have bad, good; rename"):
        _match(["up", "down"], ["bad", "good"])
    assert "names are others, are taken by position" in str(_match(["up", "down"], ["bad", "good"], keep=True).note)


def test_names_that_are_half_the_same_are_never_taken_by_position() -> None:
    with pytest.raises(ModelError, match=r"set model.head: new$"):
        _match(["good", "bad"], ["bad", "great"], keep=True)


def _loaded(model: tf.PreTrainedModel, folder: Path, labels: list[str]) -> LoadedModel:
    model.save_pretrained(folder)
    return load_model(folder, task="text-classification", labels=labels, head="keep")


def _names(labels: list[str]) -> dict[str, object]:
    return {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}


@pytest.mark.parametrize("size", [8, 3])  # 3: as wide as there are labels, so that no shape tells them apart
def test_a_heads_outputs_come_in_the_order_of_the_datas_labels(tmp_path: Path, size: int) -> None:
    own, labels = ["POSITIVE", "NEGATIVE", "NEUTRAL"], ["negative", "neutral", "positive"]
    torch.manual_seed(0)
    config = tf.RobertaConfig(
        vocab_size=20, pad_token_id=1, **{**SIZES, "hidden_size": size, "num_attention_heads": 1}, **_names(own)
    )
    plain = tf.RobertaForSequenceClassification(config).eval()
    ids = torch.randint(2, 20, (40, 6))
    with torch.no_grad():
        named = [own[i].lower() for i in plain(ids).logits.argmax(dim=1).tolist()]
        found = _loaded(plain, tmp_path / "m", labels)
        again = [labels[i] for i in found.model(ids).logits.argmax(dim=1).tolist()]
    assert again == named
    assert len(found.notes) == 1
    assert found.model.config.id2label == dict(enumerate(labels))  # type: ignore[union-attr]


def test_positive_and_negative_are_right_forty_times_of_forty(tmp_path: Path) -> None:
    config = tf.BertConfig(vocab_size=6, **SIZES, **_names(["POSITIVE", "NEGATIVE"]))
    torch.manual_seed(0)
    plain = tf.BertForSequenceClassification(config).eval()
    ids = torch.randint(2, 6, (40, 5))
    with torch.no_grad():
        logits = plain(ids).logits
        plain.classifier.bias += torch.tensor([0.0, float((logits[:, 0] - logits[:, 1]).median()) + 1e-4])
        truth = [("POSITIVE", "NEGATIVE")[i] for i in plain(ids).logits.argmax(dim=1).tolist()]
        found = _loaded(plain, tmp_path / "m", ["NEGATIVE", "POSITIVE"])
        said = [("NEGATIVE", "POSITIVE")[i] for i in found.model(ids).logits.argmax(dim=1).tolist()]
    assert {truth.count(name) for name in ("POSITIVE", "NEGATIVE")} <= set(range(10, 31))
    assert sum(a == b for a, b in zip(said, truth, strict=True)) == 40


def test_a_head_with_more_outputs_than_its_configuration_names_is_taken_by_position() -> None:
    found = _match(["LABEL_0", "LABEL_1"], ["a", "b", "c"])
    assert found.order == (0, 1, 2)
    assert found.note is not None
    assert found.note.endswith("which are taken by position: a is output 0, b is output 1, c is output 2")
    assert _match(["x", "y"], ["a", "b", "c"], keep=True).order == (0, 1, 2)


def test_names_that_are_fewer_than_the_heads_outputs_are_refused() -> None:
    with pytest.raises(ModelError, match="names 2 labels \\(x, y\\) for a head of 3; mend its id2label"):
        _match(["x", "y"], ["a", "b", "c"])
