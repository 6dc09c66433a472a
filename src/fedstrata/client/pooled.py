"""Held-out rows of several clients in the same forward passes, so that an evaluation grows with rows, not with clients.

The server says which clients belong together (``server/together.py``). Whoever of them is asked first has the rows of
all judged, in the order of the clients; the others' sums are then there already. So a client's sums do not depend on
which of its neighbours are asked, on their order, or on the process that they are asked in.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fedstrata.client.evaluate import evaluate, judge
from fedstrata.client.prefix_cache import PrefixCache
from fedstrata.client.resident import ResidentModel
from fedstrata.client.seen import Seen
from fedstrata.data.tensors import ClientRows
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ClientError, nearest
from fedstrata.wire.messages import Evaluate


class Pool:
    """Evaluates clients, and remembers the sums of those that were evaluated together last.

    Example:
        See ``tests/client/test_pooled.py``.
    """

    def __init__(self) -> None:
        self._together: tuple[ClientId, ...] = ()
        self._seen: Seen | None = None
        self._sums: dict[ClientId, tuple[float, int]] = {}

    def sums(
        self,
        model: ResidentModel,
        request: Evaluate,
        *,
        clients: Mapping[ClientId, ClientRows],
        batch_size: int,
        cache: PrefixCache | None = None,
    ) -> tuple[float, int]:
        """Return the summed loss (nats) of a client's held-out rows, and the number of rows predicted right.

        Args:
            model: The resident model.
            request: Who is asked, at which weights, and who belongs to it.
            clients: Rows of each client.
            batch_size: Images or texts per forward pass; a question has a text for every choice.
            cache: Where outputs of layers that do not change are kept; it changes no bit.

        Raises:
            ClientError: The request names clients that are not here, or not the one that it asks.
        """
        own, weights = clients[request.client], request.weights
        if len(request.together) < 2:
            return evaluate(model, weights, rows=own.rows, indices=own.held_out, batch_size=batch_size, cache=cache)
        if not self._knows(request):
            held = _held(request, clients)
            indices = torch.cat(held)
            judged = judge(model, weights, rows=own.rows, indices=indices, batch_size=batch_size, cache=cache)
            parts = judged.split([len(rows) for rows in held])
            self._sums = {c: part.sums() for c, part in zip(request.together, parts, strict=True)}
            self._together, self._seen = request.together, Seen(weights)
        return self._sums[request.client]

    def _knows(self, request: Evaluate) -> bool:
        same = self._together == request.together and request.client in self._sums
        return same and self._seen is not None and self._seen.again(request.weights)


def _held(request: Evaluate, clients: Mapping[ClientId, ClientRows]) -> list[Tensor]:
    """Return the held-out rows of the clients that belong together."""
    together = request.together
    if request.client not in together or len(set(together)) < len(together):
        raise ClientError(f"the clients to evaluate together have to name client {request.client}, and nobody twice")
    stranger = next((c for c in together if c not in clients), None)
    if stranger is not None:
        raise ClientError(f"no data for client {stranger}; {nearest(stranger, clients)}")
    if any(clients[c].rows is not clients[request.client].rows for c in together):
        raise ClientError(f"the rows of client {request.client} are not in one table with those that it is named with")
    return [clients[c].held_out for c in together]
