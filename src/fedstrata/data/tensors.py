"""Rows as tensors: what clients train on, shared by reference and indexed, never copied per client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from fedstrata.data.card import DataCard
from fedstrata.domain.ids import ClientId
from fedstrata.errors import DataError

ATTENTION = "attention_mask"
"""The input that tells how long each padded text is."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorRows:
    """Labelled rows, ready for a model.

    Attributes:
        inputs: Model inputs by keyword, each ``[rows, ...]``: ``pixel_values`` float32 ``[rows, C, H, W]``, or
            ``input_ids`` and ``attention_mask`` int64 ``[rows, length]``, padded on the right.
        labels: Shape ``[rows]``, int64, 0-based.
        notes: What preparing the rows had to decide, one sentence each.

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

    def take(self, indices: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the inputs and labels of some rows, texts trimmed to the longest of them.

        Args:
            indices: Shape ``[batch]``, int64.
        """
        inputs = {name: tensor[indices] for name, tensor in self.inputs.items()}
        if ATTENTION in inputs and len(indices):
            longest = int(inputs[ATTENTION].sum(dim=1).max())
            inputs = {name: tensor[:, :longest] for name, tensor in inputs.items()}
        return inputs, self.labels[indices]


@dataclass(frozen=True, slots=True, eq=False)
class ClientRows:
    """The rows of one client.

    Attributes:
        rows: The rows of all clients, one object for all of them.
        train: Indices of the rows this client trains on; shape ``[train rows]``, int64, never empty.
        held_out: Indices of the rows this client is evaluated on; shape ``[held-out rows]``, int64.
    """

    rows: TensorRows
    train: Tensor
    held_out: Tensor


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
