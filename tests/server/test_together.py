"""Pools of clients: every client is in one, none is larger than a pass, and they follow from the list alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedstrata.domain.ids import ClientId
from fedstrata.server.together import MOST_CLIENTS, pools


@given(sizes=st.lists(st.none() | st.integers(0, 12), max_size=30), most=st.integers(0, 20))
def test_pools_are_runs_of_the_list_that_fill_a_pass(sizes: list[int | None], most: int) -> None:
    clients = [ClientId(f"c{i:02}") for i in range(len(sizes))]
    held_out = dict(zip(clients, sizes, strict=True))
    found = pools(clients, held_out, most)
    assert list(found) == clients
    for client, pool in found.items():
        if not pool:
            continue
        start = clients.index(pool[0])
        assert client in pool == tuple(clients[start : start + len(pool)])
        assert all(found[c] is pool for c in pool)
        rows = [held_out[c] for c in pool]
        assert None not in rows
        assert sum(n for n in rows if n is not None) <= most
        after = clients[start + len(pool) :]
        full = not after or held_out[after[0]] is None or sum(n or 0 for n in rows) + (held_out[after[0]] or 0) > most
        assert full


def test_a_pool_has_no_more_clients_than_a_request_may_name() -> None:
    clients = [ClientId(f"c{i:04}") for i in range(MOST_CLIENTS + 2)]
    found = pools(clients, dict.fromkeys(clients, 1), 10**6)
    assert len(found[clients[0]]) == MOST_CLIENTS
    assert found[clients[-1]] == (clients[-2], clients[-1])
