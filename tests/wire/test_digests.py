"""Content hashes: everything that counts changes them, and nothing else."""

from __future__ import annotations

import gc
from dataclasses import replace
from weakref import ref

import pytest
import torch

from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, TensorSpec
from fedstrata.domain.stats import LayerStats
from fedstrata.wire import digests
from fedstrata.wire.digests import Digests, content_of, digest_of, manifest_of, raw
from fedstrata.wire.messages import Evaluated, Origin, Probed, Update, Weights
from fedstrata.wire.reply_frames import decode
from fedstrata.wire.sizes import Encoding
from frames import A, asked, block, deltas, frame, probed, update

HEAD = TensorName("head.w")
ONE = block("h", w=(2,))
W = TensorName("h.w")


def evaluated() -> Evaluated:
    return Evaluated(A, 5, 12.5, 3, 8)


def bits(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32).view(torch.float32)


def test_raw_bytes_are_those_of_the_elements_in_order() -> None:
    assert bytes(raw(torch.tensor([[1, 2], [3, 4]], dtype=torch.int8))) == b"\1\2\3\4"
    assert bytes(raw(torch.tensor([[1, 2], [3, 4]], dtype=torch.int8).T)) == b"\1\3\2\4"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.bool, torch.int64])
def test_raw_bytes_of_every_type_scalars_and_empty_tensors_too(dtype: torch.dtype) -> None:
    assert len(raw(torch.ones(3, dtype=dtype))) == 3 * dtype.itemsize
    assert len(raw(torch.ones((), dtype=dtype))) == dtype.itemsize
    assert len(raw(torch.ones((0, 3), dtype=dtype))) == 0


def test_raw_bytes_are_not_copied() -> None:
    tensor = torch.zeros(2)
    view = raw(tensor)
    tensor[0] = 1.0
    assert bytes(view) == b"\0\0\x80?\0\0\0\0"


def test_weights_that_need_gradients_have_a_hash() -> None:
    plain = torch.ones(2)
    assert digest_of(ONE, {W: torch.nn.Parameter(plain)}) == digest_of(ONE, {W: plain})


@pytest.mark.parametrize(
    "other",
    [
        torch.tensor([1.0, 3.0]),
        torch.tensor([2.0, 1.0]),
        torch.tensor([1.0, 2.0]).view(torch.int32),
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([1.0, 2.0, 0.0]),
    ],
    ids=["value", "order", "type", "shape", "length"],
)
def test_a_block_has_another_hash_when_anything_differs(other: torch.Tensor) -> None:
    assert digest_of(ONE, {W: other}) != digest_of(ONE, {W: torch.tensor([1.0, 2.0])})


def test_minus_zero_and_the_kinds_of_nan_differ() -> None:
    found = {digest_of(ONE, {W: bits(b, 0)}) for b in (0, -(2**31), 0x7FC00000, 0x7FC00001)}
    assert len(found) == 4


def test_the_hash_of_a_block_is_of_its_own_tensors_under_their_names() -> None:
    renamed = replace(ONE, tensors=(TensorSpec(TensorName("h.v"), (2,)),))
    values = torch.ones(2)
    assert digest_of(renamed, {TensorName("h.v"): values}) != digest_of(ONE, {W: values})
    assert digest_of(ONE, {W: values, TensorName("other"): torch.ones(9)}) == digest_of(ONE, {W: values})


def test_a_manifest_has_a_hash_per_block() -> None:
    weights = {W: torch.ones(2), TensorName("g.w"): torch.zeros(1)}
    found = manifest_of((ONE, block("g", w=(1,))), weights)
    assert list(found) == ["h", "g"]
    assert all(len(digest) == 64 for digest in found.values())


@pytest.mark.parametrize("kind", ["update", "probed"])
def test_times_memory_and_addresses_are_no_content(kind: str) -> None:
    sent: Update | Probed = update() if kind == "update" else probed()
    told = replace(sent, seconds=99.0, peak_bytes=1, client=ClientId("b"), round=9, origin=Origin("run-9"))
    assert content_of(told) == content_of(sent)


def test_the_order_of_the_deltas_is_no_content() -> None:
    assert content_of(replace(update(), deltas=dict(reversed(deltas().items())))) == content_of(update())


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": frozenset({0})},
        {"num_examples": 8},
        {"steps": 4},
        {"loss_first": 1.6},
        {"loss_mean": 1.6},
        {"deltas": deltas() | {HEAD: torch.zeros(2, 2)}},
        {"deltas": {n: d for n, d in deltas().items() if n != HEAD}},
    ],
    ids=str,
)
def test_everything_that_an_update_contributes_is_content(changes: dict[str, object]) -> None:
    assert content_of(replace(update(), **changes)) != content_of(update())  # type: ignore[arg-type]


