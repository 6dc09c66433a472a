"""What a worker process makes of a configuration: the same handler that the server's process would have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedstrata.assembly.provenance import resolved
from fedstrata.assembly.runtime import handler_of, open_workplace, prefix_cache
from fedstrata.client.handler import Handler
from fedstrata.client.state_store import StateStore
from fedstrata.config.load import Loaded, check_config
from fedstrata.engines.workers.worker_spec import Recipe
from fedstrata.parsing.yaml_text import yaml_value


def recipe(loaded: Loaded, states: StateStore | None = None, cache: int | None = None) -> Recipe:
    """Return how a worker makes its handler: from the resolved configuration, whose paths are absolute.

    Args:
        loaded: The configuration.
        states: Where clients keep what the trainer wants to know again.
        cache: Bytes that it may keep of frozen layers' outputs; by default what the configuration says.
    """
    folder = None if states is None else str(states.folder.absolute())
    arguments = {"config": resolved(loaded), "states": folder, "cache": cache}
    return Recipe("fedstrata.assembly.worker:handler", arguments)


def handler(arguments: Mapping[str, Any]) -> Handler:
    """Load rows and model, and return the handler.

    Layers that clients train are mounted from shared memory later; frozen blocks and buffers are those that the same
    folder and seed gave the server.

    Args:
        arguments: ``config`` is the resolved configuration as YAML, ``states`` the folder of the clients' states or
            ``None``, ``cache`` the bytes that it may keep of frozen layers' outputs or ``None``.
    """
    values, _ = yaml_value(arguments["config"], "the run's configuration")
    loaded = check_config(values)
    place = open_workplace(loaded)
    states = None if arguments["states"] is None else StateStore(Path(arguments["states"]))
    resident = place.resident()
    return handler_of(loaded, resident, place.data, states, prefix_cache(loaded, resident, arguments["cache"]))
