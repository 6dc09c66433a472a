"""From a checked configuration to a run that is ready to start: model, data, clients, engine, folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from fedstrata.client.evaluate import evaluate
from fedstrata.client.resident import ResidentModel, bytes_of
from fedstrata.config.engine import engine_of
from fedstrata.config.load import Loaded, load_config
from fedstrata.config.paths import expanded
from fedstrata.config.pricing import measured
from fedstrata.config.problems import Problem, config_error
from fedstrata.config.provenance import environment, identity, model_card, resolved, short
from fedstrata.config.setting import method_name, prepare_setting
from fedstrata.config.workplace import open_workplace
from fedstrata.data.load import Files
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.messages import Weights
from fedstrata.domain.records import Metrics
from fedstrata.errors import CheckpointError, ConfigError, StorageError, nearest
from fedstrata.files import write_atomic
from fedstrata.models.custom import is_custom
from fedstrata.models.hub import save_model
from fedstrata.models.loaded import LoadedModel
from fedstrata.server.evaluation import CentralTest
from fedstrata.server.folder import RunFolder
from fedstrata.server.method import Setting
from fedstrata.server.observers import Observer
from fedstrata.server.run import Run, RunResult, Schedule


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that is ready to start.

    Attributes:
        loaded: Its configuration.
        network: Its model.
        data: Its rows.
        setting: Method, clients, plans.
        resident: The model that clients train on.
        folder: Where it writes.
        weights: The starting point.
        notes: What has to be said before the run, one sentence each.
    """

    loaded: Loaded
    network: LoadedModel
    data: FederatedData
    setting: Setting
    resident: ResidentModel
    folder: RunFolder
    weights: Weights
    notes: tuple[str, ...] = ()

    def run(self, *, observer: Observer, stop: Callable[[], bool]) -> Run:
        """Return the run, told to an observer; its engine starts now, and is closed when the run ends."""
        config = self.loaded.config
        return Run(
            setting=self.setting,
            schedule=Schedule(config.train.rounds, config.evaluate.every, config.checkpoint.every),
            engine=engine_of(self.loaded, self.resident, self.data),
            test=_central_test(self.resident, self.data, config.evaluate.batch_size),
            folder=self.folder,
            header=_header(self),
            observer=observer,
            stop=stop,
            frozen=self.resident.frozen_drift,
            identity=identity(self.loaded),
        )


def prepare_run(loaded: Loaded) -> PreparedRun:
    """Load model and data, check that the method can run on them, and make the run folder.

    Raises:
        ConfigError: Something that the configuration names does not fit; with file and line.
        DataError: The data cannot be used.
        StorageError: The run folder cannot be written.
    """
    prepared = _prepare(loaded, RunFolder(_output(loaded)))
    folder = prepared.folder
    _open(folder, loaded)
    try:
        write_atomic(folder.config, resolved(loaded))
        write_atomic(folder.path / "env.json", environment(loaded))
        write_atomic(folder.path / "data_card.json", json.dumps(prepared.data.card.to_json(), indent=1))
    except OSError as error:
        advice = "make room, delete the folder, and start again"
        raise StorageError(f"{folder.path} cannot be written: {error.strerror or error}; {advice}") from error
    return prepared


