"""Texts to token ids by the model's tokenizer: once, padded to the longest row, cached as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from fedstrata.data.answers import ATTENTION, IDS
from fedstrata.data.cache import cached
from fedstrata.data.identity import tokenizer_identity
from fedstrata.data.table import Table
from fedstrata.data.tensors import TensorRows
from fedstrata.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def ensure_pad(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Give a tokenizer without a pad token its end token as one, and return a note that says so.

    The model's ``config.pad_token_id`` has to be set to ``tokenizer.pad_token_id`` as well where it is ``None``.

    Raises:
        ModelError: The tokenizer has neither.

    Example:
        See ``tests/data/test_text.py``.
    """
    if tokenizer.pad_token_id is not None:
        return None
    if tokenizer.eos_token is None:
        raise ModelError("the tokenizer has neither a pad token nor an end token; set its pad_token")
    tokenizer.pad_token = tokenizer.eos_token
    return f"the tokenizer has no pad token: its end token '{tokenizer.eos_token}' pads"


def prepare_texts(
    table: Table, *, tokenizer: PreTrainedTokenizerBase, cache: Path, max_length: int = 128, note: str | None = None
) -> TensorRows:
    """Return a table of texts as model inputs, padded on the right to the longest of them.

    Args:
        table: Rows with texts.
        tokenizer: The model's tokenizer.
        cache: Folder for the tensors; a second call with equal content reads them from there.
        max_length: Longer texts are cut to this many tokens, and counted in the notes.
        note: What was decided about the tokenizer; it comes first in the notes.

    Raises:
        DataError: A text has no token.
        ModelError: The tokenizer has no token to pad with.

    Example:
        See ``tests/data/test_text.py``.
    """
    note = ensure_pad(tokenizer) or note
    key = {
        "kind": "texts",
        "rows": table.fingerprint,
        "max_length": max_length,
        "tokenizer": tokenizer_identity(tokenizer),
    }
    tensors, facts = cached(cache, key, lambda path: _write(path, table, tokenizer, max_length))
    cut = facts["cut"]
    notes = [note] if note else []
    if cut:
        notes.append(f"{cut} of {len(table)} texts of {table.files[0]} are cut to {max_length} tokens")
    inputs = {IDS: tensors[IDS].long(), ATTENTION: tensors[ATTENTION].long()}
    return TensorRows(inputs, torch.from_numpy(table.labels), tuple(notes))


def _write(path: Path, table: Table, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Mapping[str, object]:
    texts = list(table.texts())
    rows = tokenizer(texts, truncation=True, max_length=max_length, verbose=False)[IDS]
    empty = next((i for i, ids in enumerate(rows) if not ids), None)
    if empty is not None:
        raise DataError(f"{table.place(empty)}: the tokenizer finds no token in the text; remove the row")
    longest = max(len(ids) for ids in rows)
    ids = torch.full((len(rows), longest), int(tokenizer.pad_token_id), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    save_file({IDS: ids, ATTENTION: mask}, path)
    return {
        "cut": _count_cut([t for t, r in zip(texts, rows, strict=True) if len(r) == max_length], tokenizer, max_length)
    }


def _count_cut(full: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> int:
    """Return how many of the texts that fill ``max_length`` would have gone on."""
    if not full:
        return 0
    longer = tokenizer(list(full), truncation=True, max_length=max_length + 1, verbose=False)[IDS]
    return sum(len(tokens) > max_length for tokens in longer)
