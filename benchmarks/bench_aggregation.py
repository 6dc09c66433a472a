"""Layer-wise averaging of a stream of updates against the bandwidth floor, and its memory against one model.

The floor is the time to read every update once and to write the mean once, at the bandwidth of a copy here. Updates
come one at a time, and each is let go before the next: that is what bounds memory to one model and one update, and
why the sum is read and written anew for each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from memory import settle, status
from rows import Row, in_turn, of_pairs
from torch import Tensor

from fedstrata.aggregators.layerwise_mean import LayerwiseMean, mean_deltas
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import LayerMap
from fedstrata.wire.messages import Update

UPDATES, TENSORS = 20, 12


def stream(deltas: dict[TensorName, Tensor]) -> Iterator[Update]:
    """Yield the updates; all hold the same deltas, which no cache holds."""
    for i in range(UPDATES):
        yield Update(ClientId(f"c{i:02d}"), 0, frozenset(), deltas, i + 1, 1, 0.0, 0.0, 0.0)


def compare(*, short: bool) -> Iterator[Row]:
    torch.set_num_threads(1)
    millions = 24 if short else 90
    each = millions * 1_000_000 // TENSORS
    deltas = {TensorName(f"t{i}"): torch.full((each,), float(i)) for i in range(TENSORS)}
    start = {name: torch.zeros(each) for name in deltas}
    target = {name: torch.zeros(each) for name in deltas}
    aggregator = LayerwiseMean()
    state = aggregator.init(start, LayerMap(()))
    update = sum(delta.nbytes for delta in deltas.values())

    def copied() -> None:
        for name, delta in deltas.items():
            target[name].copy_(delta)

    def stacked() -> None:
        for delta in deltas.values():
            torch.stack([delta] * UPDATES).mul_(torch.arange(1.0, UPDATES + 1)[:, None]).sum(0)

    times = in_turn(lambda: aggregator.apply(start, stream(deltas), state), copied, 3 if short else 5)
    floors = [(ours, copy * (UPDATES + 1) / 2) for ours, copy in times]  # a copy reads and writes
    name = f"mean of {UPDATES} updates of {millions} M: "
    yield of_pairs(f"{name}to the bandwidth floor", floors, goal=2.0)
    yield of_pairs(f"{name}to stack and sum", in_turn(lambda: mean_deltas(stream(deltas)), stacked, 1))
    before = settle()
    aggregator.apply(start, stream(deltas), state)
    grown = status("VmHWM") - before
    yield Row(
        f"{name}memory beside the update in hand: to one model",
        grown / 1e6,
        update / 1e6,
        grown / update,
        1.15,
        unit="MB",
    )


if __name__ == "__main__":
    for row in compare(short="--short" in sys.argv):
        print(row, flush=True)
