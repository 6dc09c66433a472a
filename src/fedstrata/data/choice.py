"""Questions to token ids by the model's tokenizer: every choice as the continuation of one prompt, cached as tensors.

    Question: {question}
    Answer: {choice}

The prompt ends in ``Answer:``, without a blank; the blank belongs to the choice, as it does to the first token of a
word in the vocabularies of causal models. Prompt and choice are tokenised as one text, and the choice's tokens are
those that end behind the prompt's last character. Tokenised apart, the two could come out as pieces that the tokenizer
never makes of the whole text (SentencePiece gives every text its own leading blank). Tokens that the tokenizer adds at
the end (end of text) are left out, so they are not scored; one that it adds at the beginning stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from fedstrata.data.answers import Answers
from fedstrata.data.cache import cached
from fedstrata.data.identity import tokenizer_identity
from fedstrata.data.table import Table
from fedstrata.data.tensors import TensorRows
from fedstrata.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROMPT = "Question: {}\nAnswer:"
"""What comes before every choice."""
_PADDING = 0  # no scored token sees what comes after it, so any token will do
_BATCH = 1024


def prepare_choices(
    table: Table, *, tokenizer: PreTrainedTokenizerBase, cache: Path, max_length: int = 128
) -> TensorRows:
    """Return a table of questions as model inputs.

    Args:
        table: Rows with questions.
        tokenizer: The model's tokenizer; it has to say which characters a token stands for (``tokenizer.json``).
        cache: Folder for the tensors; a second call with equal content reads them from there.
        max_length: Longer texts are cut to this many tokens, from the left, so that the choice stays whole; how many
            questions are cut is in the notes.

    Raises:
        DataError: A choice has no token, or leaves no room for any of its prompt.
        ModelError: The tokenizer does not say which characters a token stands for.

    Example:
        See ``tests/data/test_choice.py``.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            "choices need a tokenizer that knows which characters each token covers; give the model a tokenizer.json"
        )
    key = {
        "kind": "choices",
        "rows": table.fingerprint,
        "prompt": PROMPT,
        "max_length": max_length,
        "tokenizer": tokenizer_identity(tokenizer),
    }
    tensors, facts = cached(cache, key, lambda path: _write(path, table, tokenizer, max_length))
    answers = Answers(tensors["ids"], tensors["starts"], tensors["ends"])
    labels = torch.from_numpy(table.labels)
    cut = facts["cut"]
    note = f"{cut} of {len(table)} questions of {table.files[0]} are cut from the left to {max_length} tokens"
    return TensorRows(answers.right(labels), labels, (note,) if cut else (), answers)


def _write(path: Path, table: Table, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Mapping[str, object]:
    """Write ids, starts and ends of all choices, and count the questions that were cut."""
    questions = table.questions()
    where = [(row, number) for row, (_, choices) in enumerate(questions) for number in range(len(choices))]
    starts = torch.zeros(len(questions), max(len(choices) for _, choices in questions), dtype=torch.int32)
    ends = torch.zeros_like(starts)
    cut: set[int] = set()
    texts: list[list[int]] = []
    for (row, number), text in zip(where, _encoded(questions, tokenizer), strict=True):
        tokens = _fitted(text, max_length, table.place(row), number)
        if len(tokens) < len(text.tokens):
            cut.add(row)
        texts.append(tokens)
        starts[row, number], ends[row, number] = len(tokens) - text.scored, len(tokens)
    ids = torch.full((*starts.shape, int(ends.max())), _PADDING, dtype=torch.int32)
    for (row, number), tokens in zip(where, texts, strict=True):
        ids[row, number, : len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
    save_file({"ids": ids, "starts": starts, "ends": ends}, path)
    return {"cut": len(cut)}


@dataclass(frozen=True, slots=True)
class _Text:
    """One choice after its prompt.

    Attributes:
        tokens: All of them.
        added: How many at the beginning the tokenizer added.
        scored: How many at the end are the choice's.
    """

    tokens: list[int]
    added: int
    scored: int


def _fitted(text: _Text, max_length: int, place: str, number: int) -> list[int]:
    """Return the tokens, those after the added ones cut from the left to ``max_length``.

    Raises:
        DataError: The choice or the question has no token, or there is no room for both.
    """
    if not text.scored or text.added + text.scored == len(text.tokens):
        part = "the question" if text.scored else f"choice {number}"
        raise DataError(f"{place}: the tokenizer finds no token in {part}; remove the row")
    over = len(text.tokens) - max_length
    if over <= 0:
        return text.tokens
    if text.added + 1 + text.scored > max_length:
        raise DataError(
            f"{place}: choice {number} has {text.scored} tokens, which leaves no room for its question among"
            f" {max_length}; raise max_length, or remove the row"
        )
    return text.tokens[: text.added] + text.tokens[text.added + over :]


def _encoded(questions: Sequence[tuple[str, tuple[str, ...]]], tokenizer: PreTrainedTokenizerBase) -> Iterator[_Text]:
    """Yield the tokens of each choice after its prompt, without those that the tokenizer adds at the end."""
    pairs = [(PROMPT.format(question), choice) for question, choices in questions for choice in choices]
    for first in range(0, len(pairs), _BATCH):
        some = pairs[first : first + _BATCH]
        encoded = tokenizer(
            [f"{prompt} {choice}" for prompt, choice in some],
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        fields = ("input_ids", "offset_mapping", "special_tokens_mask")
        for (prompt, _), ids, spans, added in zip(some, *(encoded[name] for name in fields), strict=True):
            own = [place for place, special in enumerate(added) if not special]
            end = own[-1] + 1 if own else 0
            scored = sum(spans[place][1] > len(prompt) for place in own)
            yield _Text(ids[:end], own[0] if own else 0, scored)
