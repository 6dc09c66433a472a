"""Rows that are only ever used together, where a site's file asks for more than one row (``limits.min_rows``).

The rows are cut once into fixed groups of at least so many. A group is trained on, probed or evaluated whole or not at
all, so all that leaves is a function of sums over whole groups. That holds together over messages: whatever weights,
plans, seeds, rounds and run names a server sends, the difference of two answers, and any other combination, tells of no
fewer rows than a group has. Groups follow from the site's rows alone, and from nothing that a server says.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from fedstrata.data.tensors import ClientRows
from fedstrata.domain.seeds import Phase, Seeds

_STREAM = "/groups"


def in_groups(rows: ClientRows, least: int, *, held_out: float | None) -> ClientRows:
    """Return a site's rows in groups.

    Args:
        rows: The site's rows, by their places in the site's own files.
        least: Rows of a group.
        held_out: Share of the groups to evaluate on, where that is not divided by the site itself; ``None`` keeps the
            division that ``rows`` has.

    Example:
        ``tests/deploy/site/test_groups.py`` combines the answers to many plans, and never gets at a group's parts.
    """
    if least == 1:
        return rows
    if held_out is None:
        return replace(rows, together=least)
    everything = torch.cat([rows.train, rows.held_out]).sort().values
    order = Seeds(0).generator(Phase.DATA, client=_STREAM).permutation(len(everything))
    shuffled = everything[torch.from_numpy(order)]
    groups = max(len(shuffled) // least, 1)
    apart = min(groups - 1, max(1, round(held_out * groups))) if held_out else 0
    return ClientRows(rows.rows, shuffled[apart * least :], shuffled[: apart * least], together=least)
