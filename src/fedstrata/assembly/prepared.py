"""A run that is ready to start: its model, rows, setting and folder, and the run that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedstrata.assembly.central_test import ServerTest
from fedstrata.assembly.engine import engine_of
from fedstrata.assembly.export_choice import best_weights
from fedstrata.assembly.inputs import Inputs
from fedstrata.assembly.panel import rows_together
from fedstrata.assembly.provenance import header, identity
from fedstrata.assembly.runtime import prefix_cache
from fedstrata.client.exact import ExactGradients
from fedstrata.client.resident import ResidentModel
from fedstrata.client.state_store import StateStore
from fedstrata.config.load import Loaded
from fedstrata.data.tensors import FederatedData
from fedstrata.engines.protocol import Engine
from fedstrata.models.loaded import LoadedModel
from fedstrata.runs.folder import RunFolder
from fedstrata.server.observers import Observer
from fedstrata.server.run import SAME, Run
from fedstrata.server.setting import Setting
from fedstrata.server.setup import Schedule
from fedstrata.server.theory import Instrument
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
        test: Tests weights on the server's rows.
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
    test: ServerTest
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
        config, states = self.loaded.config, StateStore(self.folder.client_states)
        self.test.cache = cache = prefix_cache(self.loaded, self.resident)
        return Run(
            setting=self.setting,
            schedule=Schedule(config.train.rounds, config.evaluate.every, config.checkpoint.every),
            engine=engine or engine_of(self.loaded, self.resident, self.data, states, cache),
            test=self.test,
            folder=self.folder,
            header=header(self.loaded, self.setting, self.data),
            observer=observer,
            stop=stop,
            frozen=self.resident.frozen_drift,
            identity=identity(self.loaded) | {SAME: self.inputs.digest},
            best=None if config.export == "last" else best_weights(self.folder),
            rows_together=self._rows_together(),
            instrument=self._instrument(),
        )

    def _rows_together(self) -> int:
        """Return how many held-out rows of clients share passes; none where each client is at a site of its own."""
        config = self.loaded.config
        if not config.evaluate.pooled or config.engine == "flower":
            return 0
        return rows_together(self.data.at_hand, config.evaluate.batch_size)

    def _instrument(self) -> Instrument | None:
        """Return what measures the rounds' errors with the clients' rows, where that is asked for."""
        config = self.loaded.config
        if config.theory != "exact":
            return None
        batches = config.probe.batch_size, config.evaluate.batch_size
        return ExactGradients(self.resident, self.data.clients, *batches)
