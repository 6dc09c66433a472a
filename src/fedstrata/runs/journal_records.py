"""The records of a run's journal: one line of strict JSON each, with a CRC-32 at its end."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zlib import crc32

from pydantic import Field, TypeAdapter, ValidationError

from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.reading.bounded import UnreadableError
from fedstrata.reading.json_text import json_value
from fedstrata.wire.assignment import Key
from fedstrata.wire.messages import PhaseName
from fedstrata.wire.sizes import Encoding

_CRC = ',"crc":"'
FRAMES = re.compile(r"([0-9]{4,18})-[0-9]+-[a-z]+\.frames")
"""Names of the files of kept answers: round, attempt, phase."""
_File = Annotated[str, Field(pattern=f"^({FRAMES.pattern})?$")]
_Bytes = Annotated[int, Field(ge=0, lt=2**63)]
LONGEST = 2**24
"""Bytes of a record; what is longer is none."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The first record of a run."""

    kind: Literal["run"]
    run: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """An answer that counts; ``kept`` is the file that holds it, and its first byte and length there."""

    kind: Literal["accept"]
    run: str
    round: int
    attempt: int
    phase: PhaseName
    client: ClientId
    base: str
    sha256: str
    kept: tuple[_File, _Bytes, _Bytes] = ("", 0, 0)
    encoding: Encoding = Encoding.FLOAT32


@dataclass(frozen=True, slots=True)
class Lost:
    """A client that was lost."""

    kind: Literal["loss"]
    run: str
    round: int
    attempt: int
    phase: PhaseName
    client: ClientId
    base: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A round that is whole or an attempt that did not count; the checkpoint says what follows from it."""

    kind: Literal["commit", "abandon"]
    round: int


Record = Begun | Accepted | Lost | Ended
_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def line_of(record: Mapping[str, Any]) -> bytes:
    """Return a record as it is written: a line of strict JSON with its checksum at the end."""
    body = json.dumps(record, separators=(",", ":"))
    return f'{body[:-1]}{_CRC}{crc32(body.encode()):08x}"}}\n'.encode()


def key_of(record: Accepted | Lost) -> Key:
    """Return the key of the assignment that a record is about."""
    return Key(*(getattr(record, name) for name in Key._fields))


def record_of(line: bytes) -> Record | None:
    """Return a record, or ``None`` if the line is not as it was written, or is no record of fedstrata."""
    body, mark, rest = line.rpartition(_CRC.encode())
    body += b"}"
    if not mark or rest != f'{crc32(body):08x}"}}\n'.encode():
        return None
    try:
        json_value(body)  # refuses what is too deep and keys that stand twice
        return _RECORD.validate_json(body, strict=True)
    except (UnreadableError, ValidationError):
        return None
