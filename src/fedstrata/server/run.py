"""A run: everything that it needs, and its two beginnings."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedstrata.domain.formatting import listing
from fedstrata.domain.versions import Versions
from fedstrata.errors import CheckpointError, StorageError
from fedstrata.files import argument
from fedstrata.locks import Lock
from fedstrata.runs.checkpoint import Place, generations, load, strays
from fedstrata.runs.folder import LogDigest, RunFolder
from fedstrata.runs.journal import FileJournal
from fedstrata.runs.state import ServerState
from fedstrata.server.session import Session
from fedstrata.server.setting import Setting
from fedstrata.server.setup import RunSetup
from fedstrata.wire.digests import manifest_of
from fedstrata.wire.messages import Weights

log = logging.getLogger(__name__)

Check = Callable[[], None]
SAME = "rows and model"
"""The part of a run's identity without which it does not go on; what else differs is said."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left.

    Attributes:
        folder: The run folder.
        state: ``finished`` or ``interrupted``.
        summary: The content of ``summary.json``.
        weights: Trainable tensors at the end.
    """

    folder: Path
    state: str
    summary: Mapping[str, Any]
    weights: Weights


@dataclass(frozen=True, slots=True)
class Run(RunSetup):
    """A run and everything that it needs; it can be started or resumed once."""

    def start(self, weights: Weights) -> RunResult:
        """Run from the beginning.

        Raises:
            TrainingError: Too few clients answered a round, or the global loss is not finite. Whole rounds are saved.
            StorageError: The run folder cannot be written (the newest checkpoint stands), or was deleted or moved.
            CheckpointError: Another process plays the run.
        """
        with closing(self.engine), self._alone() as check, self._advising(check):
            journal = self._journal(check)
            journal.begin(secrets.token_hex(8))
            return self._begin(weights, journal, check)

    def resume(self, weights: Weights) -> RunResult:
        """Go on from the newest checkpoint that can be read, or from the beginning if there is none.

        What the journal knows of the round after it is used: nothing that counted is lost or counted twice.

        Args:
            weights: The starting point, for names and shapes.

        Raises:
            CheckpointError: There are checkpoints, and none can be read; or another process plays the run.
        """
        with closing(self.engine), self._alone() as check, self._advising(check):
            return self._resume(weights, check)

    def _resume(self, weights: Weights, check: Check) -> RunResult:
        found, journal = self._latest(weights), self._journal(check)
        if found is None:
            self.folder.truncate(0)
            journal.reopen(0, None)
            if not journal.run:
                journal.begin(secrets.token_hex(8))
            return self._begin(weights, journal, check)
        state, place = found
        self._compare(place)
        self.folder.truncate(place.log_bytes)
        plan = {"rounds": self.schedule.rounds, "settings": self.header.get("settings")}
        before = self.folder.plan()
        if plan["settings"] != before["settings"]:
            journal.cut(place.journal_bytes)  # answers of a round that is played anew, with other settings
        journal.reopen(place.journal_bytes, state.run)
        if plan == before:
            return self._play(state, place.log_bytes, journal, check)
        return self._play(state, self.folder.append([{"event": "plan", **plan}]), journal, check)

    def _begin(self, weights: Weights, journal: FileJournal, check: Check) -> RunResult:
        state = initial_state(self.setting, weights, run=journal.run)
        header = {"event": "run", **self.header, "run": journal.run, "rounds": self.schedule.rounds}
        return self._play(state, self.folder.append([header]), journal, check)

    def _play(self, state: ServerState, log_bytes: int, journal: FileJournal, check: Check) -> RunResult:
        session = Session(self, state, log_bytes, journal, check)
        ended, summary = session.play()
        return RunResult(self.folder.path, ended, summary, session.state.weights)

    @contextmanager
    def _alone(self) -> Iterator[Check]:
        """Keep other processes from playing the run; a server that seemed to be gone may still be at it.

        Yields:
            What makes sure, before something is written, that the folder is still the one that was locked.
        """
        lock = Lock(self.folder.path)
        if not lock.take(within=0.0):
            raise CheckpointError(f"{self.folder.path} is being played by another process; wait for it, or end it")
        try:
            yield partial(_check_same, lock, self.folder)
        finally:
            lock.release()

    @contextmanager
    def _advising(self, check: Check) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            check()
            advice = f"make room, then go on with: fedstrata resume {argument(self.folder.path)}"
            raise StorageError(f"{error}; {advice}") from error

    def _journal(self, check: Check) -> FileJournal:
        rules, repeatable = self.setting.rules, self.engine.repeatable
        keep = not repeatable if rules.keep_updates == "auto" else rules.keep_updates
        return FileJournal(
            self.folder.journal,
            keep=keep or rules.layer_quorum > 1,
            durable=not repeatable,
            check=check,
        )

    def _latest(self, weights: Weights) -> tuple[ServerState, Place] | None:
        problems: list[str] = []
        for path in generations(self.folder.checkpoints):
            if problems:
                log.warning("%s; trying the older one", problems[-1])
            try:
                state, place = load(path, weights, seed=self.setting.seeds.run)
                self._check_log(path, place)
                return state, place
            except CheckpointError as error:
                problems.append(str(error))
        if problems:
            raise CheckpointError("; ".join(problems))
        if others := strays(self.folder.checkpoints):
            log.warning(
                "%s holds no checkpoint, only %s, which is left alone; the run begins anew (a checkpoint is a folder"
                " named round- and its round in four digits or more, such as round-0002)",
                self.folder.checkpoints,
                listing(others, limit=3),
            )
        return None

    def _check_log(self, path: Path, place: Place) -> None:
        try:
            digest = LogDigest(self.folder.events).upto(place.log_bytes)
        except (CheckpointError, OSError) as error:
            raise CheckpointError(f"checkpoint {path} cannot be used: {error}") from error
        if digest != place.log_sha256:
            raise CheckpointError(f"checkpoint {path} cannot be used: {self.folder.events} is not as it was written")

    def _compare(self, place: Place) -> None:
        """Say what has changed since the checkpoint and may change the bits.

        Raises:
            CheckpointError: The rows or the model have changed.
        """
        for name, value in self.identity.items():
            then = place.identity.get(name, value)
            if then != value and name == SAME:
                raise CheckpointError(
                    f"the newest checkpoint of {self.folder.path} was made with other rows or another model than"
                    " inputs.json says; start a new run"
                )
            if then != value:
                was = "another one" if name == "configuration" else f"{then}, now {value}"
                log.warning("%s was %s when the checkpoint was written; the bits may differ from here on", name, was)


def initial_state(setting: Setting, weights: Weights, *, run: str = "") -> ServerState:
    """Return the state of a run that has not begun."""
    always = [block.name for block in setting.layers.always]
    return ServerState(
        round=0,
        weights=weights,
        selector=setting.method.selector.init(setting.layers),
        aggregator=setting.method.aggregator.init(weights, setting.layers),
        versions=Versions.at(manifest_of(setting.layers.trainable, weights), always=always),
        run=run,
    )


def _check_same(lock: Lock, folder: RunFolder) -> None:
    """Keep a run whose folder was deleted or moved from writing into another run's, which may lie there by now.

    Raises:
        StorageError: The folder at the run's path is not the one that it locked.
    """
    if lock.displaced:
        raise StorageError(
            f"{folder.path} was deleted or moved while its run was playing, so nothing more of the run is written; "
            "if it was moved, go on with: fedstrata resume FOLDER"
        )
