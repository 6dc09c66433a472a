"""Seconds per round over one Ray node of one core, and over two: what a cluster gains where a round is compute-bound.

    make bench ARGS="--only cluster"

Both nodes run on this machine, which needs three free cores: one for each node, and one for the server. The round is
that of ``bench_workers.py``, and its weights have to be those of one process, bit by bit. A round waits for other
processes, so it is timed by the clock on the wall, turn by turn; only the ratios mean something.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent))

from bench_workers import prepared
from rows import Row, of_pairs

CASES = ((60, 32), (20, 32), (2, 8))
_MEMORY = 200 * 2**20  # bytes of each node's object store


@contextmanager
def two_nodes() -> Iterator[str]:
    """Start two Ray nodes of one core, which take calls with a token alone, and yield their cluster's address."""
    with tempfile.TemporaryDirectory(prefix="fs-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "ray").mkdir()
        os.environ |= {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        cluster.add_node(num_cpus=1, object_store_memory=_MEMORY, include_dashboard=False, temp_dir=f"{folder}/h")
        cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
        try:
            yield str(cluster.address)
        finally:
            cluster.shutdown()


def compare(*, short: bool) -> Iterator[Row]:
    """Yield a row per length of the local phase; the goal is that of the longest, which is compute-bound."""
    with tempfile.TemporaryDirectory() as folder, two_nodes() as address:
        for place, (steps, batch) in enumerate(CASES[:1] if short else CASES):
            pairs = turns(Path(folder), address, steps=steps, batch=batch, count=3 if short else 5)
            name = f"round of 8 clients, {steps} steps of {batch} rows: one Ray node of one core / two"
            yield of_pairs(name, pairs, goal=None if place else 1.7, gain=True)


def turns(folder: Path, address: str, *, steps: int, batch: int, count: int) -> list[tuple[float, float]]:
    """Return the seconds of a round with two actors and with one, in turn, after a round that is let go by."""
    import torch

    from fedstrata.assembly.runtime import handler_of
    from fedstrata.assembly.worker import recipe
    from fedstrata.engines.local import LocalEngine
    from fedstrata.engines.ray.cluster import Need, connect
    from fedstrata.engines.ray.engine import RayEngine
    from fedstrata.server.observers import Quiet
    from fedstrata.server.round import play_round
    from fedstrata.server.run import initial_state

    torch.set_num_threads(1)
    run = prepared(folder, steps=steps, batch=batch)
    state = initial_state(run.setting, run.weights)
    expected, _ = play_round(state, run.setting, LocalEngine(handler_of(run.loaded, run.resident, run.data)), Quiet())
    sums: dict[int, list[float]] = {1: [], 2: []}
    connection = connect(address)
    here = replace(connection, ours=False)  # which is left once, at the end
    try:
        for _ in range(count + 1):
            for actors in (2, 1):  # one at a time: the other's actors would hold the cores
                layers, weights = run.setting.layers, run.weights
                engine = RayEngine(here, layers, weights, recipe(run.loaded), need=Need(1), actors=actors)
                while engine.ready(1.0) < actors:  # how long they take to load is not compared
                    pass
                start = perf_counter()
                found, _ = play_round(state, run.setting, engine, Quiet())
                sums[actors].append(perf_counter() - start)
                assert all(torch.equal(found.weights[name], tensor) for name, tensor in expected.weights.items())
                engine.close()
    finally:
        connection.close()
    return list(zip(sums[2][1:], sums[1][1:], strict=True))


if __name__ == "__main__":
    for row in compare(short="--short" in sys.argv):
        print(row)
