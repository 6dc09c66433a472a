"""Frames: what was sent comes back to the bit, and nothing else comes back at all."""

from __future__ import annotations

import json
import struct
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load as load_blob

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Role
from fedstrata.domain.reasons import Reason
from fedstrata.domain.stats import LayerStats, TensorStats
from fedstrata.wire.admission import admit
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.encodings import as_received, encode_block
from fedstrata.wire.messages import Failure, Probed, Reject, Update
from fedstrata.wire.reply_frames import VERSION, decode, decode_update, encode, frame_limit
from fedstrata.wire.sizes import Encoding, update_bytes
from frames import (
    CASES,
    LAYERS,
    MASK,
    ORIGIN,
    A,
    asked,
    block,
    deltas,
    edited,
    frame,
    parts,
    probed,
    reply,
    saying,
    sealed,
    update,
)
from toys import same_bits

EVERY = pytest.mark.parametrize("encoding", Encoding)
EVERY_CASE = pytest.mark.parametrize(("kind", "encoding"), CASES)


def reason(data: bytes, expected: Assignment | None = None) -> Reason:
    found = decode(data, expected or asked())
    assert isinstance(found, Reject), f"{found} was let in"
    return found.reason


@EVERY_CASE
def test_what_is_sent_comes_back(kind: str, encoding: Encoding) -> None:
    sent, got = reply(kind), decode(frame(kind, encoding), asked(kind, encoding))
    assert type(got) is type(sent)
    if isinstance(sent, Update) and isinstance(got, Update):
        assert replace(got, deltas={}) == replace(sent, deltas={})
        assert same_bits(got.deltas, as_received(sent.deltas, encoding))
    else:
        assert got == sent


def test_float32_comes_back_to_the_bit() -> None:
    got = decode_update(frame(), asked())
    assert isinstance(got, Update)
    assert same_bits(got.deltas, update().deltas)


@EVERY
def test_what_was_received_may_be_changed_in_place(encoding: Encoding) -> None:
    data = frame("update", encoding)
    got = decode_update(data, asked("update", encoding))
    assert isinstance(got, Update)
    for delta in got.deltas.values():
        delta.zero_()
    assert data == frame("update", encoding)


@EVERY
def test_a_body_is_one_safetensors_blob_per_block_in_order(encoding: Encoding) -> None:
    body = parts(frame("update", encoding))[1]
    for layer in LAYERS.blocks(MASK):
        size = 8 + int.from_bytes(body[:8], "little")
        header = json.loads(body[8:size])
        end = size + max(tensor["data_offsets"][1] for tensor in header.values())
        wanted = encode_block(layer.tensors, update().deltas, encoding)
        got = load_blob(body[:end])
        assert got.keys() == wanted.keys()
        assert all(torch.equal(got[name], wanted[name]) for name in wanted)
        body = body[end:]
    assert body == b""


def test_a_failure_may_answer_any_phase() -> None:
    for kind, phase in (("update", "train"), ("probed", "probe"), ("evaluated", "evaluate")):
        sent = Failure(A, 5, phase, Reason.CLIENT_ERROR, "no disk", ORIGIN)  # type: ignore[arg-type]
        assert decode(encode(sent), asked(kind)) == sent


def test_a_failure_is_no_update() -> None:
    found = decode_update(frame("failure"), asked())
    assert isinstance(found, Reject)
    assert found.reason == "SCHEMA"


@EVERY
def test_an_update_without_layers_is_an_update_of_always(encoding: Encoding) -> None:
    blocks = LAYERS.blocks(frozenset())
    expected = replace(asked("update", encoding), mask=frozenset(), blocks=blocks)
    sent = replace(update(), mask=frozenset(), deltas=deltas(expected))
    got = decode_update(encode(sent, blocks, encoding), expected)
    assert isinstance(got, Update)
    assert same_bits(got.deltas, as_received(sent.deltas, encoding))


