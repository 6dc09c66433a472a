"""Layer-wise averaging against the memory bandwidth floor, and against stacking and averaging.

The floor is the time to read every update once and write the sum once, at the bandwidth of one large copy here.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

import torch

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import LayerMap
from fedstrata.wire.messages import Update

ELEMENTS = 10_000_000
UPDATES = 20
REPEATS = 5


def seconds(work: object) -> float:
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        work()  # type: ignore[operator]
        times.append(perf_counter() - start)
    return median(times)


def main() -> None:
    torch.set_num_threads(1)
    name = TensorName("w")
    start = {name: torch.zeros(ELEMENTS)}
    deltas = [torch.full((ELEMENTS,), float(i)) for i in range(UPDATES)]
    updates = [
        Update(ClientId(f"c{i:02d}"), 0, frozenset(), {name: delta}, i + 1, 1, 0.0, 0.0, 0.0)
        for i, delta in enumerate(deltas)
    ]
    aggregator = LayerwiseMean()
    state = aggregator.init(start, LayerMap(()))
    target = torch.empty(ELEMENTS)
    copy = seconds(lambda: target.copy_(deltas[0]))  # reads one tensor and writes one
    floor = copy * (UPDATES + 1) / 2
    ours = seconds(lambda: aggregator.apply(start, updates, state))
    stacked = seconds(lambda: torch.stack(deltas).mul(torch.arange(1.0, UPDATES + 1)[:, None]).sum(0))
    print(f"{UPDATES} updates x {ELEMENTS / 1e6:.0f} M float32: floor {floor:.3f} s")
    print(f"  layer-wise mean, streamed  {ours:.3f} s   {ours / floor:.1f}x the floor")
    print(f"  stack and sum              {stacked:.3f} s   {stacked / floor:.1f}x the floor")


if __name__ == "__main__":
    main()
