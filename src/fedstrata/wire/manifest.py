"""Manifests: what a reply says in numbers and names, as strict JSON, and back. Tensors travel beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from fedstrata.domain.reasons import Reason
from fedstrata.parsing.json_text import json_value
from fedstrata.parsing.typed import plain, typed
from fedstrata.wire.messages import Evaluated, Failure, Probed, Reply, Update
from fedstrata.wire.sizes import Encoding

KINDS: Mapping[type[Reply], TypeAdapter[Any]] = {k: TypeAdapter(k) for k in (Probed, Update, Evaluated, Failure)}
_NAMED: Mapping[str, TypeAdapter[Any]] = {kind.__name__.lower(): form for kind, form in KINDS.items()}
_MOST_TEXT = 2000
"""Characters of a failure's message that are kept."""
_CLAIMABLE = frozenset({Reason.NONFINITE, Reason.REFUSED, Reason.CLIENT_ERROR})
"""Reasons that a client may give for its own failure; the others are the server's to give."""


def write_manifest(reply: Reply, encoding: Encoding) -> bytes:
    """Return what a reply says; an update's deltas are left out.

    Example:
        >>> from fedstrata.domain.ids import ClientId
        >>> write_manifest(Failure(ClientId("a"), 0, "train", Reason.CLIENT_ERROR, "no disk"), Encoding.FLOAT32)[:43]
        b'{"kind":"failure","client":"a","round":0,"p'
    """
    reply = replace(reply, message=_line(reply.message)) if isinstance(reply, Failure) else reply
    said = {"kind": type(reply).__name__.lower(), **plain(KINDS[type(reply)], reply)}
    said |= {"encoding": encoding} if isinstance(reply, Update) else {}
    return json.dumps(said, separators=(",", ":")).encode()


def read_manifest(said: bytes) -> tuple[Reply, object]:
    """Return the reply and the name of its encoding; an update comes without deltas.

    Raises:
        ValueError: The bytes are no manifest of ours, whatever they are.
    """
    value = json_value(said, once=True)
    if not isinstance(value, dict) or (form := _NAMED.get(str(value.pop("kind", None)))) is None:
        raise ValueError("it is of no kind of reply")
    encoding = value.pop("encoding", None) if form is KINDS[Update] else None
    reply: Reply = typed(form, value)
    if isinstance(reply, Failure):
        reason = reply.reason if reply.reason in _CLAIMABLE else Reason.CLIENT_ERROR
        reply = replace(reply, reason=reason, message=_line(reply.message))
    return reply, encoding


def _line(message: str) -> str:
    """Return a message for people without what could move their cursor or forge a line of their log."""
    return "".join(c if c.isprintable() else " " for c in message[:_MOST_TEXT])
