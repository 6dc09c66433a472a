"""A payload and its blobs as the content of a Flower message, and back; torch is not needed.

Each blob is one Flower Array of raw bytes: a layer down, or a part of a frame up. So Flower never looks into tensors,
any type survives (bf16, too), and a layer of many small tensors is one object on the wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedstrata.parsing.json_text import json_value

PROTOCOL = 1
"""Version of what server and sites say to each other; both sides have to speak the same."""
_SAID, _BLOBS = "fedstrata", "blobs"
_STYPE = "fedstrata.bytes"
MOST_SAID = 16 * 2**20
"""Bytes of what is said in one message, at most; a site with many layers says a few hundred kilobytes."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is in a message.

    Attributes:
        said: Plain values, as JSON holds them.
        blobs: Bytes by name, in order.
    """

    said: Mapping[str, Any]
    blobs: Mapping[str, bytes]

    @property
    def bytes(self) -> int:
        """Bytes of the blobs."""
        return sum(map(len, self.blobs.values()))


def enclose(envelope: Envelope) -> RecordDict:
    """Return the content of a Flower message.

    Raises:
        ValueError: A number in what is said is not finite: the other side would refuse it.
    """
    said = {"protocol": PROTOCOL, "order": list(envelope.blobs), **envelope.said}
    text = json.dumps(said, separators=(",", ":"), allow_nan=False)
    content = RecordDict({_SAID: ConfigRecord({"json": text.encode()})})
    if envelope.blobs:
        arrays = {
            name: Array(dtype="uint8", shape=(len(blob),), stype=_STYPE, data=blob)
            for name, blob in envelope.blobs.items()
        }
        content[_BLOBS] = ArrayRecord(arrays)
    return content


def opened(content: RecordDict) -> Envelope:
    """Return what is in a message.

    Raises:
        ValueError: It is not one of ours, or speaks another version of the protocol.
    """
    try:
        data = content.config_records[_SAID]["json"]
        if not isinstance(data, bytes) or len(data) > MOST_SAID:
            raise ValueError("what is said in it is too long or no text")
        said = json_value(data, once=True, finite=True)
        version, order = said.pop("protocol"), said.pop("order")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the message is not one of fedstrata's: {type(error).__name__}: {str(error)[:80]}") from error
    if type(version) is not int or version != PROTOCOL:
        other = version if isinstance(version, int) else "?"
        raise ValueError(f"the other side speaks version {str(other)[:10]} of the protocol, not {PROTOCOL}; update it")
    return Envelope(said, _blobs(content, order))


def words(value: object, most: int = 500) -> str:
    r"""Return what another side says as one short line that forges no other, moves no cursor, and can be written.

    Example:
        >>> words("no\nroom\x1b[2J"), words(None), words([1])
        ('no room [2J', '', '')
    """
    return "".join(c if c.isprintable() else " " for c in value[:most]) if isinstance(value, str) else ""


def _blobs(content: RecordDict, order: object) -> dict[str, bytes]:
    arrays = dict(content.array_records[_BLOBS]) if _BLOBS in content.array_records else {}
    named = isinstance(order, list) and all(isinstance(name, str) for name in order)
    if not isinstance(order, list) or not named or set(order) != set(arrays) or len(order) != len(arrays):
        raise ValueError("the message holds other blobs than it says")
    return {name: arrays[name].data for name in order}
