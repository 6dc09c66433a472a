"""A run whose model and test rows are loaded: its clients are then loaded here, or declared by sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fedstrata.assembly.affordable import Prepared
from fedstrata.assembly.central_test import ServerTest
from fedstrata.assembly.clients import Population, population
from fedstrata.assembly.declared import check_rows
from fedstrata.assembly.disk_room import tight
from fedstrata.assembly.first_files import begin
from fedstrata.assembly.inputs import check_inputs, inputs_of
from fedstrata.assembly.prepare_setting import prepare_setting
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.runtime import Workplace, rehearse_export, rehearse_trainer
from fedstrata.assembly.shared import ALONE, Shared
from fedstrata.client.resident import bytes_of
from fedstrata.config.load import Loaded
from fedstrata.costs.protocol import Workload
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.ids import ClientId
from fedstrata.domain.profile import StepProfile
from fedstrata.runs.folder import RunFolder
from fedstrata.runs.sites_file import Sites, changes
from fedstrata.wire.declaration import Declaration


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
        prepared = self._setting(people)
        rehearse_export(self.loaded, self.place.network)
        resident = self.place.resident()
        rehearse_trainer(self.loaded, resident, self.data)
        changed = changes(self.stored, now) if self.stored and now else ()
        run = PreparedRun(
            self.loaded,
            self.place.network,
            people.data,
            prepared.setting,
            resident,
            ServerTest(resident, people.data, self.loaded.config.evaluate.batch_size),
            self.folder,
            weights=resident.weights(),
            inputs=inputs_of(self.loaded, self.data, self.place.network.model, self.place.network.layers),
            notes=(*self.place.network.notes, *changed, *people.notes, *prepared.notes, *self._notes(prepared)),
        )
        if self.began:
            check_inputs(self.folder, run.inputs)
        else:
            begin(self.folder, self.loaded, run.data.card, run.inputs, sites)
        return run

    def _notes(self, prepared: Prepared) -> tuple[str, ...]:
        """Return a note where the best round is wanted and no client has rows to tell it, or where room may run out."""
        kind, room = self.loaded.config.export, tuple(tight(self.folder, self.place.network))
        if kind == "last" or any(profile.held_out != 0 for profile in prepared.setting.profiles.values()):
            return room
        note = f"export: {kind} has no rows to choose a round by, so model/ is the last round's; set data.held_out"
        return (note, *room)

    def _setting(self, people: Population) -> Prepared:
        """Return the setting; its notes say what was guessed where prices were measured."""
        network, guesses = self.place.network, list[str]()

        def measure(workloads: Sequence[Workload]) -> tuple[StepProfile, ...]:
            guesses.extend(people.guesses)
            return self.shared.measure(network, people.data.at_hand.typical(), workloads)

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
        return replace(prepared, notes=(*prepared.notes, *guesses))
