"""Prompts and choices as tokens: the boundary, what is cut, what is added and not scored, what is cached."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from fedstrata.data.choice import PROMPT
from fedstrata.errors import DataError, ModelError
from questions import bytewise, prepared, questions, sentencewise

TOKENIZERS = {"bytewise": bytewise(), "sentencewise": sentencewise(), "with an end": sentencewise(end=True)}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_prompt_and_choice_are_the_tokens_of_the_whole_text(tmp_path: Path, name: str) -> None:
    """The choice's tokens, and no others, say the choice with the blank before it; the prompt's say the prompt."""
    tokenizer: PreTrainedTokenizerFast = TOKENIZERS[name]
    rows = questions(8)
    answers = prepared(rows, tokenizer, tmp_path).answers
    assert answers is not None
    for i, row in enumerate(rows):
        for j, choice in enumerate(row["choices"]):
            start, end = int(answers.starts[i, j]), int(answers.ends[i, j])
            ids = answers.ids[i, j, :end].tolist()
            whole = tokenizer(f"{PROMPT.format(row['question'])} {choice}")["input_ids"]
            assert ids == [t for t in whole if t != tokenizer.eos_token_id]
            alone = tokenizer(PROMPT.format(row["question"]))["input_ids"]
            assert ids[:start] == [t for t in alone if t != tokenizer.eos_token_id]
            said = "".join(tokenizer.convert_ids_to_tokens(ids[start:]))
            assert said.replace("Ġ", " ").replace("▁", " ") == f" {choice}"


def test_rows_hold_the_right_choice_to_train_on(tmp_path: Path) -> None:
    rows = questions(5)
    made = prepared(rows, TOKENIZERS["sentencewise"], tmp_path)
    assert made.answers is not None
    for i, row in enumerate(rows):
        start, end = int(made.answers.starts[i, row["answer"]]), int(made.answers.ends[i, row["answer"]])
        assert int(made.inputs["attention_mask"][i].sum()) == end
        assert made.inputs["scored"][i].nonzero().flatten().tolist() == list(range(start, end))
        assert made.inputs["input_ids"][i, :end].tolist() == made.answers.ids[i, row["answer"], :end].tolist()
    assert made.labels.tolist() == [row["answer"] for row in rows]


def test_a_batch_lists_its_scored_tokens(tmp_path: Path) -> None:
    made = prepared(questions(5), TOKENIZERS["bytewise"], tmp_path)
    inputs, _ = made.take(torch.tensor([3, 1]))
    ids = inputs["input_ids"]
    assert ids.shape[1] == int(inputs["attention_mask"].sum(dim=1).max())
    assert "scored" not in inputs
    assert ids.flatten()[inputs["places"] + 1].tolist() == inputs["targets"].tolist()
    assert float(inputs["shares"].sum()) == pytest.approx(2)


def test_the_right_choice_judged_is_the_one_trained(tmp_path: Path) -> None:
    made = prepared(questions(6), TOKENIZERS["bytewise"], tmp_path)
    inputs, labels = made.judged(torch.tensor([4, 2]))
    trained, _ = made.take(torch.tensor([4, 2]))
    first = [0, int(inputs["choices"][0])]
    for row in range(2):
        ids = inputs["input_ids"][first[row] + int(labels[row])]
        mask = inputs["attention_mask"][first[row] + int(labels[row])].bool()
        assert ids[mask].tolist() == trained["input_ids"][row][trained["attention_mask"][row].bool()].tolist()


def test_long_prompts_are_cut_from_the_left_and_counted(tmp_path: Path) -> None:
    long, short = {"question": "a long road " * 9, "choices": ["cold day", "warm"], "answer": 1}, questions(1)[0]
    tokenizer = TOKENIZERS["sentencewise"]
    whole = prepared([long, short], tokenizer, tmp_path, max_length=999).answers
    made = prepared([long, short], tokenizer, tmp_path, max_length=24)
    assert whole is not None
    assert made.answers is not None
    assert made.notes == ("1 of 2 questions of qa.jsonl are cut from the left to 24 tokens",)
    for choice in range(2):
        size = int(whole.ends[0, choice] - whole.starts[0, choice])
        ids = whole.ids[0, choice, : whole.ends[0, choice]].tolist()
        assert (int(made.answers.ends[0, choice]), int(made.answers.starts[0, choice])) == (24, 24 - size)
        assert made.answers.ids[0, choice, :24].tolist() == [tokenizer.bos_token_id, *ids[-23:]]


def test_a_choice_that_leaves_no_room_for_its_question_is_an_error(tmp_path: Path) -> None:
    rows = [questions(1)[0] | {"choices": ["warm", "cold " * 30], "answer": 0}]
    with pytest.raises(DataError, match=r"qa.jsonl row 0: choice 1 has \d+ tokens, which leaves no room .* 8; raise"):
        prepared(rows, TOKENIZERS["bytewise"], tmp_path, max_length=8)


def test_questions_are_tokenised_once_and_anew_for_another_length(tmp_path: Path) -> None:
    for length in (64, 64, 60):
        prepared(questions(3), TOKENIZERS["bytewise"], tmp_path, max_length=length)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_tokenizer_that_does_not_say_where_its_tokens_lie_is_refused(tmp_path: Path) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match=r"give the model a tokenizer\.json"):
        prepared(questions(1), Slow(), tmp_path)


def test_some_rows_alone_are_judged_as_among_all(tmp_path: Path) -> None:
    made = prepared(questions(6), TOKENIZERS["bytewise"], tmp_path)
    few = made.only(torch.tensor([5, 0]))
    for (mine, _), (theirs, _) in [
        (few.judged(torch.tensor([0])), made.judged(torch.tensor([5]))),
        (few.take(torch.tensor([0])), made.take(torch.tensor([5]))),
    ]:
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_typical_row_has_an_answer_of_mean_length(tmp_path: Path) -> None:
    rows = [questions(1)[0] | {"choices": [word, "x"], "answer": 0} for word in ("warm", "warm cold kind grim", "cold")]
    made = prepared(rows, TOKENIZERS["bytewise"], tmp_path)
    sizes = made.inputs["scored"].sum(dim=1)
    assert len(made.typical()["targets"]) == int(sizes[sizes >= sizes.double().mean()].min())
