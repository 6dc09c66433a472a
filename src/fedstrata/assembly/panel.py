"""Whose held-out rows are evaluated: all clients', or those of a panel that is drawn once for the whole run.

The same clients in every round, so that rounds are compared, and the best one chosen, on the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fedstrata.data.tensors import ATTENTION, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.selection import ClientProfile
from fedstrata.errors import ConfigError

_STREAM = "/panel"
"""Name of the panel's random stream; no client can have it, for the slash."""
_PASSES = 8
"""Passes that texts are sorted by length over, so that they pad little."""


def draw_panel(
    asked: Literal["all"] | int | float, profiles: Mapping[ClientId, ClientProfile], seeds: Seeds
) -> tuple[ClientId, ...] | None:
    """Return the clients that are evaluated, ascending by name; ``None`` for all that hold rows out.

    Args:
        asked: ``all``, a number of clients (``int``), or a share of those that hold rows out (``float``).
        profiles: What is known of each client.
        seeds: The run's random streams.

    Raises:
        ConfigError: More clients than hold rows out.

    Example:
        See ``tests/assembly/test_panel.py``.
    """
    if asked == "all":
        return None
    able = sorted(client for client, profile in profiles.items() if profile.held_out != 0)
    count = asked if isinstance(asked, int) else max(round(float(asked) * len(able)), 1)
    if count > len(able):
        advice = f"use {len(able)} or fewer, or all" if able else "set data.held_out, or leave it out"
        raise ConfigError(f"it is {asked}, but {len(able)} clients hold rows out to evaluate on; {advice}")
    drawn = seeds.generator(Phase.EVALUATE, client=_STREAM).choice(len(able), size=count, replace=False)
    return tuple(able[index] for index in sorted(drawn.tolist()))


def rows_together(rows: TensorRows, batch_size: int) -> int:
    """Return how many held-out rows of clients share passes: those of one, or of texts those of several to sort."""
    return batch_size * (_PASSES if ATTENTION in rows.inputs else 1)
