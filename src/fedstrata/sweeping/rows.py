"""Rows that one process loads once for several runs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from fedstrata.assembly.loading import load_rows
from fedstrata.assembly.provenance import resolved_values
from fedstrata.assembly.runtime import LoadRows
from fedstrata.config.load import Loaded
from fedstrata.data.tensors import FederatedData

_NOT_ABOUT_ROWS = frozenset(
    {
        *("name", "output", "engine", "workers", "flower", "checkpoint", "threads", "device", "devices"),
        *("score", "cost", "budget", "sampler", "selector", "trainer", "aggregator", "below_budget"),
        *("probe", "train", "round", "upload", "evaluate"),
    }
)
"""Keys that rows do not depend on; a key that is new counts as one that they do."""


@dataclass(slots=True)
class LatestRows:
    """Loads rows, and keeps the latest: runs that differ in nothing that rows depend on share them.

    Rows are never written to, so sharing changes no bit.

    Attributes:
        load: Loads them.

    Example:
        See ``tests/sweeping/test_sweep_shared.py``.
    """

    load: LoadRows = load_rows
    _key: str | None = None
    _rows: FederatedData | None = None

    def __call__(self, loaded: Loaded) -> FederatedData:
        """Return the rows of a configuration."""
        values = {key: value for key, value in resolved_values(loaded).items() if key not in _NOT_ABOUT_ROWS}
        key = json.dumps(values, sort_keys=True, default=str)
        if self._rows is None or key != self._key:
            self._key = self._rows = None  # the old rows go before the new ones come
            self._rows = self.load(loaded)
            self._key = key
        return self._rows
