"""Rows as tensors: what clients train on, shared by reference and indexed, never copied per client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedstrata.data.answers import ATTENTION as ATTENTION
from fedstrata.data.answers import SCORED, Answers, flattened
from fedstrata.domain.card import DataCard
from fedstrata.domain.ids import ClientId
from fedstrata.errors import DataError
from fedstrata.memory_alignment import aligned


@dataclass(frozen=True, slots=True, eq=False)
class TensorRows:
    """Labelled rows, ready for a model.

    Attributes:
        inputs: Model inputs by keyword, each ``[rows, ...]``: ``pixel_values`` float32 ``[rows, C, H, W]``, or
            ``input_ids`` and ``attention_mask`` int64 ``[rows, length]``, padded on the right; of questions with
            choices the right one, and ``scored``, which of its tokens are trained.
        labels: Shape ``[rows]``, int64, 0-based.
        notes: What preparing the rows had to decide, one sentence each.
        answers: All choices of every row, where the rows are questions.

    Example:
        >>> import torch
        >>> rows = TensorRows({"pixel_values": torch.zeros(3, 1, 8, 8)}, torch.tensor([0, 1, 0]))
        >>> inputs, labels = rows.take(torch.tensor([2, 1]))
        >>> tuple(inputs["pixel_values"].shape), labels.tolist()
        ((2, 1, 8, 8), [0, 1])
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    notes: tuple[str, ...] = ()
    answers: Answers | None = None

    def __post_init__(self) -> None:
        """Check that every input has one row per label."""
        for name, tensor in self.inputs.items():
            if len(tensor) != len(self.labels):
                raise DataError(f"input '{name}' has {len(tensor)} rows for {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def by_length(self, indices: Tensor) -> Tensor:
        """Return the indices with texts of like length side by side (stable), so that batches pad little.

        Args:
            indices: Shape ``[rows]``, int64; images keep their order.
        """
        if ATTENTION not in self.inputs:
            return indices
        return indices[self.inputs[ATTENTION][indices].sum(dim=1).argsort(stable=True)]

    def only(self, indices: Tensor) -> TensorRows:
        """Return some rows, in that order, as rows of their own.

        Args:
            indices: Shape ``[rows]``, int64.
        """
        inputs = {name: tensor[indices] for name, tensor in self.inputs.items()}
        answers = None if self.answers is None else self.answers.only(indices)
        return TensorRows(inputs, self.labels[indices], self.notes, answers)

    def typical(self) -> dict[str, Tensor]:
        """Return the inputs of one row, to measure a step with: of questions one whose answer is as long as most.

        The answer has the mean number of tokens or, if none has, the next larger number.
        """
        if SCORED not in self.inputs:
            return self.take(torch.zeros(1, dtype=torch.int64))[0]
        tokens = self.inputs[SCORED].sum(dim=1)
        reach = tokens >= tokens.double().mean()
        return self.take(torch.where(reach, tokens, tokens.max() + 1).argmin()[None])[0]

    def take(self, indices: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the inputs and labels to train on some rows, aligned, texts trimmed to the longest of them.

        Args:
            indices: Shape ``[batch]``, int64.
        """
        inputs = {name: tensor[indices] for name, tensor in self.inputs.items()}
        if ATTENTION in inputs and len(indices):
            longest = int(inputs[ATTENTION].sum(dim=1).max())
            inputs = {name: tensor[:, :longest] for name, tensor in inputs.items()}
        return _aligned(flattened(inputs) if SCORED in inputs else inputs), aligned(self.labels[indices])

    def passes(self, indices: Tensor, size: int) -> Iterator[Tensor]:
        """Yield the rows to judge in one forward pass, rows of like length side by side.

        Args:
            indices: The rows to judge; shape ``[rows]``, int64.
            size: Texts or images of a pass, at most; but a row's choices are never parted.
        """
        ordered = self.by_length(indices)
        yield from ordered.split(size) if self.answers is None else self.answers.passes(ordered, size)

    def judged(self, indices: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the inputs and labels to judge some rows by, aligned: of questions, every choice.

        Args:
            indices: Shape ``[batch]``, int64.
        """
        if self.answers is None:
            return self.take(indices)
        return _aligned(self.answers.batch(indices)), aligned(self.labels[indices])


def _aligned(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return inputs as kernels want them: a trimmed text is otherwise as long in memory as the longest of all."""
    return {name: aligned(tensor) for name, tensor in inputs.items()}


@dataclass(frozen=True, slots=True, eq=False)
class ClientRows:
    """The rows of one client.

    Attributes:
        rows: The rows of all clients, one object for all of them.
        train: Indices of the rows this client trains on; shape ``[train rows]``, int64, never empty.
        held_out: Indices of the rows this client is evaluated on; shape ``[held-out rows]``, int64.
        together: Training rows, in their order, of each of the groups that are only used whole; 1 for single rows.
    """

    rows: TensorRows
    train: Tensor
    held_out: Tensor
    together: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class FederatedData:
    """Everything a run reads: the clients' rows and the server's test rows.

    Attributes:
        clients: Rows of each client, ascending by name.
        test: The server's test rows; no client holds them.
        labels: Name of each label, by index.
        card: What was kept, dropped and given to whom.
    """

    clients: Mapping[ClientId, ClientRows]
    test: TensorRows
    labels: tuple[str, ...]
    card: DataCard

    @property
    def at_hand(self) -> TensorRows:
        """Rows of a client or, where no client is here, the test rows."""
        return next((client.rows for client in self.clients.values()), self.test)
