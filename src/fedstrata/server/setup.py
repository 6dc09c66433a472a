"""What a run needs: its method and clients, where they execute, when it looks and saves, and where it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedstrata.domain.ids import LayerName
from fedstrata.engines.protocol import Engine
from fedstrata.runs.best import BestWeights
from fedstrata.runs.folder import RunFolder
from fedstrata.server.evaluation import CentralTest
from fedstrata.server.observers import Observer, Quiet
from fedstrata.server.setting import Setting
from fedstrata.server.theory import Instrument


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a run lasts and how often it looks and saves.

    Attributes:
        rounds: Number of rounds.
        evaluate_every: Evaluate after every so many rounds, and after the last.
        checkpoint_every: Checkpoint after every so many rounds, and after the last.
    """

    rounds: int
    evaluate_every: int = 1
    checkpoint_every: int = 1


@dataclass(frozen=True, slots=True)
class RunSetup:
    """Everything that a run needs.

    Attributes:
        setting: Method, clients, plans, rules.
        schedule: Rounds, evaluations, checkpoints.
        engine: Where clients execute; closed when the run ends, however it ends.
        test: Evaluates weights on the central test set.
        folder: Where the run is written.
        header: Facts for the log's first event (model, data, layer names).
        observer: Is told what happens.
        stop: Asked after each round; true ends the run early with everything saved.
        frozen: Measures the drift of the ``never`` blocks, by block name.
        identity: What the bits depend on besides the seed: hash of the configuration, versions of packages.
        best: Keeps the weights of the best round; ``None`` where nobody wants them in the end.
        rows_together: Held-out rows of clients that share forward passes, at most; 0 evaluates each client alone.
        instrument: Measures each round's error and its bound; ``None`` for no measurement.
    """

    setting: Setting
    schedule: Schedule
    engine: Engine
    test: CentralTest
    folder: RunFolder
    header: Mapping[str, Any]
    observer: Observer = field(default_factory=Quiet)
    stop: Callable[[], bool] = lambda: False
    frozen: Callable[[], Mapping[LayerName, float]] = dict
    identity: Mapping[str, str] = field(default_factory=dict)
    best: BestWeights | None = None
    rows_together: int = 0
    instrument: Instrument | None = None
