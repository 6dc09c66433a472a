"""The rows of one client alone; those of the configuration's other clients are released."""

from __future__ import annotations

import torch

from fedstrata.data.tensors import ClientRows, FederatedData
from fedstrata.domain.ids import ClientId
from fedstrata.errors import DataError, nearest


def rows_alone(data: FederatedData, client: ClientId) -> FederatedData:
    """Return one client's rows in the order in which it had them, so that what is computed from them is the same.

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
