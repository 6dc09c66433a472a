"""From a checked configuration to a run that is ready to start: model, data, clients, engine, folder.

Where clients are sites there are two steps: what needs no site is opened first, and the setting is made of what the
sites that have joined declare. The engine of such a run is handed to ``PreparedRun.run``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from fedstrata.assembly.clients import Population, population
from fedstrata.assembly.declared import check_rows
from fedstrata.assembly.ending import kept, tight
from fedstrata.assembly.engine import engine_of
from fedstrata.assembly.exports import best_weights, exports
from fedstrata.assembly.inputs import Inputs, check_inputs, inputs_of, write_inputs
from fedstrata.assembly.output import begun, make_folder, output_folder
from fedstrata.assembly.provenance import environment, header, identity, model_card, resolved
from fedstrata.assembly.runtime import Workplace, open_workplace
from fedstrata.assembly.setting import Prepared, prepare_setting
from fedstrata.assembly.shared import ALONE, Shared
from fedstrata.assembly.sources import check_kind, model_problem
from fedstrata.client.confusion import confusion
from fedstrata.client.evaluate import evaluate
from fedstrata.client.exact import ExactGradients
from fedstrata.client.resident import ResidentModel, bytes_of
from fedstrata.config.load import Loaded
from fedstrata.costs.protocol import Workload
from fedstrata.data.kinds import Remote
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.ids import ClientId
from fedstrata.domain.profile import StepProfile
from fedstrata.domain.records import Metrics
from fedstrata.engines.protocol import Engine
from fedstrata.errors import ModelError, StorageError, TrainingError
from fedstrata.files import argument, write_atomic
from fedstrata.models.custom import is_custom
from fedstrata.models.export import rehearse
from fedstrata.models.failing import blaming_the_model
from fedstrata.models.hub import save_model
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.objective import Classification
from fedstrata.reading.problems import config_error
from fedstrata.runs.folder import RunFolder
from fedstrata.runs.sites_file import Sites, changes, read_sites, write_sites
from fedstrata.server.evaluation import CentralTest
from fedstrata.server.method import Setting
from fedstrata.server.observers import Observer
from fedstrata.server.run import SAME, Run, RunResult
from fedstrata.server.setup import Schedule
from fedstrata.server.theory import Instrument
from fedstrata.wire.declaration import Declaration
from fedstrata.wire.messages import Weights


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that is ready to start.

    Attributes:
        loaded: Its configuration.
        network: Its model.
        data: Its rows; of sites elsewhere only their counts.
        setting: Method, clients, plans.
        resident: The model that clients train on.
        folder: Where it writes.
        weights: The starting point.
        inputs: Hashes of its rows and its model.
        notes: What has to be said before the run, one sentence each.
    """

    loaded: Loaded
    network: LoadedModel
    data: FederatedData
    setting: Setting
    resident: ResidentModel
    folder: RunFolder
    weights: Weights
    inputs: Inputs
    notes: tuple[str, ...] = ()

    def run(self, *, observer: Observer, stop: Callable[[], bool], engine: Engine | None = None) -> Run:
        """Return the run, told to an observer.

        Args:
            observer: Is told what happens.
            stop: Asked after each round; true ends the run early with everything saved.
            engine: Where clients execute; ``None`` is the configuration's, which starts now. It is closed when the
                run ends.
        """
        config = self.loaded.config
        return Run(
            setting=self.setting,
            schedule=Schedule(config.train.rounds, config.evaluate.every, config.checkpoint.every),
            engine=engine or engine_of(self.loaded, self.resident, self.data),
            test=_central_test(self.resident, self.data, config.evaluate.batch_size),
            folder=self.folder,
            header=header(self.loaded, self.setting, self.data),
            observer=observer,
            stop=stop,
            frozen=self.resident.frozen_drift,
            identity=identity(self.loaded) | {SAME: self.inputs.digest},
            best=None if config.export == "last" else best_weights(self.folder),
            instrument=self._instrument(),
        )

    def _instrument(self) -> Instrument | None:
        """Return what measures the rounds' errors with the clients' rows, where that is asked for."""
        config = self.loaded.config
        if config.theory != "exact":
            return None
        batches = config.probe.batch_size, config.evaluate.batch_size
        return ExactGradients(self.resident, self.data.clients, *batches)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedRun:
    """A run whose model and test rows are loaded, and whose clients are not known yet.

    Attributes:
        loaded: Its configuration.
        place: Model, and the rows of this machine.
        folder: Where it will write.
        began: Whether the folder is that of a run that has begun.
        stored: What sites declared when it began; ``None`` of a run that has not, or that has no sites.
        shared: What it may share with other runs of this process.
    """

    loaded: Loaded
    place: Workplace
    folder: RunFolder
    began: bool = False
    stored: Sites | None = None
    shared: Shared = ALONE

    @property
    def data(self) -> FederatedData:
        """The rows of this machine: of a server of remote sites, its test rows."""
        return self.place.data

    def prepare(self, declarations: Mapping[ClientId, Declaration] | None = None) -> PreparedRun:
        """Make the setting, and the run folder if the run has not begun.

        Args:
            declarations: What the sites that have joined declare; ``None`` where clients work on this machine. Of a
                run that has begun, what was declared then counts, and the notes say what is different now.

        Raises:
            ConfigError: Something that the configuration names does not fit, or a site's rows; with file and line.
            ModelError: The model is not the one that the run began with.
            DataError: The rows are not those that the run began with.
            CheckpointError: The run folder does not say what the run began with.
            StorageError: The run folder cannot be written.
        """
        now = None if declarations is None else dict(sorted(declarations.items()))
        sites = self.stored if self.began else now
        if self.began and self.stored is None and now:  # it began on this machine, with the rows that are here
            check_rows(self.data, now)
        people = population(self.loaded, self.place, sites)
        prepared, guesses = self._setting(people)
        self._rehearse()
        resident = self.place.resident()
        changed = changes(self.stored, now) if self.stored and now else ()
        run = PreparedRun(
            self.loaded,
            self.place.network,
            people.data,
            prepared.setting,
            resident,
            self.folder,
            weights=resident.weights(),
            inputs=inputs_of(self.loaded, self.data, self.place.network.model, self.place.network.layers),
            notes=(
                *self.place.network.notes,
                *changed,
                *people.notes,
                *prepared.notes,
                *guesses,
                *self._unchosen(prepared.setting),
                *tight(self.folder, self.place.network),
            ),
        )
        if self.began:
            check_inputs(self.folder, run.inputs)
        else:
            _write(run, sites)
        return run

    def _unchosen(self, setting: Setting) -> tuple[str, ...]:
        """Return a note where the best round is wanted and no client has rows to tell which it is."""
        kind = self.loaded.config.export
        if kind == "last" or any(profile.held_out != 0 for profile in setting.profiles.values()):
            return ()
        return (f"export: {kind} has no rows to choose a round by, so model/ is the last round's; set data.held_out",)

    def _rehearse(self) -> None:
        """Refuse a model that could not be written in the end."""
        try:
            rehearse(self.place.network)
        except ModelError as error:
            raise config_error([model_problem(error)], self.loaded.marks) from error

    def _setting(self, people: Population) -> tuple[Prepared, list[str]]:
        """Return the setting, and what was guessed where prices were measured."""
        network, guesses = self.place.network, list[str]()

        def measure(workloads: Sequence[Workload]) -> tuple[StepProfile, ...]:
            guesses.extend(people.guesses)
            return self.shared.measure(network, _sample(people.data), workloads)

        prepared = prepare_setting(
            self.loaded,
            layers=network.layers,
            clients=people.clients,
            examples=people.examples,
            measure=measure,
            parameter_bytes=bytes_of(network.model),
            new_head=bool(network.new_head),
            declared=people.declared,
        )
        return prepared, guesses


