"""The Python door: what ``fedstrata run`` does, as a function with a typed result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedstrata.config.build import finish, prepare_run
from fedstrata.config.load import check_config, load_config
from fedstrata.server.observers import Observer, Quiet
from fedstrata.server.run import RunResult


def run(
    config: str | Path | Mapping[str, Any], *, overrides: Sequence[str] = (), observer: Observer | None = None
) -> RunResult:
    """Train as a configuration says, and leave a run folder.

    Args:
        config: A YAML file, or its content as a mapping.
        overrides: Texts such as ``train.lr=0.1``, as ``--set`` takes them.
        observer: Is told of every round and client.

    Returns:
        The run folder, its summary, and the trained tensors.

    Raises:
        FedstrataError: What is wrong, in one sentence per problem; its subclass says where.

    Example:
        ``examples/custom_selector.py`` runs it with a selector of its own.
    """
    loaded = check_config(config, overrides=overrides) if isinstance(config, Mapping) else None
    prepared = prepare_run(loaded or load_config(Path(str(config)), overrides))
    result = prepared.run(observer=observer or Quiet(), stop=lambda: False).start(prepared.weights)
    finish(prepared, result)
    return result
