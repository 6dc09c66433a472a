"""A run's folder: the event log is the truth, tables and summary are derived from it.

config.resolved.yaml  env.json  data_card.json   written before the first round
events.jsonl                                     one line per event, appended and synced per round
journal.jsonl  accepted/                         see journal.py
client-states/                                   what clients of this machine keep, see client/state_store.py
checkpoints/round-NNNN/                          see checkpoint.py
metrics.csv  selection.parquet  summary.json     derived at the end of every session of the run
confusion.json  model/                           classes, and an ordinary HF folder, at the end
weights/                                         the trained tensors alone, if the model could not be written
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

from fedstrata.domain.records import SCHEMA, RoundRecord
from fedstrata.errors import CheckpointError
from fedstrata.files import append
from fedstrata.parsing.bounded_files import UnreadableError, read_part
from fedstrata.parsing.json_text import json_value

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths and log of one run.

    Attributes:
        path: The folder; exists.
    """

    path: Path

    @property
    def events(self) -> Path:
        """The event log."""
        return self.path / "events.jsonl"

    @property
    def journal(self) -> Path:
        """The journal of accepted answers."""
        return self.path / "journal.jsonl"

    @property
    def answers(self) -> Path:
        """Folder of the answers of single clients that a round may still need."""
        return self.path / "accepted"

    @property
    def client_states(self) -> Path:
        """Folder of what clients of this machine keep between rounds."""
        return self.path / "client-states"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The model that came out."""
        return self.path / "model"

    @property
    def confusion(self) -> Path:
        """True against predicted classes of the test rows, at the end."""
        return self.path / "confusion.json"

    @property
    def weights(self) -> Path:
        """The trained tensors alone, if the model could not be written."""
        return self.path / "weights"

    @property
    def config(self) -> Path:
        """The configuration with every default written out."""
        return self.path / "config.resolved.yaml"

    def append(self, events: Iterable[Event]) -> int:
        """Append events as lines, durably; return the log's length in bytes."""
        lines = "".join(_line(event) for event in events).encode()
        return append(self.events, lines, durable=True) + len(lines)

    def forget_answers(self) -> None:
        """Delete the answers of single clients: a run that has finished needs none."""
        shutil.rmtree(self.answers, ignore_errors=True)

    def truncate(self, length: int) -> None:
        """Cut the log back to the length that a checkpoint vouches for."""
        if self.events.exists():
            os.truncate(self.events, length)

    def read(self) -> list[dict[str, Any]]:
        """Return all whole events, oldest first; a torn last line is left out.

        Raises:
            CheckpointError: A line is not an event: the log was changed by someone else.
        """
        if not self.events.exists():
            return []
        lines = self.events.read_text(encoding="utf-8").split("\n")
        return [self._event(number, line) for number, line in enumerate(lines[:-1], start=1)]

    def plan(self) -> dict[str, Any]:
        """Return how many rounds the run was last said to have, and with which settings."""
        said = [event for event in self.read() if event["event"] in ("run", "plan")]
        return {"rounds": said[-1]["rounds"], "settings": said[-1].get("settings")}

    def _event(self, number: int, line: str) -> dict[str, Any]:
        try:
            event = json_value(line)
        except UnreadableError:
            event = None
        if not isinstance(event, dict):
            raise CheckpointError(f"{self.events}:{number}: this line is not an event; the log is damaged")
        return event


class LogDigest:
    """Hash of the beginning of a run's event log; it reads each byte once, however often it is asked for more.

    Args:
        path: The event log.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._hash, self._read = path, sha256(), 0

    def upto(self, length: int) -> str:
        """Return the sha256 of the first bytes of the log; ``length`` never shrinks.

        Raises:
            CheckpointError: The log is shorter than that: it was changed by someone else.
        """
        part = read_part(self._path, self._read, length - self._read)
        self._hash.update(part)
        self._read += len(part)
        if self._read < length:
            raise CheckpointError(f"{self._path} has {self._read} bytes, the checkpoint expects {length}; it was cut")
        return self._hash.hexdigest()


def _line(event: Event) -> str:
    """Return an event as one line of strict JSON; what is not finite becomes null."""
    return json.dumps(_finite({"event": event["event"], "schema": SCHEMA, **event}), allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def round_events(record: RoundRecord) -> list[Event]:
    """Return the events of one round: its clients, then the round itself."""
    whole = asdict(record)
    clients = whole.pop("clients")
    return [*({"event": "client", **client} for client in clients), {"event": "round", **whole}]
