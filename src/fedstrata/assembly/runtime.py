"""Where clients work: rows, model and device of a configuration, the same in the server's process and in a worker's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fedstrata.assembly.client_plans import limits_memory
from fedstrata.assembly.loading import load_network, load_rows, model_problem
from fedstrata.client.handler import Handler
from fedstrata.client.meter import map_large_blocks
from fedstrata.client.prefix_cache import PrefixCache, usual_memory
from fedstrata.client.resident import ResidentModel
from fedstrata.client.state_store import StateStore
from fedstrata.client.train import autocast_dtype, train
from fedstrata.config.catalog import describe
from fedstrata.config.load import Loaded
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import ConfigError, ModelError
from fedstrata.extensions.sentences import Duty
from fedstrata.extensions.trainer import HeldTrainer
from fedstrata.models.export import rehearse
from fedstrata.models.loaded import LoadedModel
from fedstrata.parsing.problems import Problem, config_error
from fedstrata.trainers.protocol import Trainer
from fedstrata.wire.messages import TrainPlan

LoadRows = Callable[[Loaded], FederatedData]
"""Loads the rows of a configuration."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What clients need to work.

    Attributes:
        data: The rows of all of them.
        network: The model, still where it was loaded.
        device: Where they compute.
    """

    data: FederatedData
    network: LoadedModel
    device: torch.device

    def resident(self) -> ResidentModel:
        """Move the model to the device, and return it as the one that all clients train on."""
        self.network.model.to(self.device)
        network = self.network
        return ResidentModel(network.model, network.layers, network.objective, checkpointing=network.form.checkpointing)


def open_workplace(loaded: Loaded, rows: LoadRows = load_rows) -> Workplace:
    """Set torch up in this process, and load rows and model.

    Args:
        loaded: The configuration.
        rows: Loads the rows; a site keeps its own alone.

    Raises:
        ConfigError: The device, the model or a layer term does not fit; with file and line.
        DataError: The data cannot be used.
    """
    torch.set_num_threads(loaded.config.threads)
    device = device_of(loaded)
    if device.type == "cpu" and limits_memory(loaded):
        map_large_blocks()
    data = rows(loaded)
    loaded.at(("trainer",), lambda: _check_trainer(loaded.components.trainer, data))
    return Workplace(data, load_network(loaded, data), device)


def handler_of(
    loaded: Loaded,
    resident: ResidentModel,
    data: FederatedData,
    states: StateStore | None = None,
    cache: PrefixCache | None = None,
) -> Handler:
    """Return the clients' side of every request.

    Args:
        loaded: The configuration.
        resident: The model.
        data: The clients' rows.
        states: Where clients keep what the trainer wants to know again.
        cache: Where outputs of frozen layers are kept; by default in a cache of its own.
    """
    config, trainer = loaded.config, loaded.components.trainer
    cache = cache or prefix_cache(loaded, resident)
    return Handler(resident, data.clients, Seeds(config.seed), config.evaluate.batch_size, trainer, states, cache=cache)


def prefix_cache(loaded: Loaded, resident: ResidentModel, memory: int | None = None) -> PrefixCache:
    """Return where outputs of frozen layers are kept; without ``cache`` only what is found of the model's order is.

    Args:
        loaded: The configuration.
        resident: The model.
        memory: Bytes; by default what the configuration says.
    """
    if loaded.config.cache == "off":
        return PrefixCache(resident, 0, evaluates=False)
    return PrefixCache(resident, cache_memory(loaded) if memory is None else memory)


def cache_memory(loaded: Loaded, processes: int = 1) -> int:
    """Return the bytes that each of some processes may keep of frozen layers' outputs."""
    cache = loaded.config.cache
    if cache == "off":
        return 0
    return usual_memory(processes) if cache.memory == "auto" else cache.memory // processes


def _check_trainer(trainer: Trainer, data: FederatedData) -> None:
    """Refuse a trainer that reads what the rows do not have.

    Raises:
        ConfigError: It does.
    """
    inputs = data.at_hand.inputs
    if trainer.reads is not None and trainer.reads not in inputs:
        kind, has = describe(trainer)["kind"], ", ".join(inputs)
        raise ConfigError(
            f"'{kind}' trains on {trainer.reads}, and the rows have {has}; use it with other rows, or sgd"
        )


def rehearse_export(loaded: Loaded, network: LoadedModel) -> None:
    """Refuse a model that could not be written in the end.

    Raises:
        ConfigError: It could not; with file and line.
    """
    try:
        rehearse(network)
    except ModelError as error:
        raise config_error([model_problem(error)], loaded.marks) from error


def rehearse_trainer(loaded: Loaded, resident: ResidentModel, data: FederatedData) -> None:
    """Let a trainer of the user's own do one step on two rows, so that what is wrong with it ends no round.

    Raises:
        ComponentError: It returns what trainers do not.
    """
    trainer = loaded.components.trainer
    if not isinstance(trainer, HeldTrainer):
        return
    settings = loaded.config.train
    plan = TrainPlan(steps=1, epochs=None, precision=settings.precision, optimizer=settings.optimizer)
    result = train(
        resident,
        resident.weights(),
        mask=frozenset({len(resident.layers) - 1} if len(resident.layers) else ()),
        rows=data.at_hand,
        indices=torch.arange(min(2, len(data.at_hand))),
        plan=plan,
        rng=np.random.default_rng(0),
        trainer=trainer,
    )
    if result.state and not trainer.cost(plan).kept_copies:
        raise Duty(trainer.own, "cost", "kept_copies above 0 where end keeps something").broken_by("kept_copies of 0")


def device_of(loaded: Loaded) -> torch.device:
    """Return the device, after making sure that it is there and has the precision."""
    wanted = loaded.config.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[wanted]:
        problem = Problem(
            ("device",), f"'{wanted}' is asked for, and torch finds none on this machine; use auto or cpu"
        )
        raise config_error([problem], loaded.marks)
    device = torch.device(wanted)
    try:
        autocast_dtype(loaded.config.train.precision, device)
    except ConfigError as error:
        message = str(error).removeprefix("train.precision: ")
        raise config_error([Problem(("train", "precision"), message)], loaded.marks) from error
    return device
