"""A site's rows: those of its own client alone, and in groups where its file asks for it (``limits.min_rows``).

The rows are cut once into fixed groups of at least so many. A group is trained on, probed or evaluated whole or not at
all, so all that leaves is a function of sums over whole groups. That holds together over messages: whatever weights,
plans, seeds, rounds and run names a server sends, the difference of two answers, and any other combination, tells of no
fewer rows than a group has. Groups follow from the site's rows alone, and from nothing that a server says.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from fedstrata.data.tensors import ClientRows, FederatedData
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import DataError, nearest

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


def rows_alone(data: FederatedData, client: ClientId) -> FederatedData:
    """Return one client's rows in the order in which it had them; those of the configuration's others are released.

    Raises:
        DataError: There is no such client.
    """
    if client not in data.clients:
        raise DataError(f"the configuration has no client {client}; {nearest(client, data.clients)}")
    own = data.clients[client]
    rows = own.rows.only(torch.cat([own.train, own.held_out]))
    places = torch.arange(len(rows))
    train, held_out = places[: len(own.train)], places[len(own.train) :]
    test = data.test.only(places[:0])
    return FederatedData({client: ClientRows(rows, train, held_out, own.together)}, test, data.labels, data.card)