def test_what_is_piggybacked_on_an_update_is_content_and_nothing_is_where_nothing_rides() -> None:
    louder = replace(probed(), loss=1.6)
    found = {content_of(replace(update(), piggybacked=piggybacked)) for piggybacked in (None, probed(), louder)}
    assert len(found) == 3
    timed = replace(probed(), seconds=99.0, peak_bytes=1)
    assert content_of(replace(update(), piggybacked=timed)) == content_of(replace(update(), piggybacked=probed()))


@pytest.mark.parametrize("changes", [{"loss_sum": 12.6}, {"correct": 4}, {"num_examples": 9}], ids=str)
def test_everything_that_an_evaluation_contributes_is_content(changes: dict[str, float]) -> None:
    assert content_of(replace(evaluated(), **changes)) != content_of(evaluated())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["weight_sq", "grad_sq", "half_dot", "snr_sum", "noise_sum", "elements"])
def test_every_statistic_is_content(name: str) -> None:
    first, *others = probed().stats
    odd = replace(first.tensors[0], **{name: 1000})
    sent = replace(probed(), stats=(LayerStats((odd, *first.tensors[1:]), 8), *others))
    assert content_of(sent) != content_of(probed())


def test_a_reply_that_travelled_has_the_content_of_the_one_that_did_not() -> None:
    for kind, sent in (
        ("update", update()),
        ("probed", probed()),
        ("piggybacked", replace(update(), piggybacked=probed())),
    ):
        got = decode(frame(kind, Encoding.FLOAT32), asked(kind))
        assert isinstance(got, Update | Probed)
        assert content_of(got) == content_of(sent)


TWO = block("h", w=(2,), b=(1,))


def pair(*, w: torch.Tensor | None = None) -> dict[TensorName, torch.Tensor]:
    return {W: torch.tensor([1.0, 2.0]) if w is None else w, TensorName("h.b"): torch.zeros(1)}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[LayerName]:
    """The blocks whose tensors were hashed, in order."""
    seen: list[LayerName] = []

    def counted(block: Layer, weights: Weights) -> str:
        seen.append(block.name)
        return digest_of(block, weights)

    monkeypatch.setattr(digests, "digest_of", counted)
    return seen


def test_a_block_whose_tensors_are_the_same_objects_is_hashed_once(hashed: list[LayerName]) -> None:
    known, weights = Digests(), pair()
    found = {known.of(TWO, weights) for _ in range(3)} | {known.of(TWO, dict(weights))}
    assert found == {digest_of(TWO, weights)}
    assert hashed == ["h"]


def test_a_block_of_which_one_tensor_is_another_object_is_hashed_again(hashed: list[LayerName]) -> None:
    known, weights = Digests(), pair()
    first = known.of(TWO, weights)
    assert known.of(TWO, {**weights, W: weights[W].clone()}) == first
    assert known.of(TWO, {**weights, W: torch.tensor([1.0, 3.0])}) != first
    assert len(hashed) == 3


def test_blocks_are_known_apart(hashed: list[LayerName]) -> None:
    known, weights = Digests(), {**pair(), TensorName("g.w"): torch.ones(2)}
    other = block("g", w=(2,))
    for _ in range(2):
        assert known.of(TWO, weights) == digest_of(TWO, weights)
        assert known.of(other, weights) == digest_of(other, weights)
    assert hashed == ["h", "g"]


def test_a_new_tensor_in_the_place_of_one_that_is_gone_is_not_taken_for_it() -> None:
    """The object's number may be the same again; so the tensor itself is compared, as long as it lives."""
    known = Digests()
    for value in range(50):
        weights = {W: torch.full((2,), float(value))}
        assert known.of(ONE, weights) == digest_of(ONE, weights)
        del weights


def test_hashes_keep_no_weights_alive() -> None:
    known, weights = Digests(), pair()
    known.of(TWO, weights)
    gone = ref(weights[W])
    weights.clear()
    gc.collect()
    assert gone() is None


def test_weights_that_lack_a_tensor_have_no_hash() -> None:
    with pytest.raises(KeyError):
        Digests().of(TWO, {W: torch.ones(2)})
