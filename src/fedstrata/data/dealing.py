"""Dealing one column's rows among several clients: evenly, or so that no two clients share a value of another column.

Parallel data hold the same content many times, such as a sentence in every language under one id. If clients are dealt
rows alone, one client trains on the translation of another's row, and the clients are less different than they look.
Dealing whole values keeps them apart, at the price of the rows that belong to nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedstrata.data.names import safe_ids
from fedstrata.domain.ids import ClientId

Rows = NDArray[np.int64]


def numbered(natural: Sequence[str], count: int) -> dict[ClientId, str]:
    """Return the id of each client, where every id is given to ``count`` clients; ascending by id, then number.

    Example:
        >>> numbered(["Photo", "art"], 2)
        {'photo-0': 'Photo', 'photo-1': 'Photo', 'art-0': 'art', 'art-1': 'art'}
        >>> numbered(["art"], 1)
        {'art': 'art'}
    """
    names = safe_ids(natural)
    if count == 1:
        return {name: raw for raw, name in names.items()}
    width = len(str(count - 1))
    long = {f"{name}-{i:0{width}}": raw for raw, name in names.items() for i in range(count)}
    short = safe_ids(long)  # a name that the number makes too long is cut again
    return {short[name]: raw for name, raw in long.items()}


def deal_evenly(order: Rows, ids: Sequence[str], clients: Mapping[ClientId, str]) -> dict[ClientId, Rows]:
    """Return each client's rows: an even share of its id's, in this order, shares differing by one row at most.

    Args:
        order: All row numbers, shuffled.
        ids: The id of each row.
        clients: The id of each client.

    Example:
        >>> dealt = deal_evenly(np.array([2, 0, 1]), ["a", "a", "a"], {ClientId("a-0"): "a", ClientId("a-1"): "a"})
        >>> {client: rows.tolist() for client, rows in dealt.items()}
        {'a-0': [2, 0], 'a-1': [1]}
    """
    column = np.array(ids, dtype=object)[order]
    dealt: dict[ClientId, Rows] = {}
    for raw in dict.fromkeys(clients.values()):
        own = [client for client, theirs in clients.items() if theirs == raw]
        dealt.update(zip(own, np.array_split(order[column == raw], len(own)), strict=True))
    return dealt


def deal_apart(
    order: Rows,
    ids: Sequence[str],
    values: Sequence[str],
    clients: Mapping[ClientId, str],
    rng: np.random.Generator,
) -> dict[ClientId, Rows]:
    """Return each client's rows, no two clients sharing a value: those of its id whose value is its own.

    Values are dealt in random order, those that fewest ids have first, each to the client that has the fewest rows so
    far among the clients whose id has the value; where two have equally few, a random order of clients decides. Where
    every id has one row of every value, clients differ by one row at most.

    Args:
        order: All row numbers, shuffled.
        ids: The id of each row.
        values: The value of each row that clients must not share.
        clients: The id of each client.
        rng: Draws the two orders.

    Example:
        >>> two = {ClientId("de"): "de", ClientId("fr"): "fr"}
        >>> dealt = deal_apart(np.arange(4), ["de", "fr"] * 2, ["1", "1", "2", "2"], two, np.random.default_rng(0))
        >>> {client: rows.tolist() for client, rows in dealt.items()}
        {'de': [0], 'fr': [3]}
    """
    held = Counter(zip(values, ids, strict=True))
    owners: dict[str, list[str]] = {}
    for value, raw in sorted(held):
        owners.setdefault(value, []).append(raw)
    names = list(owners)
    turns = sorted((names[i] for i in rng.permutation(len(names))), key=lambda value: len(owners[value]))
    rank = {client: i for i, client in enumerate(np.array(list(clients), dtype=object)[rng.permutation(len(clients))])}
    rows = dict.fromkeys(clients, 0)
    owner: dict[str, ClientId] = {}
    for value in turns:
        able = [client for client, raw in clients.items() if raw in owners[value]]
        owner[value] = min(able, key=lambda client: (rows[client], rank[client]))
        rows[owner[value]] += held[value, clients[owner[value]]]
    theirs = np.array([owner[v] if clients[owner[v]] == raw else "" for raw, v in zip(ids, values, strict=True)])
    return {client: order[theirs[order] == client] for client in clients}
