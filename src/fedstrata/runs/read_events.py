"""Events to values: one pass over a run's ``events.jsonl``, strict but for the line that a kill cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from fedstrata.domain.records import SCHEMA, Abandoned, ClientRecord, Metrics, RoundRecord
from fedstrata.domain.units import UNITS
from fedstrata.errors import CheckpointError, nearest
from fedstrata.parsing.bounded_files import UnreadableError
from fedstrata.parsing.json_text import MOST_BYTES, json_value
from fedstrata.parsing.typed import problem
from fedstrata.runs.records import Log, RunHeader

T = TypeVar("T")

_HEADER = TypeAdapter(RunHeader)
_CLIENT = TypeAdapter(ClientRecord)
_ROUND = TypeAdapter(RoundRecord)
_ABANDONED = TypeAdapter(Abandoned)
_LOSSES: TypeAdapter[Mapping[str, int]] = TypeAdapter(dict[str, int])
_METRICS: TypeAdapter[Metrics | None] = TypeAdapter(Metrics | None)
_ENDS = ("finished", "interrupted", "failed")


@dataclass(slots=True)
class _Reader:
    """What the pass has gathered so far."""

    path: Path
    header: RunHeader | None = None
    test: Metrics | None = None
    validation: Metrics | None = None
    losses: Mapping[str, int] = field(default_factory=dict)
    clients: dict[tuple[int, str], ClientRecord] = field(default_factory=dict)
    rounds: dict[int, RoundRecord] = field(default_factory=dict)
    abandoned: dict[tuple[int, int], Abandoned] = field(default_factory=dict)
    resumed: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    state: str = "broken off"
    message: str | None = None

    def fail(self, line: int, why: str) -> NoReturn:
        raise CheckpointError(f"{self.path}:{line}: {why}; the event log was changed or is not one of ours")

    def valid(self, adapter: TypeAdapter[T], value: object, line: int) -> T:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            self.fail(line, problem(error, value))


def read_log(path: Path) -> Log:
    """Read an event log.

    A round counts when its own event is there: clients of a round that never ended are left out, and of a
    round that was run again after a resume the last one stands.

    Raises:
        CheckpointError: The log is empty, of another schema, or wrong anywhere but at the point of a kill.
    """
    reader = _Reader(path)
    lines = _lines(path)
    found = next(lines, None)
    if found is None:
        raise CheckpointError(f"{path} is empty: the run was stopped before it began; there is nothing to report")
    while found is not None:
        (number, line), found = found, next(lines, None)
        event = _parse(line)
        if event is None and (event := _glued(line)) is not None:
            reader.notes.append(f"{path.name}:{number} begins with a line cut off by a kill; its rest was read.")
        elif event is None and (found is None or _resumes(found[1])):
            reader.notes.append(f"{path.name}:{number} is cut off: the run was killed while it wrote this line.")
            continue
        if event is None:
            reader.fail(number, "the line is not a JSON object")
        _take(reader, event, number)
    return _log(reader)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers, one at a time however long the log is."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MOST_BYTES + 1), b""), 1):
                if len(line) > MOST_BYTES:
                    raise CheckpointError(f"{path}:{number} is longer than {MOST_BYTES >> 20} MiB; no event is")
                text = line.decode("utf-8", errors="replace")
                if text.strip():
                    yield number, text
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _parse(line: str) -> Mapping[str, object] | None:
    try:
        value = json_value(line, finite=True)
    except UnreadableError:
        return None
    return value if isinstance(value, dict) else None


def _resumes(line: str) -> bool:
    event = _parse(line)
    return event is not None and event.get("event") == "resume"


def _glued(line: str) -> Mapping[str, object] | None:
    """Return the event that was appended to a cut-off line, if there is one."""
    start = line.rfind('{"event"')
    return _parse(line[start:]) if start > 0 else None


def _take(reader: _Reader, event: Mapping[str, object], line: int) -> None:
    kind, schema = event.get("event"), event.get("schema")
    if not isinstance(kind, str):
        reader.fail(line, "the line has no 'event'")
    if schema != SCHEMA:
        raise CheckpointError(
            f"{reader.path}:{line}: event schema {schema} is not {SCHEMA}; read it with the fedstrata that wrote it"
        )
    if reader.header is None and kind != "run":
        reader.fail(line, f"the first event is '{kind}', not 'run'")
    take = _TAKERS.get(kind)
    if take is not None:
        take(reader, event, line)


def _run(reader: _Reader, event: Mapping[str, object], line: int) -> None:
    reader.header = reader.valid(_HEADER, event, line)


def _baseline(reader: _Reader, event: Mapping[str, object], line: int) -> None:
    reader.test = reader.valid(_METRICS, event.get("test"), line)
    reader.validation = reader.valid(_METRICS, event.get("validation"), line)
    reader.losses = reader.valid(_LOSSES, event.get("losses", {}), line)


def _client(reader: _Reader, event: Mapping[str, object], line: int) -> None:
    record = reader.valid(_CLIENT, event, line)
    for name, amounts in (("budget", record.budget), ("predicted", record.predicted)):
        for unit in amounts:
            if unit not in UNITS:
                reader.fail(line, f"{name}: '{unit}' is no unit of a cost; {nearest(unit, UNITS)}")
    reader.clients[record.round, record.client] = record


def _round(reader: _Reader, event: Mapping[str, object], line: int) -> None:
    number = event.get("round")
    clients = tuple(c for (r, _), c in sorted(reader.clients.items()) if r == number)
    record = reader.valid(_ROUND, {**event, "clients": clients}, line)
    reader.rounds[record.round] = record
    reader.clients.clear()


def _abandoned(reader: _Reader, event: Mapping[str, object], line: int) -> None:
    facts = reader.valid(_ABANDONED, event, line)
    reader.abandoned[facts.round, facts.attempt] = facts
    reader.clients.clear()


def _resume(reader: _Reader, event: Mapping[str, object], line: int) -> None:
    reader.clients.clear()
    reader.resumed.append(reader.valid(TypeAdapter(int), event.get("round"), line))
    reader.state, reader.message = "broken off", None


def _end(reader: _Reader, event: Mapping[str, object], line: int) -> None:
    state, message = event.get("state"), event.get("message")
    if state not in _ENDS:
        reader.fail(line, f"state {state!r} is none of {', '.join(_ENDS)}")
    reader.state = str(state)
    reader.message = None if message is None else str(message)


_TAKERS: Mapping[str, Callable[[_Reader, Mapping[str, object], int], None]] = {
    "run": _run,
    "baseline": _baseline,
    "client": _client,
    "round": _round,
    "abandoned": _abandoned,
    "resume": _resume,
    "end": _end,
}
"""Events of other kinds are left to those who wrote them."""


def _log(reader: _Reader) -> Log:
    if reader.header is None:
        raise CheckpointError(f"{reader.path} holds no whole event: the run was killed as it began; nothing to report")
    rounds = tuple(reader.rounds[r] for r in sorted(reader.rounds))
    if reader.clients:
        reader.notes.append(
            f"The log ends inside round {next(iter(reader.clients))[0]}: that round did not complete and is left out."
        )
    return Log(
        header=reader.header,
        baseline_test=reader.test,
        baseline_validation=reader.validation,
        baseline_losses=reader.losses,
        rounds=rounds,
        abandoned=tuple(reader.abandoned[key] for key in sorted(reader.abandoned)),
        state=reader.state,
        message=reader.message,
        resumed=tuple(reader.resumed),
        notes=tuple(reader.notes),
    )
