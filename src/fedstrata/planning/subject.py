"""What a plan is about: the model without its weights, and the clients' batches, from data or from assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedstrata.assembly.affordable import Prepared
from fedstrata.assembly.client_plans import probe_plan, train_plan
from fedstrata.assembly.loading import blamed, check_kind, load_rows, model_path, model_problem, task_of
from fedstrata.assembly.prepare_setting import prepare_setting
from fedstrata.assembly.pricing import measured, probe_passes
from fedstrata.client.resident import bytes_of
from fedstrata.client.train import batches
from fedstrata.config.load import Loaded
from fedstrata.costs.protocol import Workload
from fedstrata.data.kinds import Digits, Remote
from fedstrata.data.tensors import ClientRows
from fedstrata.domain.formatting import plural
from fedstrata.domain.ids import ClientId
from fedstrata.domain.profile import StepProfile
from fedstrata.errors import ConfigError, LayerError, ModelError
from fedstrata.imports import importable
from fedstrata.models.custom import is_custom
from fedstrata.models.fake import FakeModel, fake_batch, fake_model
from fedstrata.models.folder_config import model_folder
from fedstrata.models.form import Task
from fedstrata.parsing.problems import Problem, config_error


@dataclass(frozen=True, slots=True)
class Assumed:
    """Clients to plan for where there are no data.

    Attributes:
        clients: How many.
        rows: Training rows of each.
        length: Tokens of every text; ``None`` for images.
    """

    clients: int
    rows: int
    length: int | None = None

    def __post_init__(self) -> None:
        """Check that there is something to plan for."""
        for name in ("clients", "rows", "length"):
            given = getattr(self, name)
            if given is not None and given < 1:
                raise ConfigError(f"{name} is {given}; it has to be at least 1")

    def __str__(self) -> str:
        """Return it as people say it."""
        tokens = f", {self.length} tokens" if self.length else ""
        return f"{plural(self.clients, 'client')} of {plural(self.rows, 'row')}{tokens}"


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A run's model and clients, priced and checked, with no weight allocated.

    Attributes:
        loaded: The configuration.
        network: The model, of tensors without numbers.
        task: What it does.
        prepared: The run's setting.
        profiles: The measured step; empty if it could not be measured.
        parameter_bytes: Bytes of the model, buffers included.
        source: What the clients' rows are.
        notes: What has to be said of it, one sentence each.
    """

    loaded: Loaded
    network: FakeModel
    task: Task
    prepared: Prepared
    profiles: tuple[StepProfile, ...]
    parameter_bytes: int
    source: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Each client's rows, read or assumed."""

    network: FakeModel
    sample: Mapping[str, Tensor]
    clients: Mapping[ClientId, Workload | ClientRows]
    examples: Mapping[ClientId, int]
    source: str
    notes: tuple[str, ...]


def subject(loaded: Loaded, assumed: Assumed | None = None) -> Subject:
    """Return what is planned; the model needs its ``config.json`` alone.

    Args:
        loaded: The configuration.
        assumed: Clients to plan for without data; ``None`` reads the configuration's.

    Raises:
        ConfigError: What a run would refuse too, budgets that cannot be spent aside; with file and line.
        DataError: The data cannot be read.
    """
    check_kind(loaded, here=False)
    found = _read(loaded) if assumed is None else _assume(loaded, assumed)
    profiles: list[StepProfile] = []

    def measure(workloads: Sequence[Workload]) -> tuple[StepProfile, ...]:
        profiles.extend(measured(found.network, found.sample, workloads))
        return tuple(profiles)

    size = bytes_of(found.network.model)
    prepared = prepare_setting(
        loaded,
        layers=found.network.layers,
        clients=found.clients,
        examples=found.examples,
        measure=measure,
        parameter_bytes=size,
        refuse=False,
    )
    return Subject(
        loaded,
        found.network,
        task_of(loaded),
        prepared,
        tuple(profiles),
        size,
        found.source,
        found.notes + _weights(loaded),
    )


def _read(loaded: Loaded) -> _Rows:
    if isinstance(loaded.components.data, Remote):
        message = "the rows lie at the sites; plan with --clients and --rows, and --length for texts"
        raise config_error([Problem(("data",), message)], loaded.marks)
    data = load_rows(loaded)
    sample = (data.test if len(data.test) else next(iter(data.clients.values())).rows).typical()
    examples = {c: len(rows.train) for c, rows in data.clients.items()}
    source = f"{len(examples)} clients with {sum(examples.values()):,} training rows ({data.card.partition})"
    return _Rows(_network(loaded, len(data.labels)), sample, data.clients, examples, source, data.card.warnings)


def _assume(loaded: Loaded, assumed: Assumed) -> _Rows:
    text = task_of(loaded) != "image-classification"
    if text and assumed.length is None:
        raise ConfigError("planning without data needs the length of the texts too; add --length, such as --length 128")
    if not text and assumed.length is not None:
        raise ConfigError("--length is for texts, and the configuration's data are images; leave it out")
    network = _network(loaded, None)
    sample = network.objective.shaped(fake_batch(network.model, length=assumed.length or 1))
    if assumed.length is not None and sample["input_ids"].shape[1] < assumed.length:
        most = sample["input_ids"].shape[1]
        raise ConfigError(f"--length {assumed.length} is more than the model's {most} positions; give {most} or fewer")
    width = max(2, len(str(assumed.clients - 1)))
    names = [ClientId(f"client-{i:0{width}}") for i in range(assumed.clients)]
    return _Rows(
        network,
        sample,
        dict.fromkeys(names, assumed_workload(loaded, assumed)),
        dict.fromkeys(names, assumed.rows),
        f"planned without data, for {assumed}",
        _cut(loaded, assumed),
    )


def assumed_workload(loaded: Loaded, assumed: Assumed) -> Workload:
    """Return the batches of one of the assumed clients."""
    train, probe, rows = train_plan(loaded), probe_plan(loaded), torch.arange(assumed.rows)
    steps = batches(rows, train, np.random.default_rng(0))
    return Workload(
        train=tuple((len(batch), assumed.length) for batch in steps),
        probe=tuple((len(batch), assumed.length) for batch in probe_passes(rows, probe)),
        longest=assumed.length,
    )


def _network(loaded: Loaded, labels: int | None) -> FakeModel:
    section = loaded.config.model
    try:
        with importable(loaded.base):
            return fake_model(
                section.path if is_custom(section.path) else str(model_path(loaded)),
                num_labels=labels,
                task=task_of(loaded),
                form=section,
            )
    except LayerError as error:
        raise config_error([Problem(blamed(loaded, str(error)), str(error))], loaded.marks) from error
    except ModelError as error:
        raise config_error([model_problem(error)], loaded.marks) from error


def _weights(loaded: Loaded) -> tuple[str, ...]:
    """Say so where the plan can do without the weights and the run cannot."""
    if is_custom(loaded.config.model.path):
        return ()
    try:
        model_folder(model_path(loaded))
    except ModelError as error:
        return (f"a run needs the weights too: {error}",)
    return ()


def _cut(loaded: Loaded, assumed: Assumed) -> tuple[str, ...]:
    source = loaded.components.data
    if assumed.length is None or isinstance(source, Digits) or assumed.length <= source.max_length:
        return ()
    return (f"a run cuts texts to {source.max_length} tokens (data.max_length), and {assumed.length} are planned for",)
