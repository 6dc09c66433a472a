"""Tensors by key within a number of bytes: what was not used for longest makes room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor

Group = Hashable
"""What is valid together."""


class PrefixStore:
    """Keeps tensors, never more of them than fit.

    Args:
        most: Bytes.

    Example:
        >>> import torch
        >>> store = PrefixStore(most=8)
        >>> store.put("a", 1, (torch.zeros(1),)), store.put("a", 2, (torch.zeros(1),))
        (None, None)
        >>> found = store.get("a", 1)
        >>> store.put("a", 3, (torch.zeros(1),))
        >>> [store.get("a", unit) is not None for unit in (1, 2, 3)], store.bytes
        ([True, False, True], 8)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0
        """Bytes that are kept."""
        self._kept: OrderedDict[tuple[Group, Hashable], tuple[Tensor, ...]] = OrderedDict()

    @property
    def groups(self) -> set[Group]:
        """The groups that something is kept of."""
        return {group for group, _ in self._kept}

    def get(self, group: Group, unit: Hashable) -> tuple[Tensor, ...] | None:
        """Return what is kept, or ``None``."""
        found = self._kept.get((group, unit))
        if found is not None:
            self._kept.move_to_end((group, unit))
        return found

    def put(self, group: Group, unit: Hashable, tensors: tuple[Tensor, ...]) -> None:
        """Keep tensors, if they fit at all; they are not to be changed afterwards."""
        size = _bytes(tensors)
        if size > self.most:
            return
        self._remove((group, unit))
        while self.bytes + size > self.most:
            self._remove(next(iter(self._kept)))
        self._kept[group, unit] = tensors
        self.bytes += size

    def drop(self, group: Group) -> None:
        """Forget a group."""
        for key in [key for key in self._kept if key[0] == group]:
            self._remove(key)

    def _remove(self, key: tuple[Group, Hashable]) -> None:
        self.bytes -= _bytes(self._kept.pop(key, ()))


def _bytes(tensors: tuple[Tensor, ...]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