def reopen_run(path: Path, overrides: Sequence[str] = ()) -> PreparedRun:
    """Prepare a run from its own folder, to go on with it.

    Args:
        path: The run folder.
        overrides: Texts such as ``engine=processes``, of keys that do not change the run's bits.

    Raises:
        CheckpointError: The folder is not a run's, or the run has already finished.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise CheckpointError(f"there is no run folder {path}{_near(path)}")
    if not folder.config.is_file():
        raise CheckpointError(f"{path} is not a run folder: it has no {folder.config.name}{_near(path / 'any')}")
    if folder.model.exists():
        raise CheckpointError(
            f"{path} has finished; its model is in {folder.model}, start another with 'fedstrata run'"
        )
    return _prepare(load_config(folder.config, overrides), folder)


def _near(path: Path) -> str:
    """Return a hint with the run folders beside a path."""
    runs = sorted(str(p.parent) for p in path.parent.glob("*/config.resolved.yaml"))
    return f"; {nearest(str(path), runs)}" if runs else ""


def finish(prepared: PreparedRun, result: RunResult) -> None:
    """Write ``model/``, an ordinary HF folder, once a run has finished."""
    if result.state != "finished":
        return
    try:
        card = model_card(prepared.loaded, prepared.setting, prepared.data, result.summary)
        companions = None if is_custom(prepared.network.source) else prepared.network.source
        save_model(prepared.network, result.weights, prepared.folder.model, card=card, tokenizer_files_from=companions)
    except (OSError, SafetensorError) as error:
        advice = f"make room, then write it with: fedstrata resume {prepared.folder.path}"
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"the model cannot be written to {prepared.folder.model}: {reason}; {advice}") from error


def _prepare(loaded: Loaded, folder: RunFolder) -> PreparedRun:
    place = open_workplace(loaded)
    data, network = place.data, place.network
    prepared = prepare_setting(
        loaded,
        layers=network.layers,
        clients=data.clients,
        examples={c: len(rows.train) for c, rows in data.clients.items()},
        measure=lambda workloads: measured(network, _sample(data), workloads),
        parameter_bytes=bytes_of(network.model),
    )
    resident = place.resident()
    return PreparedRun(
        loaded, network, data, prepared.setting, resident, folder, weights=resident.weights(), notes=prepared.notes
    )


def _sample(data: FederatedData) -> Mapping[str, Tensor]:
    rows = next(iter(data.clients.values())).rows
    return rows.take(torch.zeros(1, dtype=torch.int64))[0]


def _output(loaded: Loaded) -> Path:
    config = loaded.config
    if config.output is None:
        name = config.name or method_name(loaded.components.selector)
        return _unused(Path("runs") / f"{datetime.now():%Y-%m-%d_%H%M%S}_{name}_s{config.seed}")
    try:
        path = expanded(config.output)
        message = _taken(path)
    except ConfigError as error:
        message = str(error)
    except OSError as error:  # such as a name that is too long
        message = f"'{config.output[:60]}' cannot be a folder: {error.strerror}; name another"
    if message is None:
        return path
    raise config_error([Problem(("output",), message)], loaded.marks)


def _taken(path: Path) -> str | None:
    """Return why a run cannot have a folder, or ``None``."""
    if path.is_file():
        return f"{path} is a file; name a folder"
    if path.exists() and any(path.iterdir()):
        return f"{path} exists and is not empty; choose another folder, or go on with: fedstrata resume {path}"
    return None


def _unused(path: Path) -> Path:
    names = (path.with_name(f"{path.name}{suffix}") for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(name for name in names if not name.exists())


def _open(folder: RunFolder, loaded: Loaded) -> None:
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.checkpoints.mkdir(exist_ok=True)
    except OSError as error:
        problem = Problem(("output",), f"cannot make the run folder {folder.path}: {error.strerror}; choose another")
        raise config_error([problem], loaded.marks) from error


def _central_test(model: ResidentModel, data: FederatedData, batch_size: int) -> CentralTest:
    indices = torch.arange(len(data.test))

    def test(weights: Weights) -> Metrics:
        loss, correct = evaluate(model, weights, rows=data.test, indices=indices, batch_size=batch_size)
        return Metrics(correct / len(indices), loss / len(indices), len(indices))

    return test


def _data_name(prepared: PreparedRun) -> str:
    source = prepared.loaded.components.data
    if isinstance(source, Files):
        return short(source.train or source.sites or "")
    return ", ".join(prepared.data.card.files)


def _header(prepared: PreparedRun) -> dict[str, Any]:
    layers, config = prepared.setting.layers, prepared.loaded.config
    return {
        "method": prepared.setting.name,
        "seed": config.seed,
        "model": short(config.model.path),
        "data": _data_name(prepared),
        "layers": list(layers.names),
        "always": [b.name for b in layers.always],
        "never": [b.name for b in layers.never],
        "layer_bytes": [b.bytes for b in layers.layers],
        "clients": list(prepared.data.clients),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
