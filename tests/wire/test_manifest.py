"""Manifests: each thing that a reply says, said wrongly, in a frame that is whole otherwise."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from math import inf, nan

import pytest

from fedstrata.domain.reasons import Reason
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Evaluated, Failure, Reject
from fedstrata.wire.reply_frames import decode, encode
from fedstrata.wire.sizes import Encoding
from frames import CASES, ORIGIN, A, asked, frame, parts, reply, saying, sealed

EVERY_CASE = pytest.mark.parametrize(("kind", "encoding"), CASES)


def reason(data: bytes, expected: Assignment | None = None) -> Reason:
    found = decode(data, expected or asked())
    assert isinstance(found, Reject), f"{found} was let in"
    return found.reason


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"origin": asdict(replace(ORIGIN, run="run-2"))}, "STALE"),
        ({"round": 4}, "STALE"),
        ({"round": 6}, "STALE"),
        ({"origin": asdict(replace(ORIGIN, attempt=1))}, "STALE"),
        ({"origin": asdict(replace(ORIGIN, base="c" * 64))}, "STALE"),
        ({"client": "b"}, "AUTH"),
        ({"client": ""}, "AUTH"),
        ({"client": "../a"}, "AUTH"),
        ({"client": "a\0"}, "AUTH"),
        ({"client": "a" * 10_000}, "AUTH"),
        ({"client": "\ud800"}, "SCHEMA"),
        ({"phase": "probe"}, "SCHEMA"),
        ({"kind": "probed"}, "SCHEMA"),
        ({"kind": "os.system"}, "SCHEMA"),
        ({"mask": [0]}, "SCHEMA"),
        ({"mask": [0, 1]}, "SCHEMA"),
        ({"mask": [0, 2, 3]}, "SCHEMA"),
        ({"mask": [-1]}, "SCHEMA"),
        ({"mask": "02"}, "SCHEMA"),
        ({"mask": {"0": 2}}, "SCHEMA"),
        ({"mask": None}, "SCHEMA"),
        ({"encoding": "bf16"}, "SCHEMA"),
        ({"encoding": None}, "SCHEMA"),
        ({"more": None}, "SCHEMA"),
        ({"origin": asdict(ORIGIN) | {"more": 1}}, "SCHEMA"),
        ({"origin": {"run": "run-1"}}, "SCHEMA"),
        ({"mask": [0, 0, 2]}, "SCHEMA"),
        ({"num_examples": 8}, "SCHEMA"),
        ({"num_examples": 0}, "SCHEMA"),
        ({"num_examples": -7}, "SCHEMA"),
        ({"num_examples": 7.0}, "SCHEMA"),
        ({"num_examples": True}, "SCHEMA"),
        ({"num_examples": 2**63}, "SCHEMA"),
        ({"num_examples": "7"}, "SCHEMA"),
        ({"steps": 0}, "SCHEMA"),
        ({"steps": None}, "SCHEMA"),
        ({"steps": True}, "SCHEMA"),
        ({"steps": 2**63}, "SCHEMA"),
        ({"loss_mean": nan}, "NONFINITE"),
        ({"loss_first": inf}, "NONFINITE"),
        ({"loss_first": -inf}, "NONFINITE"),
        ({"loss_mean": "0"}, "SCHEMA"),
        ({"loss_mean": 10**400}, "SCHEMA"),
        ({"seconds": -1.0}, "SCHEMA"),
        ({"seconds": nan}, "SCHEMA"),
        ({"peak_bytes": -1}, "SCHEMA"),
        ({"peak_bytes": 0.5}, "SCHEMA"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_an_update_must_not_say(changes: dict[str, object], why: str) -> None:
    assert reason(saying(frame(), **changes)) == why


@EVERY_CASE
def test_every_key_is_needed(kind: str, encoding: Encoding) -> None:
    said, body = parts(frame(kind, encoding))
    values = json.loads(said)
    for key in values:
        short = {k: v for k, v in values.items() if k != key}
        assert reason(sealed(json.dumps(short).encode(), body), asked(kind, encoding)) == "SCHEMA"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"update"',
        b"\xff\xfe{\0}\0",
        b"[" * 30_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"9" * 60_000,
        b'{"round": ' + b"9" * 60_000 + b"}",
        b"{" + b",".join(b'"%d":0' % i for i in range(6000)) + b"}",
    ],
    ids=lambda said: str(said[:12]),
)
def test_a_manifest_that_is_none_is_refused(said: bytes) -> None:
    assert reason(sealed(said, parts(frame())[1])) == "SCHEMA"


def test_a_key_that_stands_twice_is_refused() -> None:
    said, body = parts(frame())
    assert reason(sealed(said[:-1] + b',"num_examples":7}', body)) == "SCHEMA"
    assert reason(sealed(said.replace(b'"run":', b'"attempt":2,"run":'), body)) == "SCHEMA"


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400"])
def test_numbers_that_are_not_finite_are_no_losses(token: bytes) -> None:
    said, body = parts(frame())
    assert reason(sealed(said.replace(b'"loss_mean":1.25', b'"loss_mean":' + token), body)) == "NONFINITE"


@pytest.mark.parametrize("depth", [980, 985, 990, 995, 1000])
def test_nesting_near_the_limit_of_recursion_is_refused_in_every_place(depth: int) -> None:
    said, body = parts(frame())
    nested = b"[" * depth + b"]" * depth
    for key, value in json.loads(said).items():
        old = json.dumps({key: value}, separators=(",", ":")).encode()[1:-1]
        assert old in said
        bad = said.replace(old, json.dumps(key).encode() + b":" + nested)
        assert reason(sealed(bad, body)) == "SCHEMA"


def test_an_evaluation_is_held_to_what_sums_can_be() -> None:
    data, expected = frame("evaluated"), asked("evaluated")
    assert reason(saying(data, correct=9), expected) == "SCHEMA"
    assert reason(saying(data, loss_sum=nan), expected) == "NONFINITE"
    assert isinstance(decode(saying(data, correct=8), expected), Evaluated)


@pytest.mark.parametrize("bad", [nan, inf, -inf, -1.0, 1e308, "1", None, [], True])
@pytest.mark.parametrize("column", [1, 2])
def test_every_single_norm_of_a_probe_is_looked_at(column: int, bad: object) -> None:
    data, expected = frame("probed"), asked("probed")
    stats = json.loads(parts(data)[0])["stats"]
    for layer in stats:
        for tensor in layer["tensors"]:
            sound, tensor[column] = tensor[column], bad
            assert reason(saying(data, stats=stats), expected) in ("SCHEMA", "NONFINITE", "NORM")
            tensor[column] = sound


def test_a_probe_of_other_layers_is_refused() -> None:
    data, expected = frame("probed"), asked("probed")
    stats = json.loads(parts(data)[0])["stats"]
    for wrong in (
        [],
        stats[:-1],
        [*stats, stats[0]],
        stats[::-1],
        [{**stats[0], "tensors": []}] * 3,
        [{**s, "num_examples": 0} for s in stats],
    ):
        assert reason(saying(data, stats=wrong), expected) == "SCHEMA"


@pytest.mark.parametrize("bad", [[], {}, "piggybacked", 1, True, {"loss": 1.0}])
def test_what_is_piggybacked_has_one_form_also_where_nothing_is_to(bad: object) -> None:
    assert reason(saying(frame("piggybacked"), piggybacked=bad), asked("piggybacked")) == "SCHEMA"
    assert reason(saying(frame(), piggybacked=bad)) == "SCHEMA"


def test_without_statistics_to_piggyback_a_manifest_says_that_there_are_none() -> None:
    assert b'"piggybacked":null' in parts(frame())[0]
    assert reason(saying(frame("piggybacked"), piggybacked=None), asked("piggybacked")) == "SCHEMA"


@pytest.mark.parametrize("key", sorted(asdict(reply("probed")).keys()))
def test_every_key_of_what_is_piggybacked_is_needed(key: str) -> None:
    data = frame("piggybacked")
    carried = json.loads(parts(data)[0])["piggybacked"]
    assert (
        reason(saying(data, piggybacked={k: v for k, v in carried.items() if k != key}), asked("piggybacked"))
        == "SCHEMA"
    )


def test_a_failure_speaks_in_one_printable_line() -> None:
    message = "\x1b[2J gone\nINFO round 5 saved \udcff" + "x" * 5000
    sent = Failure(A, 5, "train", Reason.CLIENT_ERROR, message, ORIGIN)
    got = decode(encode(sent), asked())
    assert isinstance(got, Failure)
    assert got.message[:30] == " [2J gone INFO round 5 saved  "
    assert len(got.message) == 2000


@pytest.mark.parametrize("claimed", list(Reason))
def test_a_client_claims_no_reason_that_is_the_server_s_to_give(claimed: Reason) -> None:
    got = decode(encode(Failure(A, 5, "train", claimed, "no", ORIGIN)), asked())
    assert isinstance(got, Failure)
    own = {Reason.NONFINITE, Reason.REFUSED, Reason.CLIENT_ERROR}
    assert got.reason == (claimed if claimed in own else "CLIENT_ERROR")
