"""What is in a Flower message: read from whatever another machine sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.engines.flower.envelope import MOST_SAID, PROTOCOL, Envelope, enclose, opened, words

KEY = st.text(max_size=6).filter(lambda name: name not in ("protocol", "order"))
PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=6), inner), max_leaves=9)
SAID = st.dictionaries(KEY, JSON, max_size=5)
BLOBS = st.dictionaries(st.text(max_size=6), st.binary(max_size=40), max_size=5)


def array(data: bytes = b"xy") -> Array:
    return Array(dtype="uint8", shape=(len(data),), stype="fedstrata.bytes", data=data)


def text(said: bytes, blobs: Mapping[str, bytes] | None = None) -> RecordDict:
    """A message whose text is given, and its blobs."""
    content = RecordDict({"fedstrata": ConfigRecord({"json": said})})
    if blobs is not None:
        content["blobs"] = ArrayRecord({name: array(blob) for name, blob in blobs.items()})
    return content


def saying(**said: Any) -> bytes:  # noqa: ANN401  anything that another machine says
    return json.dumps({"protocol": PROTOCOL, "order": [], **said}).encode()


def check(content: RecordDict) -> None:
    """A message is opened, or is a ``ValueError`` of one sentence."""
    try:
        envelope = opened(content)
    except ValueError as error:
        sentence = str(error)
    else:
        sentence = json.dumps(envelope.said, ensure_ascii=False, allow_nan=False)[:200]
        assert all(isinstance(blob, bytes) for blob in envelope.blobs.values())
    assert len(sentence) <= 200
    sentence.encode()


@given(SAID, BLOBS)
def test_what_was_enclosed_is_what_is_opened_blobs_in_their_order(
    said: dict[str, Any], blobs: dict[str, bytes]
) -> None:
    got = opened(enclose(Envelope(said, blobs)))
    assert got.said == said
    assert list(got.blobs.items()) == list(blobs.items())


def test_the_order_of_the_blobs_does_not_depend_on_flowers() -> None:
    content = enclose(Envelope({}, {"/head": b"1", "b": b"2", "a": b""}))
    content["blobs"] = ArrayRecord(dict(reversed(list(content.array_records["blobs"].items()))))
    assert list(opened(content).blobs) == ["/head", "b", "a"]


def test_a_message_without_blobs_has_no_record_of_them() -> None:
    assert list(enclose(Envelope({"kind": "join"}, {}))) == ["fedstrata"]


def test_the_bytes_of_an_envelope_are_those_of_its_blobs() -> None:
    assert Envelope({"a": "b"}, {"x": b"123", "y": b"", "z": b"4"}).bytes == 4


def test_blobs_are_not_copied() -> None:
    blob = bytes(10)
    assert opened(enclose(Envelope({}, {"a": blob}))).blobs["a"] is blob


def test_numbers_that_are_not_finite_are_not_sent() -> None:
    with pytest.raises(ValueError):
        enclose(Envelope({"seconds": float("nan")}, {}))


@given(st.binary(max_size=200), st.none() | BLOBS)
def test_any_bytes_are_a_message_or_a_value_error(data: bytes, blobs: dict[str, bytes] | None) -> None:
    check(text(data, blobs))


@given(JSON, st.none() | BLOBS)
def test_any_json_is_a_message_or_a_value_error(said: object, blobs: dict[str, bytes] | None) -> None:
    check(text(json.dumps(said).encode(), blobs))


@given(JSON, JSON, SAID, st.none() | BLOBS)
def test_anything_that_looks_like_a_message_is_one_or_a_value_error(
    version: object, order: object, said: dict[str, Any], blobs: dict[str, bytes] | None
) -> None:
    check(text(json.dumps({**said, "protocol": version, "order": order}).encode(), blobs))
    check(text(json.dumps({**said, "protocol": PROTOCOL, "order": order}).encode(), blobs))


NAME = st.sampled_from(["fedstrata", "blobs", "other"])
RECORD = (
    st.builds(
        ConfigRecord, st.dictionaries(st.sampled_from(["json", "x"]), st.binary() | st.text() | st.integers(0, 9))
    )
    | st.builds(MetricRecord, st.dictionaries(st.sampled_from(["json", "x"]), st.integers(0, 9)))
    | st.builds(ArrayRecord, st.dictionaries(st.sampled_from(["json", "x"]), st.builds(array, st.binary())))
)


@given(st.dictionaries(NAME, RECORD))
def test_any_records_of_flowers_are_a_message_or_a_value_error(records: dict[str, Any]) -> None:
    check(RecordDict(records))


@pytest.mark.parametrize("version", [0, 2, 1.0, True, "1", None, [1], 10**99, {"a": {}}], ids=str)
def test_another_version_of_the_protocol_is_refused(version: object) -> None:
    with pytest.raises(ValueError, match=r"the other side speaks version .{1,10} of the protocol, not 1; update it"):
        opened(text(saying(protocol=version)))


@pytest.mark.parametrize(
    ("order", "blobs"),
    [
        (["a"], None),
        ([], {"a": b"x"}),
        (["a"], {"a": b"x", "b": b"y"}),
        (["a", "b"], {"a": b"x"}),
        (["a", "a"], {"a": b"x"}),
        (["b"], {"a": b"x"}),
        ({"a": 1}, {"a": b"x"}),
        ("a", {"a": b"x"}),
        (None, None),
        ([["a"]], {"a": b"x"}),
        ([{}], None),
    ],
)
def test_a_message_whose_blobs_are_not_as_said_is_refused(order: object, blobs: dict[str, bytes] | None) -> None:
    with pytest.raises(ValueError, match="other blobs than it says"):
        opened(text(saying(order=order), blobs))


def test_a_text_that_is_far_too_long_is_refused_before_it_is_read() -> None:
    long = saying(pad="x" * MOST_SAID)
    with pytest.raises(ValueError, match="too long or no text"):
        opened(text(long))
    assert opened(text(saying(pad="x" * 2**20))).said["pad"] == "x" * 2**20


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b'{"protocol":1,"order":[],"seconds":NaN}', "not finite"),
        (b'{"protocol":1,"order":[],"seconds":-Infinity}', "not finite"),
        (b'{"protocol":1,"order":[],"seconds":1e999}', "not finite"),
        (b'{"protocol":1,"order":[],"kind":"frame","kind":"join"}', "a key stands twice"),
        (b'{"protocol":1,"order":[],"a":{"b":1,"b":1}}', "a key stands twice"),
        (b'{"protocol":1,"order":[],"nonce":"\\ud800"}', "half a surrogate pair"),
        (b'{"protocol":1,"order":[],"\\uDFFF":0}', "half a surrogate pair"),
        (b'{"protocol":1,"order":[],"a":"\xff"}', "codec can't decode"),
        (b'{"protocol":1,"order":[],"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "inside each other"),
        (b'{"protocol":1,"order":[],"a":' + b'{"a":' * 100_000 + b"0" + b"}" * 100_001, "inside each other"),
        (b'{"protocol":1,"order":[],"a":' + b"9" * 5000 + b"}", "a number of 5,000 digits"),
        (b'{"order":[]}', "KeyError"),
        (b"[1,2]", "TypeError"),
        (b"", "it is not JSON: Expecting value"),
    ],
)
def test_what_json_allows_and_no_message_of_ours_says_is_refused(said: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"not one of fedstrata's: .*{why}"):
        opened(text(said))


def test_whole_characters_beyond_the_first_plane_are_text_like_any_other() -> None:
    assert opened(text(saying(a="\N{GRINNING FACE}"))).said == {"a": "\N{GRINNING FACE}"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a\nb\x1b[2J\r", "a b [2J "), ("\ud800é", " é"), (None, ""), (["a"], ""), ("x" * 900, "x" * 500)],
)
def test_what_another_side_says_is_shown_as_one_line(value: object, shown: str) -> None:
    assert words(value) == shown
