"""What a worker process makes of a configuration: the same handler that the server's process would have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedstrata.assembly.provenance import resolved
from fedstrata.assembly.runtime import handler_of, open_workplace
from fedstrata.client.handler import Handler
from fedstrata.config.load import Loaded, check_config
from fedstrata.engines.workers.worker_spec import Recipe
from fedstrata.reading.yaml_text import yaml_value


def recipe(loaded: Loaded) -> Recipe:
    """Return how a worker makes its handler: from the resolved configuration, whose paths are absolute."""
    return Recipe("fedstrata.assembly.worker:handler", {"config": resolved(loaded)})


def handler(arguments: Mapping[str, Any]) -> Handler:
    """Load rows and model, and return the handler.

    Layers that clients train are mounted from shared memory later; frozen blocks and buffers are those that the same
    folder and seed gave the server.

    Args:
        arguments: ``config`` is the resolved configuration as YAML.
    """
    values, _ = yaml_value(arguments["config"], "the run's configuration")
    loaded = check_config(values)
    place = open_workplace(loaded)
    return handler_of(loaded, place.resident(), place.data)
