"""Answers as tensors: every choice of a question is a text of its own, of which the tokens of the choice are scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedstrata.domain.scored import CHOICES, PLACES, SHARES, TARGETS

IDS = "input_ids"
ATTENTION = "attention_mask"
"""The input that tells how long each padded text is."""
SCORED = "scored"
"""The input, for no model, that tells which tokens of each padded text are scored; bool ``[texts, length]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Every choice of every row, its prompt before it, padded on the right.

    Attributes:
        ids: Shape ``[rows, choices, length]``, int32.
        starts: Place of each choice's first token; shape ``[rows, choices]``, int32.
        ends: Place after its last token; shape ``[rows, choices]``, int32; 0 where a row has no such choice.

    Example:
        >>> ids = torch.tensor([[[5, 6, 7], [5, 6, 8]], [[5, 9, 0], [0, 0, 0]]], dtype=torch.int32)
        >>> answers = Answers(ids, torch.tensor([[1, 2], [1, 0]]), torch.tensor([[3, 3], [2, 0]]))
        >>> batch = answers.batch(torch.tensor([1, 0]))
        >>> batch["input_ids"].tolist(), batch["choices"].tolist()
        ([[5, 9, 0], [5, 6, 7], [5, 6, 8]], [1, 2])
        >>> batch["places"].tolist(), batch["targets"].tolist(), batch["shares"].tolist()
        ([0, 3, 4, 7], [9, 6, 7, 8], [1.0, 0.5, 0.5, 1.0])
    """

    ids: Tensor
    starts: Tensor
    ends: Tensor

    def only(self, indices: Tensor) -> Answers:
        """Return some rows."""
        return Answers(self.ids[indices], self.starts[indices], self.ends[indices])

    def right(self, answers: Tensor) -> dict[str, Tensor]:
        """Return the right choice of every row as padded texts, with the mask of its tokens.

        Args:
            answers: Position of the right choice; shape ``[rows]``, int64.
        """
        rows = torch.arange(len(answers))
        return _padded(self.ids[rows, answers], self.starts[rows, answers], self.ends[rows, answers])

    def passes(self, indices: Tensor, size: int) -> Iterator[Tensor]:
        """Yield rows in turn, as many at a time as have no more than ``size`` choices together, or a single one.

        Args:
            indices: Shape ``[rows]``, int64.
            size: Choices, at least 1.

        Example:
            >>> ends = torch.tensor([[3, 3, 3], [3, 3, 0], [3, 3, 0]])
            >>> answers = Answers(torch.zeros(3, 3, 3), torch.ones(3, 3), ends)
            >>> [rows.tolist() for rows in answers.passes(torch.tensor([1, 2, 0]), 4)]
            [[1, 2], [0]]
        """
        counts = (self.ends[indices] > 0).sum(dim=1).tolist()
        first = held = 0
        for place, count in enumerate(counts):
            if held + count > size and place > first:
                yield indices[first:place]
                first, held = place, 0
            held += count
        if first < len(indices):
            yield indices[first:]

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """Return all choices of some rows in turn, as texts trimmed to the longest of them.

        Args:
            indices: Shape ``[batch]``, int64.
        """
        some = self.only(indices)
        there = some.ends > 0
        texts = _padded(some.ids[there], some.starts[there], some.ends[there])
        return flattened(texts) | {CHOICES: there.sum(dim=1)}


def flattened(texts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return texts with their mask of scored tokens as a list of those tokens, whose length no model has to find out.

    Args:
        texts: ``input_ids`` and ``scored``, both ``[texts, length]``, among others that stay as they are.

    Example:
        >>> ids, scored = torch.tensor([[5, 6, 7]]), torch.tensor([[False, False, True]])
        >>> flat = flattened({"input_ids": ids, "scored": scored})
        >>> flat["places"].tolist(), flat["targets"].tolist(), flat["shares"].tolist()
        ([1], [7], [1.0])
    """
    scored, length = texts[SCORED], texts[SCORED].shape[1]
    row, column = scored.nonzero(as_tuple=True)
    return {name: tensor for name, tensor in texts.items() if name != SCORED} | {
        PLACES: row * length + column - 1,
        TARGETS: texts[IDS][row, column],
        SHARES: (1 / scored.sum(dim=1))[row],
    }


def _padded(ids: Tensor, starts: Tensor, ends: Tensor) -> dict[str, Tensor]:
    """Return texts ``[texts, longest]`` with the masks of their tokens and of their scored tokens."""
    columns = torch.arange(int(ends.max()) if len(ends) else 0)
    before_end = columns < ends[:, None]
    return {
        IDS: ids[:, : len(columns)].long(),
        ATTENTION: before_end.long(),
        SCORED: before_end & (columns >= starts[:, None]),
    }
