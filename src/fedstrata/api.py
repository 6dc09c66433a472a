"""The Python door: what ``fedstrata run`` does, as a function with a typed result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedstrata.config.build import finish, prepare_run
from fedstrata.config.load import check_config, load_config
from fedstrata.config.sweep import load_sweep
from fedstrata.server.observers import Observer, Quiet
from fedstrata.server.run import RunResult
from fedstrata.sweeping.run import SweepResult, clients_of, play_sweep


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


def sweep(
    file: str | Path,
    *,
    overrides: Sequence[str] = (),
    workers: int = 2,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
    output: str | Path | None = None,
    redo: bool = False,
) -> SweepResult:
    """Play every run of a sweep that has not finished, each in one of a few worker processes.

    Args:
        file: The sweep's YAML file.
        overrides: Texts such as ``train.lr=0.1``, for all runs.
        workers: How many runs are played at the same time.
        only: Names of methods; ``*`` and ``?`` match. None is all.
        seeds: Some of the sweep's seeds. None is all.
        output: Folder of the runs, instead of the file's.
        redo: Play runs anew whose configuration has changed.

    Returns:
        The table of results, and why runs failed: a failed run does not end a sweep.

    Raises:
        FedstrataError: The sweep cannot be played; its subclass says why.

    Example:
        See ``tests/sweeping/test_sweep_run.py``.
    """
    planned = load_sweep(
        Path(file), overrides=overrides, output=None if output is None else Path(output), clients=clients_of
    )
    return play_sweep(planned, workers=workers, only=only, seeds=seeds, redo=redo)
