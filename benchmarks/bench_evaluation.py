"""An evaluation of many clients with few rows each, against one evaluation of all rows as one client's.

Every client is asked by a message of its own, as in a round; together, and alone (``evaluate.pooled: false``).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from rows import Row, in_turn, of_pairs

from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import prepare_run
from fedstrata.client.evaluate import evaluate
from fedstrata.client.handler import Handler
from fedstrata.config.load import check_config
from fedstrata.data.tensors import ClientRows, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Metrics
from fedstrata.domain.seeds import Seeds
from fedstrata.engines.local import LocalEngine
from fedstrata.server.evaluation import evaluate_all
from fedstrata.server.run import initial_state

ROWS, TURNS = 10_000, 3
CLIENTS = (100, 1_000, 2_000)
BATCH = 256


def prepared(folder: Path) -> PreparedRun:
    config = {
        "model": {"path": "embedded:vit-digits"},
        "data": {"kind": "digits", "partition": {"kind": "iid", "clients": 2}},
        "selector": "top",
        "cost": "layers",
        "budget": 1,
        "train": {"steps": 1, "lr": 0.1},
        "output": str(folder / "run"),
    }
    return prepare_run(check_config(config))


def tiled(rows: TensorRows, count: int) -> TensorRows:
    return rows.only(torch.arange(count) % len(rows))


def compare(*, short: bool) -> Iterator[Row]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = prepared(Path(folder))
    rows, model = tiled(run.data.at_hand, ROWS), run.resident
    state, everything = initial_state(run.setting, run.weights), torch.arange(ROWS)

    def whole() -> object:
        return evaluate(model, run.weights, rows=rows, indices=everything, batch_size=BATCH)

    def asked(clients: int, together: int) -> object:
        parts = everything.chunk(clients)
        held = {ClientId(f"client-{i:05}"): ClientRows(rows, part[:1], part) for i, part in enumerate(parts)}
        return evaluate_all(
            state,
            list(held),
            engine=LocalEngine(Handler(model, held, Seeds(0), BATCH)),
            test=lambda _: Metrics(0.0, 0.0, 1),
            held_out={client: len(own.held_out) for client, own in held.items()},
            rows_together=together,
        )

    for clients in (1_000,) if short else CLIENTS:
        for words, together in (("together", BATCH), ("alone", 0)):
            times = in_turn(partial(asked, clients, together), whole, TURNS)
            name = f"evaluation of {clients:,} clients {words}: to one of {ROWS:,} rows"
            yield of_pairs(name, times, goal=1.2 if together and clients == 1_000 else None)


if __name__ == "__main__":
    for row in compare(short="--short" in sys.argv):
        print(row, flush=True)
