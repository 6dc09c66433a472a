"""The records of a run's journal: one line of strict JSON each, with a CRC-32 at its end."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Literal
from zlib import crc32

from pydantic import Field, TypeAdapter

from fedstrata.domain.reasons import Reason
from fedstrata.parsing.json_text import json_value
from fedstrata.parsing.typed import plain, typed
from fedstrata.wire.assignment import Key
from fedstrata.wire.sizes import Encoding

_CRC = ',"crc":"'
FRAMES = re.compile(r"([0-9]{4,18})-[0-9]+-[a-z]+\.frames")
"""Names of the files of kept answers: round, attempt, phase."""
_File = Annotated[str, Field(pattern=f"^{FRAMES.pattern}$")]
_Bytes = Annotated[int, Field(ge=0, lt=2**63)]
LONGEST = 2**24
"""Bytes of a record; what is longer is none."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The first record of a run."""

    run: str
    kind: Literal["run"] = "run"


@dataclass(frozen=True, slots=True)
class Accepted:
    """An answer that counts.

    Attributes:
        key: What it answers.
        sha256: Its content hash.
        kept: The file that holds it, and its first byte and length there; ``None`` if it was not kept.
        encoding: How its deltas are kept.
    """

    key: Key
    sha256: str
    kept: tuple[_File, _Bytes, _Bytes] | None = None
    encoding: Encoding = Encoding.FLOAT32
    kind: Literal["accept"] = "accept"


@dataclass(frozen=True, slots=True)
class Lost:
    """A client that was lost."""

    key: Key
    reason: Reason
    message: str
    kind: Literal["loss"] = "loss"


@dataclass(frozen=True, slots=True)
class Committed:
    """A round that is whole, with the digest of the weights that came out."""

    round: int
    base: str
    kind: Literal["commit"] = "commit"


@dataclass(frozen=True, slots=True)
class Abandoned:
    """An attempt that did not count; the checkpoint says what follows from it."""

    round: int
    attempt: int
    message: str
    kind: Literal["abandon"] = "abandon"


Record = Begun | Accepted | Lost | Committed | Abandoned
_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def line_of(record: Record) -> bytes:
    """Return a record as it is written: a line of strict JSON with its checksum at the end."""
    body = json.dumps(plain(_RECORD, record), separators=(",", ":"))
    return f'{body[:-1]}{_CRC}{crc32(body.encode()):08x}"}}\n'.encode()


def record_of(line: bytes) -> Record | None:
    """Return a record, or ``None`` if the line is not as it was written, or is no record of fedstrata."""
    body, mark, rest = line.rpartition(_CRC.encode())
    body += b"}"
    if not mark or rest != f'{crc32(body):08x}"}}\n'.encode():
        return None
    try:
        return typed(_RECORD, json_value(body, once=True))
    except ValueError:
        return None