def test_blocks_without_tensors_travel() -> None:
    blocks = (block("empty"), *LAYERS.always)
    expected = replace(asked(), mask=frozenset({0}), blocks=blocks)
    sent = replace(update(), mask=frozenset({0}), deltas=deltas(expected))
    assert isinstance(decode_update(encode(sent, blocks), expected), Update)


@EVERY
def test_framing_of_a_large_block_is_under_one_percent_and_64_kib(encoding: Encoding) -> None:
    """A block of a ViT-S: 384 wide, 1.77 million parameters in 12 tensors."""
    d = 384
    matrices: dict[str, tuple[int, ...]] = dict.fromkeys(("q", "k", "v", "o"), (d, d))
    matrices |= {"up": (4 * d, d), "down": (d, 4 * d)}
    shapes = matrices | {f"b.{name}": shape[:1] for name, shape in matrices.items()}
    blocks = (block("vit.encoder.layer.11", Role.LAYER, **shapes),)
    expected = Assignment(A, 5, "train", ORIGIN, frozenset({0}), blocks, encoding)
    data = encode(replace(update(), mask=frozenset({0}), deltas=deltas(expected)), blocks, encoding)
    extra = len(data) - update_bytes(blocks, encoding)
    assert 0 < extra <= 64 * 1024
    assert extra < 0.01 * (len(data) - extra)
    assert len(data) <= frame_limit(expected)


def test_statistics_of_many_layers_may_piggyback_on_an_update_of_few() -> None:
    """They alone are longer than what a manifest may be whatever it tells of."""
    layers = tuple(block(f"h.{i}", w=(1,)) for i in range(2000))
    stats = tuple(LayerStats((TensorStats(1, 1 / 3, 1 / 7, 1 / 9, 2 / 3, 3 / 7),), 8) for _ in layers)
    sent = replace(update(), piggybacked=replace(probed(), stats=stats))
    expected = replace(asked("piggybacked"), piggybacked=replace(asked("probed"), blocks=layers, sketch=0))
    data = encode(sent, expected.blocks)
    assert len(parts(data)[0]) > 64 * 1024
    assert len(data) <= frame_limit(expected)
    got = decode_update(data, expected)
    assert isinstance(got, Update)
    assert got.piggybacked == sent.piggybacked


@EVERY_CASE
def test_a_frame_is_within_its_limit(kind: str, encoding: Encoding) -> None:
    assert len(frame(kind, encoding)) <= frame_limit(asked(kind, encoding))


@EVERY_CASE
def test_a_frame_cut_anywhere_is_refused(kind: str, encoding: Encoding) -> None:
    data, expected = frame(kind, encoding), asked(kind, encoding)
    assert {reason(data[:end], expected) for end in range(len(data))} == {Reason.SIZE}


@EVERY_CASE
def test_every_flipped_bit_is_noticed_and_may_be_damage(kind: str, encoding: Encoding) -> None:
    data, expected = frame(kind, encoding), asked(kind, encoding)
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        found = decode(bytes(flipped), expected)
        assert isinstance(found, Reject)
        assert found.damaged
        assert found.reason in (Reason.SIZE, Reason.SCHEMA)


@pytest.mark.parametrize("bytes_claimed", [0, 1, 64 * 1024, 2**31, 2**32 - 1])
def test_a_false_manifest_length_is_refused(bytes_claimed: int) -> None:
    data = bytearray(frame())
    struct.pack_into("<I", data, 8, bytes_claimed)
    assert reason(bytes(data)) == "SIZE"


@pytest.mark.parametrize("bytes_claimed", [0, 1, 2**32 - 1, 2**40, 2**63, 2**64 - 1])
def test_a_false_body_length_is_refused_without_memory_for_it(bytes_claimed: int) -> None:
    data, expected = bytearray(frame()), asked()
    struct.pack_into("<Q", data, 12, bytes_claimed)
    frame_limit(expected)
    tracemalloc.start()
    assert reason(bytes(data), expected) == "SIZE"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024


def test_a_manifest_has_64_kib_and_256_bytes_per_tensor() -> None:
    """The update has six tensors; JSON may begin with blanks."""
    said, body = parts(frame())
    most = 64 * 1024 + 256 * 6
    assert isinstance(decode(sealed(said.rjust(most), body), asked()), Update)
    assert reason(sealed(said.rjust(most + 1), body)) == "SIZE"


