"""A run folder to values: the event log must be sound; other files may be missing, and the report says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from fedstrata.domain.card import DataCard
from fedstrata.errors import CheckpointError
from fedstrata.parsing.bounded_files import UnreadableError, read_text
from fedstrata.parsing.json_text import MOST_BYTES, json_value
from fedstrata.parsing.typed import problem
from fedstrata.runs.read_events import read_log
from fedstrata.runs.records import Confusion, Log, Run

EVENTS = "events.jsonl"


_MOST_LABELS = 100_000
"""Classes of a file that a run wrote: each takes a row of the page."""
_Whole = Annotated[int, Field(ge=0, le=2**53)]


@dataclass(frozen=True, slots=True)
class _Counts:
    """``confusion.json`` as it is written: triples of true class, predicted class and rows."""

    round: _Whole
    labels: Annotated[tuple[str, ...], Field(max_length=_MOST_LABELS)]
    counts: tuple[tuple[_Whole, _Whole, _Whole], ...]


_CARD, _COUNTS = TypeAdapter(DataCard), TypeAdapter(_Counts)


def read_run(folder: Path) -> Run:
    """Read a run folder.

    The event log must be there and whole, but for a last line cut off by a kill. The other files may be
    missing or unreadable: ``notes`` then says so.

    Raises:
        CheckpointError: The folder is missing, empty, not a run folder, or its event log cannot be read.
    """
    log = read_log(events_of(folder))
    notes = list(log.notes)
    summary = _mapping(folder / "summary.json", notes)
    environment = _mapping(folder / "env.json", notes)
    card = _data_card(folder / "data_card.json", notes)
    config = _text(folder / "config.resolved.yaml", notes)
    confusion = _confusion(folder / "confusion.json", notes)
    notes += _contradictions(log, summary)
    return Run(folder.resolve().name, log, summary, config, environment, card, tuple(notes), confusion)


def events_of(folder: Path) -> Path:
    """Return the event log of a run folder.

    Raises:
        CheckpointError: The folder is missing, empty or not a run folder.
    """
    if not folder.exists():
        raise CheckpointError(f"run folder {folder} does not exist; pass the folder that `fedstrata run` wrote")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; pass the run folder that holds {EVENTS}")
    path = folder / EVENTS
    if path.is_file():
        return path
    inside = sorted(p.parent.name for p in folder.glob(f"*/{EVENTS}"))
    if inside:
        raise CheckpointError(f"{folder} has no {EVENTS}, but its folders {', '.join(inside)} do; pass those")
    found = sorted(p.name for p in folder.iterdir())
    held = f"it holds {', '.join(found[:5])}" if found else "it is empty"
    raise CheckpointError(f"{folder} is not a run folder: {EVENTS} is missing ({held})")


def _text(path: Path, notes: list[str]) -> str | None:
    try:
        return read_text(path, most=MOST_BYTES)
    except FileNotFoundError:
        notes.append(f"{path.name} is missing, so what it would say is left out.")
    except OSError as error:
        notes.append(f"{path.name} cannot be read ({error.strerror}), so what it would say is left out.")
    except UnreadableError as error:
        notes.append(f"{path.name} cannot be read ({error}), so what it would say is left out.")
    return None


def _mapping(path: Path, notes: list[str]) -> Mapping[str, object]:
    text = _text(path, notes)
    if text is None:
        return {}
    try:
        value = json_value(text)
    except UnreadableError:
        value = None
    if isinstance(value, dict):
        return value
    notes.append(f"{path.name} is not a JSON object, so what it would say is left out.")
    return {}


def _data_card(path: Path, notes: list[str]) -> DataCard | None:
    value = _mapping(path, notes)
    if not value:
        return None
    try:
        return _CARD.validate_python(value)
    except ValidationError as error:
        notes.append(f"{path.name} is not a data card ({problem(error, value)}), so the data section is left out.")
        return None


def _confusion(path: Path, notes: list[str]) -> Confusion | None:
    """Return the counts of true and predicted classes; a run that has none has no such file."""
    if not path.exists():
        return None
    value = _mapping(path, notes)
    try:
        found = _COUNTS.validate_python(value)
    except ValidationError as error:
        notes.append(f"{path.name} is not as a run writes it ({problem(error, value)}), so the classes are left out.")
        return None
    if any(max(true, guess) >= len(found.labels) for true, guess, _ in found.counts):
        notes.append(f"{path.name} counts a class that it does not name, so the classes are left out.")
        return None
    return Confusion(found.round, found.labels, {(true, guess): rows for true, guess, rows in found.counts})


def _contradictions(log: Log, summary: Mapping[str, object]) -> Sequence[str]:
    """Return a note for each number of the summary that the event log does not bear out."""
    logged: dict[str, float] = {
        "rounds": len(log.rounds),
        "bytes_up": sum(r.bytes_up for r in log.spent),
        "bytes_down": sum(r.bytes_down for r in log.spent),
        "abandoned": len(log.abandoned),
        "skipped": len(log.skipped),
    }
    return [
        f"summary.json says {key} {told}, but the event log adds up to {value:g}."
        for key, value in logged.items()
        if isinstance(told := summary.get(key), int | float) and told != value
    ]
