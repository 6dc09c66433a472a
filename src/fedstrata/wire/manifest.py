"""Manifests: what a reply says in numbers and names, as strict JSON, and back. Tensors travel beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.domain.stats import LayerStats, TensorStats
from fedstrata.wire.messages import Evaluated, Failure, Origin, Probed, Reply, Update, phase_of
from fedstrata.wire.numbers import read, written
from fedstrata.wire.sizes import Encoding

_MOST_TEXT = 2000
"""Characters of a failure's message that are kept."""
_CLAIMABLE = frozenset({Reason.NONFINITE, Reason.REFUSED, Reason.CLIENT_ERROR})
"""Reasons that a client may give for its own failure."""


def write_manifest(reply: Reply, encoding: Encoding) -> bytes:
    """Return what a reply says; an update's deltas are left out.

    Example:
        >>> write_manifest(Failure(ClientId("a"), 0, "train", Reason.CLIENT_ERROR, "no disk"), Encoding.FLOAT32)[:36]
        b'{"phase":"train","client":"a","round'
    """
    return json.dumps(_said(reply, encoding), allow_nan=True, separators=(",", ":")).encode()


def read_manifest(said: bytes) -> tuple[Reply, object]:
    """Return the reply and the name of its encoding; an update comes without deltas.

    Raises:
        ValueError: The bytes are no manifest of ours, whatever they are.
    """
    try:
        found = json.loads(said.decode("utf-8"), parse_constant=_constant, object_pairs_hook=_once)
        return _reply(found), found.get("encoding")
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {str(error)[:80]}") from error


def _constant(name: str) -> float:
    return float(name.replace("Infinity", "inf"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _said(reply: Reply, encoding: Encoding) -> dict[str, Any]:
    o = reply.origin
    said: dict[str, Any] = {
        "phase": phase_of(reply),
        "client": reply.client,
        "round": reply.round,
        "run": o.run,
        "attempt": o.attempt,
        "base": o.base,
    }
    match reply:
        case Failure():
            said |= {"kind": "failure", "reason": reply.reason, "message": reply.message[:_MOST_TEXT]}
        case Evaluated():
            said |= {"kind": "evaluated", "loss_sum": reply.loss_sum, "correct": reply.correct}
            said |= {"num_examples": reply.num_examples}
        case Probed():
            said |= {"kind": "probed", **_measured(reply)}
        case Update():
            said |= {"kind": "update", "mask": sorted(reply.mask), "encoding": encoding}
            said |= {"num_examples": reply.num_examples, "steps": reply.steps, "peak_bytes": reply.peak_bytes}
            said |= {"loss_first": reply.loss_first, "loss_mean": reply.loss_mean, "seconds": reply.seconds}
            said |= {"piggybacked": _measured(reply.piggybacked)} if reply.piggybacked else {}
    return said


def _measured(probed: Probed) -> dict[str, Any]:
    return {
        "loss": probed.loss,
        "seconds": probed.seconds,
        "peak_bytes": probed.peak_bytes,
        "stats": [_layer(s) for s in probed.stats],
    }


def _layer(s: LayerStats) -> list[object]:
    sketch = [] if s.sketch is None else [written(s.sketch)]
    return [s.num_examples, [_numbers(t) for t in s.tensors], *sketch]


def _numbers(t: TensorStats) -> list[float | None]:
    return [t.elements, t.weight_sq, t.grad_sq, t.half_dot, t.snr_sum, t.noise_sum]


def _reply(said: object) -> Reply:
    if not isinstance(said, dict):
        raise TypeError("no mapping")
    client, round, origin = ClientId(_text(said["client"])), _whole(said["round"]), _origin(said)
    match said["kind"], said["phase"]:
        case "failure", ("probe" | "train" | "evaluate") as phase:
            return Failure(client, round, phase, _claimed(said["reason"]), _line(said["message"]), origin)
        case "evaluated", "evaluate":
            rows = _whole(said["num_examples"])
            return Evaluated(client, round, _number(said["loss_sum"]), _whole(said["correct"]), rows, origin)
        case "probed", "probe":
            return _probed(said, client, round, origin)
        case "update", "train":
            return Update(
                client=client,
                round=round,
                mask=frozenset(_whole(index) for index in said["mask"]),
                deltas={},
                num_examples=_whole(said["num_examples"]),
                steps=_whole(said["steps"]),
                loss_first=_number(said["loss_first"]),
                loss_mean=_number(said["loss_mean"]),
                seconds=_seconds(said["seconds"]),
                peak_bytes=_peak(said["peak_bytes"]),
                origin=origin,
                piggybacked=_probed(said["piggybacked"], client, round, origin) if "piggybacked" in said else None,
            )
    raise ValueError("kind and phase do not fit")


def _probed(said: Mapping[str, Any], client: ClientId, round: int, origin: Origin) -> Probed:
    stats = tuple(_stats(*layer) for layer in said["stats"])
    loss, seconds = _number(said["loss"]), _seconds(said["seconds"])
    return Probed(client, round, stats, loss, seconds, _peak(said["peak_bytes"]), origin)


def _claimed(reason: object) -> Reason:
    """Return the reason that a client gives for its own failure; the others are the server's to give."""
    claimed = Reason(str(reason))
    return claimed if claimed in _CLAIMABLE else Reason.CLIENT_ERROR


def _origin(said: Mapping[str, Any]) -> Origin:
    return Origin(_text(said["run"]), _whole(said["attempt"]), _text(said["base"]))


def _stats(rows: object, tensors: list[list[Any]], *sketch: object) -> LayerStats:
    def maybe(value: object) -> float | None:
        return None if value is None else _number(value)

    found = tuple(
        TensorStats(_whole(n), _number(w), _number(g), maybe(h), maybe(snr), maybe(noise))
        for n, w, g, h, snr, noise in tensors
    )
    if len(sketch) > 1:
        raise ValueError("a layer says more than its statistics and its sketch")
    numbers = [read(_text(one)) for one in sketch]
    return LayerStats(found, num_examples=_whole(rows), sketch=numbers[0] if numbers else None)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text should be")
    value.encode()  # JSON can spell half a character, which no log can hold: a ValueError
    return value


def _line(value: object) -> str:
    """Return a message for people without what could move their cursor or forge a line of their log."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a message should be")
    return "".join(c if c.isprintable() else " " for c in value[:_MOST_TEXT])


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{str(value)[:20]} where a whole number should be")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where a number should be")
    return float(value)


def _seconds(value: object) -> float:
    seconds = _number(value)
    if not (isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{seconds} where seconds should be")
    return seconds


def _peak(value: object) -> int | None:
    return None if value is None else _whole(value)
