"""Who is evaluated together: clients side by side in the list, as many as fill a forward pass.

Which clients share passes follows from who is evaluated and from their numbers of held-out rows alone; not from the
engine, its workers, or who answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fedstrata.domain.ids import ClientId

MOST_CLIENTS = 256
"""Clients of one pool, at most: each request names them all."""


def pools(
    clients: Sequence[ClientId], held_out: Mapping[ClientId, int | None], most: int
) -> dict[ClientId, tuple[ClientId, ...]]:
    """Return for each client those that it is evaluated with; none for one that is evaluated alone.

    Args:
        clients: All that are evaluated, in order.
        held_out: Rows that each holds out; a client of whom that is not known is alone.
        most: Rows of one pool, at most; a client with more is alone, and 0 leaves everyone alone.

    Example:
        >>> a, b, c, d = (ClientId(name) for name in "abcd")
        >>> pools([a, b, c, d], {a: 2, b: 3, c: 4, d: 9}, 5)
        {'a': ('a', 'b'), 'b': ('a', 'b'), 'c': (), 'd': ()}
    """
    return {c: pool if len(pool) > 1 else () for pool in _filled(clients, held_out, most) for c in pool}


def _filled(
    clients: Sequence[ClientId], held_out: Mapping[ClientId, int | None], most: int
) -> Iterator[tuple[ClientId, ...]]:
    pool: list[ClientId] = []
    room = most
    for client in clients:
        rows = held_out.get(client)
        alone = rows is None or not 0 <= rows <= most or not most
        if pool and (rows is None or rows > room or alone or len(pool) == MOST_CLIENTS):
            yield tuple(pool)
            pool, room = [], most
        if rows is None or alone:
            yield (client,)
        else:
            pool.append(client)
            room -= rows
    if pool:
        yield tuple(pool)
