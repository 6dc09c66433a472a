"""Frames whose tensors are not the ones that were asked for: every single mutation, and refusal as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf, nan

import pytest
import torch
from safetensors.torch import save as save_blob
from torch import Tensor

from fedstrata.domain.reasons import Reason
from fedstrata.wire.encodings import SCALE, encode_block
from fedstrata.wire.messages import Reject, Update
from fedstrata.wire.reply_frames import decode, encode
from fedstrata.wire.sizes import Encoding
from frames import LAYERS, MASK, asked, deltas, frame, parts, sealed, update

EVERY = pytest.mark.parametrize("encoding", Encoding)
BLOCKS = LAYERS.blocks(MASK)
Blob = dict[str, Tensor]


def blobs(encoding: Encoding) -> list[Blob]:
    return [encode_block(block.tensors, deltas(), encoding) for block in BLOCKS]


def carrying(sent: list[Blob], encoding: Encoding) -> bytes:
    """Return a sound frame around these tensors."""
    return sealed(parts(frame("update", encoding))[0], b"".join(map(save_blob, sent)))


def single_mutations(blob: Blob) -> Iterator[tuple[str, Blob]]:
    """Yield a blob with one thing changed, and what it was."""
    yield "empty", {}
    yield "extra", {**blob, "extra": torch.zeros(1)}
    yield "extra and empty", {**blob, "extra": torch.zeros(0)}
    for name, tensor in blob.items():
        others = {n: t for n, t in blob.items() if n != name}
        yield f"missing {name}", others
        yield f"{name} renamed, shorter", {**others, name[:-1]: tensor}
        yield f"{name} renamed, as long", {**others, name[:-1] + "~": tensor}
        yield f"{name} renamed, longer", {**others, f"../{name}": tensor}
        for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int8, torch.bool):
            if dtype != tensor.dtype:
                yield f"{name} as {dtype}", {**others, name: tensor.to(dtype)}
        yield f"{name} flat", {**others, name: tensor.reshape(1, -1)}
        yield f"{name} with a dimension more", {**others, name: tensor.unsqueeze(0)}
        yield f"{name} longer", {**others, name: torch.zeros((2, *tensor.shape), dtype=tensor.dtype)}
        if tensor.dim() > 1 and tensor.shape[0] != tensor.shape[1]:
            yield f"{name} turned", {**others, name: tensor.transpose(0, 1).contiguous()}
        if tensor.numel() > 1:
            yield f"{name} shorter", {**others, name: tensor.flatten()[1:].clone()}


@EVERY
@pytest.mark.parametrize("which", range(len(BLOCKS)))
def test_every_single_mutation_of_a_block_is_refused(which: int, encoding: Encoding) -> None:
    sound = blobs(encoding)
    count = 0
    for what, blob in single_mutations(sound[which]):
        found = decode(carrying([*sound[:which], blob, *sound[which + 1 :]], encoding), asked("update", encoding))
        assert isinstance(found, Reject), f"{what} was let in"
        assert found.reason in (Reason.SCHEMA, Reason.SIZE), what
        count += 1
    assert count >= 14


@EVERY
def test_blocks_in_another_number_or_order_are_refused(encoding: Encoding) -> None:
    sound, expected = blobs(encoding), asked("update", encoding)
    for wrong in ([], sound[:-1], sound[1:], [*sound, sound[-1]], sound[::-1], [sound[1], sound[0], sound[2]]):
        found = decode(carrying(wrong, encoding), expected)
        assert isinstance(found, Reject)
        assert found.reason in (Reason.SCHEMA, Reason.SIZE)


def test_tensors_of_the_right_bytes_under_wrong_names_are_a_schema_matter() -> None:
    sound = blobs(Encoding.FLOAT32)
    sound[-1] = {"head.v": sound[-1]["head.w"]}
    found = decode(carrying(sound, Encoding.FLOAT32), asked())
    assert isinstance(found, Reject)
    assert found.reason == "SCHEMA"
    assert "head" in found.message


def test_a_safetensors_header_with_a_note_is_refused() -> None:
    """Metadata is legal in safetensors, but no one asked for it."""
    body = b"".join(map(save_blob, blobs(Encoding.FLOAT32)[:-1]))
    noted = save_blob(blobs(Encoding.FLOAT32)[-1], metadata={"note": "hello"})
    found = decode(sealed(parts(frame())[0], body + noted), asked())
    assert isinstance(found, Reject)
    assert found.reason == "SIZE"


def places(sent: list[Blob]) -> Iterator[tuple[int, str, int]]:
    for i, blob in enumerate(sent):
        for name, tensor in blob.items():
            for at in range(tensor.numel()):
                yield i, name, at


@EVERY
@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_a_single_value_that_is_not_finite_is_refused_wherever_it_stands(encoding: Encoding, bad: float) -> None:
    """In ``int8`` and ``fp16`` a scale may be the one, except that of an empty tensor; integers always are finite."""
    for i, name, at in places(blobs(encoding)):
        sent = blobs(encoding)
        if sent[i][name].dtype == torch.int8 or not sent[i][name.removesuffix(SCALE)].numel():
            continue
        sent[i][name].view(-1)[at] = bad
        found = decode(carrying(sent, encoding), asked("update", encoding))
        assert isinstance(found, Reject)
        assert found.reason == "NONFINITE"


@EVERY
def test_a_huge_value_is_refused_by_its_norm_wherever_it_stands(encoding: Encoding) -> None:
    """The largest update is 1e6 here; each tensor is 1e38 in one place."""
    for name, delta in deltas().items():
        if not delta.numel():
            continue
        huge = delta.clone()
        huge.view(-1)[0] = 1e38
        sent = replace(update(), deltas={**deltas(), name: huge})
        found = decode(encode(sent, BLOCKS, encoding), asked("update", encoding))
        assert isinstance(found, Reject)
        assert found.reason == "NORM"


def test_the_norm_is_of_all_tensors_together() -> None:
    """19 values of 3: the norm is the square root of 19 * 9, 13.077."""
    threes = {n: torch.full_like(d, 3.0) for n, d in deltas().items()}
    assert sum(t.numel() for t in threes.values()) == 19
    data = encode(replace(update(), deltas=threes), BLOCKS)
    assert isinstance(decode(data, replace(asked(), max_norm=13.08)), Update)
    found = decode(data, replace(asked(), max_norm=13.07))
    assert isinstance(found, Reject)
    assert found.reason == "NORM"


@EVERY
def test_the_smallest_numbers_are_welcome(encoding: Encoding) -> None:
    tiny = {n: torch.full_like(d, 2.0**-149) for n, d in deltas().items()}
    assert isinstance(
        decode(encode(replace(update(), deltas=tiny), BLOCKS, encoding), asked("update", encoding)), Update
    )


@EVERY
def test_an_update_of_nothing_but_zeros_is_welcome(encoding: Encoding) -> None:
    zeros = {n: torch.zeros_like(d) for n, d in deltas().items()}
    got = decode(encode(replace(update(), deltas=zeros), BLOCKS, encoding), asked("update", encoding))
    assert isinstance(got, Update)
    assert all(not delta.any() for delta in got.deltas.values())


@EVERY
def test_a_fault_in_the_last_tensor_refuses_all_of_them(encoding: Encoding) -> None:
    """An accumulator that had taken the first tensors would be left with a part of a refused update."""
    sent = blobs(encoding)
    last = sent[-1]["head.w" + (SCALE if encoding in (Encoding.INT8, Encoding.FP16) else "")]
    last.view(-1)[-1] = nan
    found = decode(carrying(sent, encoding), asked("update", encoding))
    assert found == Reject(Reason.NONFINITE, "head.w holds values that are not finite")


@pytest.mark.parametrize("encoding", [Encoding.FP16, Encoding.INT8])
@pytest.mark.parametrize("scale", [-1.0, 0.0, 2.0**-149, 3e38])
def test_a_scale_may_be_any_number_as_long_as_the_update_is_sound(encoding: Encoding, scale: float) -> None:
    sent = blobs(encoding)
    sent[-1]["head.w" + SCALE].fill_(scale)
    found = decode(carrying(sent, encoding), asked("update", encoding))
    assert isinstance(found, Reject if scale == 3e38 else Update)


@EVERY
def test_tensors_come_in_the_order_of_the_assignment(encoding: Encoding) -> None:
    got = decode(frame("update", encoding), asked("update", encoding))
    assert isinstance(got, Update)
    assert list(got.deltas) == [s.name for b in BLOCKS for s in b.tensors]
