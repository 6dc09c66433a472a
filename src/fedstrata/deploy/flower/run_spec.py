"""The run specification: what a site has to know of a run to do the same work as any other engine would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from fedstrata.assembly.loading import task_of
from fedstrata.config.catalog import describe
from fedstrata.config.load import Loaded
from fedstrata.data.read_options import RowTerms


def run_spec(loaded: Loaded, labels: Sequence[str]) -> dict[str, Any]:
    """Return what every message says of a run; paths of the server's data are left out.

    Args:
        loaded: The run's configuration.
        labels: Names of the run's labels, by index.
    """
    config, data = loaded.config, loaded.components.data
    rows = {f.name: getattr(data, f.name) for f in fields(RowTerms) if hasattr(data, f.name)}
    return {
        "seed": config.seed,
        "threads": config.threads,
        "labels": list(labels),
        "model": {**config.model.model_dump(mode="json"), "task": task_of(loaded)},
        "data": rows,
        "evaluate": {"batch_size": config.evaluate.batch_size},
        "train": {"precision": config.train.precision},
        "trainer": describe(loaded.components.trainer),
    }
