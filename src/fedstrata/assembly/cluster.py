"""Ray (extra ``ray``): a run's engine over a cluster, and what one of its actors reserves."""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from fedstrata.assembly.runtime import cache_memory
from fedstrata.assembly.worker import recipe
from fedstrata.client.resident import ResidentModel
from fedstrata.client.state_store import StateStore
from fedstrata.config.load import Loaded
from fedstrata.errors import ConfigError

if TYPE_CHECKING:
    from fedstrata.engines.ray.engine import RayEngine


def ray_engine(
    loaded: Loaded, resident: ResidentModel, states: StateStore | None, *, clients: int, start_timeout: float
) -> RayEngine:
    """Connect to the configuration's cluster and return a new engine over it.

    Args:
        loaded: The configuration.
        resident: The server's model.
        states: Where clients keep states, on a path that all nodes see.
        clients: How many there are; more actors would have nothing to do.
        start_timeout: Seconds for which there may be no actor that is ready.

    Raises:
        ConfigError: Ray is not installed, no cluster answers, or none of its nodes has room for an actor.
    """
    ray_module("engine: ray")
    from fedstrata.engines.ray.cluster import Need, connect
    from fedstrata.engines.ray.engine import RayEngine

    config, device = loaded.config, resident.device.type
    connection = connect(config.ray.cluster)
    try:
        return RayEngine(
            connection,
            resident.layers,
            resident.weights(),
            recipe(loaded, states, cache_memory(loaded, os.cpu_count() or 1)),  # a node may have an actor per core
            need=Need(config.threads, config.ray.gpus_on(device)),
            actors=config.workers,
            most=clients,
            device=device,
            start_timeout=start_timeout,
        )
    except BaseException:
        connection.close()
        raise


def ray_module(what: str) -> ModuleType:
    """Return Ray.

    Args:
        what: What needs it.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"{what} needs Ray; install it with: pip install 'fedstrata[ray]'") from error
    return ray  # type: ignore[no-any-return]