def test_a_manifest_has_six_bytes_more_per_number_of_a_sketch() -> None:
    """Three layers of 16 numbers, and six tensors."""
    said, _ = parts(frame("probed"))
    most = 64 * 1024 + 256 * 6 + 6 * 3 * 16
    assert isinstance(decode(sealed(said.rjust(most)), asked("probed")), Probed)
    assert reason(sealed(said.rjust(most + 1)), asked("probed")) == "SIZE"


def told(text: object) -> object:
    """Return what becomes of a probe whose sketches have one number, if every layer says this of it."""

    def edit(said: dict[str, Any]) -> dict[str, Any]:
        return said | {"stats": [{**layer, "sketch": text} for layer in said["stats"]]}

    return decode(edited(frame("probed"), edit), replace(asked("probed"), sketch=1))


def test_a_sketch_is_base64_of_float32() -> None:
    found = told("AAAAPw==")
    assert isinstance(found, Probed)
    assert [stats.sketch for stats in found.stats] == [(0.5,)] * 3


@pytest.mark.parametrize("text", ["", "AAAA", "AAAAPw", "AAAAPw==\n", "AAAAPx==", "!AAAPw==", None, 0, [0.5]])
def test_a_sketch_has_one_form(text: object) -> None:
    """Another text of the same bytes, of no whole number, of no base64, or no text at all."""
    found = told(text)
    assert isinstance(found, Reject)
    assert found.reason == "SCHEMA"


def test_a_layer_says_nothing_besides_its_sketch() -> None:
    def edit(said: dict[str, Any]) -> dict[str, Any]:
        said["stats"][0]["more"] = said["stats"][0]["sketch"]
        return said

    assert reason(edited(frame("probed"), edit), asked("probed")) == "SCHEMA"


def test_bytes_after_the_frame_are_refused() -> None:
    assert reason(frame() + b"\0") == "SIZE"


def test_another_version_says_which_side_to_update() -> None:
    data = bytearray(frame())
    struct.pack_into("<H", data, 4, VERSION + 1)
    found = decode(bytes(data), asked())
    assert isinstance(found, Reject)
    assert f"version {VERSION + 1} is not {VERSION}; update the older side" in found.message


def test_a_sound_frame_with_tensors_in_an_evaluation_is_refused() -> None:
    said, _ = parts(frame("evaluated"))
    assert reason(sealed(said, parts(frame())[1]), asked("evaluated")) == "SCHEMA"


def test_an_update_whose_tensors_are_missing_is_refused() -> None:
    assert reason(sealed(parts(frame())[0])) == "SIZE"


def test_an_answer_to_an_earlier_round_is_stale_and_not_damaged_whatever_its_size() -> None:
    """A late update that turns up in the evaluation, or in training with another mask."""
    late = saying(frame(), round=4)
    for expected in (asked("evaluated"), replace(asked(), mask=frozenset(), blocks=LAYERS.always)):
        found = decode(late, expected)
        assert isinstance(found, Reject)
        assert (found.reason, found.damaged) == (Reason.STALE, False)


def test_the_message_of_a_refusal_is_short_whatever_was_sent() -> None:
    for changes in ({"client": "x" * 60_000}, {"encoding": "y" * 60_000}, {"kind": "z" * 60_000}):
        found = decode(saying(frame(), **changes), asked())
        assert isinstance(found, Reject)
        assert len(found.message) < 300


def test_a_refused_reply_refuses_no_other() -> None:
    reason(saying(frame(), round=4))
    assert isinstance(decode(frame(), asked()), Update)


def test_what_a_frame_admits_is_what_admission_admits() -> None:
    got = decode(frame(), asked())
    assert isinstance(got, Update)
    assert admit(got, asked()) is None


def test_an_assignment_to_someone_else_is_never_answered() -> None:
    assert reason(frame(), replace(asked(), client=ClientId("b"))) == "AUTH"