def prepare_run(loaded: Loaded, shared: Shared = ALONE) -> PreparedRun:
    """Load model and data, check that the method can run on them, and make the run folder.

    Args:
        loaded: The configuration.
        shared: What it may share with other runs of this process.

    Raises:
        ConfigError: Something that the configuration names does not fit, or the rows lie at sites; with file and line.
        DataError: The data cannot be used.
        StorageError: The run folder cannot be written.
    """
    check_kind(loaded, here=True)
    return open_run(loaded, shared).prepare()


def open_run(loaded: Loaded, shared: Shared = ALONE) -> OpenedRun:
    """Load model and data of a run; what its sites declare is still to come, and nothing is written yet.

    Raises:
        ConfigError: Model, data and device do not fit, or the run folder is taken; with file and line.
        DataError: The data cannot be used.

    Example:
        See ``tests/assembly/test_declarations.py``.
    """
    check_kind(loaded, here=False)
    folder = output_folder(loaded)
    return OpenedRun(loaded, open_workplace(loaded, shared.rows), folder, shared=shared)


def reopen_run(path: Path, overrides: Sequence[str] = (), shared: Shared = ALONE) -> PreparedRun:
    """Prepare a run from its own folder, to go on with it on this machine.

    Args:
        path: The run folder.
        overrides: Texts such as ``engine=processes``, of keys that do not change the run's bits.
        shared: What it may share with other runs of this process.

    Raises:
        CheckpointError: The folder is not a run's, or the run has already finished.
    """
    loaded, folder = begun(path, overrides)
    check_kind(loaded, here=True)
    return _again(loaded, folder, shared).prepare()


