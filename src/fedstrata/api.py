"""The Python door: what the verbs of the command line do, as functions with typed results."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstrata.assembly.finish import finish
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.revise import Revision, revise
from fedstrata.assembly.run import prepare_run, reopen_run
from fedstrata.comparison.compare import compare as compared
from fedstrata.comparison.inputs import gather
from fedstrata.comparison.methods import Contest, Rules
from fedstrata.config.load import Loaded, check_config, load_config
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.profile import StepProfile
from fedstrata.errors import ConfigError, ModelError
from fedstrata.models.fake import fake_model
from fedstrata.models.form import Form, Lora, Task
from fedstrata.models.profiling.step import measure_model
from fedstrata.planning.plan import Plan, make_plan
from fedstrata.planning.subject import Assumed
from fedstrata.report.progress import PlainProgress
from fedstrata.report.write_report import paths
from fedstrata.server.observers import Observer, Quiet
from fedstrata.server.run import RunResult
from fedstrata.sweeping.jobs import load_sweep
from fedstrata.sweeping.run import SweepResult, clients_of, play_sweep


@dataclass(frozen=True, slots=True, eq=False)
class ModelLayers:
    """A model's layers, and what a step with them costs.

    Attributes:
        layers: What may be selected, what everyone trains, what stays frozen; with names, sizes and ties.
        profile: Operations and memory of a step by layer; ``None`` where the model cannot run on shapes alone.
        note: Why there is no profile.
    """

    layers: LayerMap
    profile: StepProfile | None
    note: str | None = None


def run(
    config: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    observer: Observer | None = None,
    progress: bool = False,
) -> RunResult:
    """Train as a configuration says, and leave a run folder.

    Args:
        config: A YAML file, or its content as a mapping.
        overrides: Texts such as ``train.lr=0.1``, as ``--set`` takes them.
        observer: Is told of every round and client.
        progress: Whether to write a line per round to standard error; nothing is written otherwise.

    Returns:
        The run folder, its summary, and the trained tensors.

    Raises:
        FedstrataError: What is wrong, in one sentence per problem; its subclass says where.

    Example:
        ``examples/custom_selector.py`` runs it with a selector of its own.
    """
    watching = _observer(observer, progress=progress)
    prepared = prepare_run(_loaded(config, overrides))
    result = prepared.run(observer=watching, stop=lambda: False).start(prepared.weights)
    return _finished(prepared, result)


def resume(
    folder: str | Path,
    *,
    rounds: int | None = None,
    overrides: Sequence[str] = (),
    observer: Observer | None = None,
    progress: bool = False,
) -> RunResult:
    """Go on with a run from its newest checkpoint.

    Args:
        folder: The run folder.
        rounds: Rounds of the whole run; more of them go on with one that has finished.
        overrides: Texts such as ``train.lr=0.1``, of what every round reads anew; it counts from the next round on.
        observer: Is told of every round and client.
        progress: Whether to write a line per round to standard error.

    Returns:
        As ``run``.

    Raises:
        FedstrataError: As of ``run``; or rows or model are not those that the run began with.

    Example:
        See ``tests/test_api.py``.
    """
    watching = _observer(observer, progress=progress)
    revise(Path(folder), Revision(rounds, tuple(overrides)))
    prepared = reopen_run(Path(folder))
    result = prepared.run(observer=watching, stop=lambda: False).resume(prepared.weights)
    return _finished(prepared, result)


def plan(
    config: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    clients: int | None = None,
    rows: int | None = None,
    length: int | None = None,
    selectors: Sequence[str] = (),
) -> Plan:
    """Return what a run will ask of its clients; nothing is trained and no weight is read.

    Args:
        config: A YAML file, or its content as a mapping.
        overrides: Texts such as ``train.lr=0.1``.
        clients: Plan without data, for so many clients; needs ``rows``.
        rows: Their training rows each.
        length: Tokens of their texts.
        selectors: Kinds of selectors to compare besides.

    Raises:
        FedstrataError: What a run would refuse too. Budgets that cannot be spent stand in the plan's ``refusals``.

    Example:
        See ``tests/test_api.py``.
    """
    if (clients is None) != (rows is None) or (clients is None and length is not None):
        raise ConfigError("clients, rows and length plan without data, which needs clients and rows")
    assumed = None if clients is None or rows is None else Assumed(clients, rows, length)
    return make_plan(_loaded(config, overrides), assumed=assumed, selectors=selectors)


def layers(
    model: str | Path,
    *,
    task: Task | None = None,
    labels: int | None = None,
    adapter: Lora | None = None,
    batch: int = 1,
    length: int = 128,
    size: int | None = None,
) -> ModelLayers:
    """Return a model's layers; no weights are read.

    Args:
        model: A folder with ``config.json``, ``embedded:vit-digits``, or ``module:function``.
        task: What it is for; by default what its architecture can do.
        labels: Number of labels; by default the folder's own.
        adapter: What is trained in the place of the weights.
        batch: Rows of the batch that a step is measured for.
        length: Tokens per row.
        size: Image height and width.

    Raises:
        ConfigError: ``batch``, ``length`` or ``size`` is below 1.
        ModelError: There is no such model.

    Example:
        See ``tests/test_api.py``.
    """
    for name, given in (("batch", batch), ("length", length), ("size", size)):
        if given is not None and given < 1:
            raise ConfigError(f"{name} is {given}; it has to be at least 1")
    network = fake_model(str(model), num_labels=labels, task=task, form=Form(adapter=adapter))
    try:
        return ModelLayers(network.layers, measure_model(network, rows=batch, length=length, size=size))
    except ModelError as error:
        return ModelLayers(network.layers, None, str(error))


def compare(
    runs: str | Path | Sequence[str | Path],
    *,
    reference: str | None = None,
    target: float | None = None,
    oracle: str | None = None,
    budgets: Sequence[str] = (),
) -> tuple[Contest, ...]:
    """Compare methods over seeds: means with intervals, paired differences, costs.

    Args:
        runs: Run folders, folders of them, a sweep's folder, or results files.
        reference: The method that others are compared with; by default ``consensus``, else the first.
        target: Accuracy in [0, 1] whose cost is told besides.
        oracle: Pattern of methods that are single fixed layers.
        budgets: Budgets to compare; none is all.

    Returns:
        One contest per row, size and budget.

    Raises:
        FedstrataError: A path is no such thing, or a name is of nothing.

    Example:
        See ``tests/test_api.py``.
    """
    return compared(gather(paths(runs)).outcomes, Rules(reference, target, oracle, tuple(budgets)))


def _loaded(config: str | Path | Mapping[str, Any], overrides: Sequence[str]) -> Loaded:
    if isinstance(config, Mapping):
        return check_config(config, overrides=overrides)
    return load_config(Path(config), overrides)


def _observer(given: Observer | None, *, progress: bool) -> Observer:
    if given is not None and progress:
        raise ConfigError("give an observer, or progress=True for lines on standard error; not both")
    if given is not None:
        return given
    return PlainProgress(lambda line: _write(f"{line}\n")) if progress else Quiet()


def _write(line: str) -> None:
    sys.stderr.write(line)


def _finished(prepared: PreparedRun, result: RunResult) -> RunResult:
    finish(prepared, result)
    return result


def sweep(
    file: str | Path,
    *,
    overrides: Sequence[str] = (),
    workers: int | None = None,
    cluster: str | None = None,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
    output: str | Path | None = None,
    redo: bool = False,
) -> SweepResult:
    """Play every run of a sweep that has not finished, each in one of a few worker processes, or as a cluster's task.

    Args:
        file: The sweep's YAML file.
        overrides: Texts such as ``train.lr=0.1``, for all runs.
        workers: How many runs are played at the same time; ``None`` is 2, and on a cluster as many as have room.
        cluster: Address of a Ray cluster (``HOST:PORT``), or ``auto``; ``None`` is this machine.
        only: Names of methods; ``*`` and ``?`` match. None is all.
        seeds: Some of the sweep's seeds. None is all.
        output: Folder of the runs, instead of the file's.
        redo: Play runs anew whose configuration, rows or model have changed.

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
    return play_sweep(planned, workers=workers, cluster=cluster, only=only, seeds=seeds, redo=redo)
