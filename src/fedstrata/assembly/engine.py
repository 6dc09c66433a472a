"""The engine of a run: all clients in this process, in worker processes on this machine, or over a cluster."""

from __future__ import annotations

import os

import torch

from fedstrata.assembly.cluster import ray_engine
from fedstrata.assembly.runtime import cache_memory, handler_of
from fedstrata.assembly.worker import recipe
from fedstrata.client.prefix_cache import PrefixCache
from fedstrata.client.resident import ResidentModel
from fedstrata.client.state_store import StateStore
from fedstrata.config.load import Loaded
from fedstrata.data.tensors import FederatedData
from fedstrata.engines.local import LocalEngine
from fedstrata.engines.processes import ProcessEngine
from fedstrata.engines.protocol import Engine

_START_TIMEOUT = 600.0  # seconds: workers read model and rows at the same time, perhaps from a slow disk


def engine_of(
    loaded: Loaded,
    resident: ResidentModel,
    data: FederatedData,
    states: StateStore | None = None,
    cache: PrefixCache | None = None,
) -> Engine:
    """Return a new engine whose clients may keep states; the caller closes it.

    Raises:
        ConfigError: This system has no worker processes, or no cluster answers or has room.
        TrainingError: The system starts no process.
        RuntimeError: The engine is one of Flower's, which only the Flower app makes and hands to ``PreparedRun.run``.
    """
    if loaded.config.engine.startswith("flower"):
        raise RuntimeError(f"engine {loaded.config.engine} is handed to PreparedRun.run, and not made here")
    if loaded.config.engine == "local":
        return LocalEngine(handler_of(loaded, resident, data, states, cache))
    if loaded.config.engine == "ray":
        return ray_engine(loaded, resident, states, clients=len(data.clients), start_timeout=_START_TIMEOUT)
    device = resident.device.type
    workers = loaded.config.workers or min(usual_workers(device, loaded.config.threads), len(data.clients))
    return ProcessEngine(
        resident.layers,
        resident.weights(),
        recipe(loaded, states, cache_memory(loaded, workers + 1)),
        workers=workers,
        device=device,
        start_timeout=_START_TIMEOUT,
    )


def usual_workers(device: str, threads: int) -> int:
    """Return how many workers a machine takes: one per GPU, or on the CPU one per ``threads`` cores.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        threads: Threads of torch in each.

    Example:
        >>> usual_workers("cpu", 10_000), usual_workers("mps", 1)
        (1, 1)
    """
    if device == "cpu":
        return max(_cores() // threads, 1)
    return max(torch.cuda.device_count(), 1)


def _cores() -> int:
    """Return the cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # macOS has none
    return len(allowed(0)) if allowed else os.cpu_count() or 1