def reopen(path: Path, overrides: Sequence[str] = ()) -> OpenedRun:
    """Load model and data of a run that has begun, from its own folder, with what its sites declared then.

    Args:
        path: The run folder.
        overrides: Texts such as ``engine=flower``, of keys that do not change the run's bits.

    Raises:
        CheckpointError: The folder is not a run's, or the run has already finished.
    """
    loaded, folder = begun(path, overrides)
    return _again(loaded, folder)


def _again(loaded: Loaded, folder: RunFolder, shared: Shared = ALONE) -> OpenedRun:
    stored = read_sites(folder, needed=isinstance(loaded.components.data, Remote))
    return OpenedRun(loaded, open_workplace(loaded, shared.rows), folder, began=True, stored=stored, shared=shared)


def finish(prepared: PreparedRun, result: RunResult) -> None:
    """Write ``model/``, an ordinary HF folder, once a run has finished."""
    if result.state != "finished":
        return
    try:
        _write_confusion(prepared, result)
        companions = None if is_custom(prepared.network.source) else prepared.network.source
        for found in exports(prepared.loaded.config.export, prepared.folder, result):
            card = model_card(prepared.loaded, prepared.setting, prepared.data, result.summary, said=found.said)
            save_model(prepared.network, found.weights, found.path, card=card, tokenizer_files_from=companions)
    except (OSError, SafetensorError) as error:
        advice = f"make room, then write it with: fedstrata resume {argument(prepared.folder.path)}"
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"the model cannot be written to {prepared.folder.model}: {reason}; {advice}") from error
    except TrainingError:
        raise
    except Exception as error:  # whatever transformers raises as it writes
        raise TrainingError(kept(prepared.folder, result.weights, error)) from error
    shutil.rmtree(prepared.folder.weights, ignore_errors=True)  # of an earlier try
    prepared.folder.forget_answers()


def _write_confusion(prepared: PreparedRun, result: RunResult) -> None:
    """Write which classes the final model mistakes for which on the test rows; questions have no classes."""
    model, rows, names = prepared.resident, prepared.data.test, prepared.data.card.labels
    if not isinstance(model.objective, Classification) or not len(rows):
        return
    counts = confusion(
        model,
        result.weights,
        rows=rows,
        indices=torch.arange(len(rows)),
        batch_size=prepared.loaded.config.evaluate.batch_size,
        classes=len(names),
    )
    triples = [[int(t), int(g), int(counts[t, g])] for t, g in zip(*counts.nonzero(), strict=True)]
    values = {"round": result.summary["rounds"], "labels": list(names), "counts": triples}
    write_atomic(prepared.folder.confusion, json.dumps(values))


def _write(prepared: PreparedRun, sites: Sites | None) -> None:
    """Make the run folder; a folder that has a configuration has everything else, too."""
    folder, loaded = prepared.folder, prepared.loaded
    make_folder(folder, loaded)
    try:
        if sites is not None:
            write_sites(folder, sites)
        write_atomic(folder.path / "env.json", environment(loaded))
        write_atomic(folder.path / "data_card.json", json.dumps(prepared.data.card.to_json(), indent=1))
        write_inputs(folder, prepared.inputs)
        write_atomic(folder.config, resolved(loaded))
    except OSError as error:
        advice = "make room, delete the folder, and start again"
        raise StorageError(f"{folder.path} cannot be written: {error.strerror or error}; {advice}") from error


def _sample(data: FederatedData) -> Mapping[str, Tensor]:
    """Return the inputs of one row: a client's, or where no client is here one of the test rows."""
    rows = next((own.rows for own in data.clients.values()), data.test)
    return rows.typical()


def _central_test(model: ResidentModel, data: FederatedData, batch_size: int) -> CentralTest:
    indices = torch.arange(len(data.test))

    def test(weights: Weights) -> Metrics:
        with blaming_the_model(model.module, data.test.inputs):
            loss, correct = evaluate(model, weights, rows=data.test, indices=indices, batch_size=batch_size)
        return Metrics(correct / len(indices), loss / len(indices), len(indices))

    return test
