"""Who holds which layers, and what has to be sent."""

from __future__ import annotations

import gc
from weakref import ref

import pytest
import torch
from safetensors.torch import load as load_blob

from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.versions import Manifest
from fedstrata.engines.flower import cache_index as cache_index
from fedstrata.engines.flower.cache_index import CacheIndex
from fedstrata.wire.digests import digest_of, manifest_of
from fedstrata.wire.messages import Weights
from toys import copy_of, named, same_bits, toy_model

A, B = named("a", "b")
LAYERS = toy_model().layers
BLOCKS = ("blocks.0", "blocks.1", "blocks.2", "head")
FIRST, LAST = LayerName("blocks.0"), LayerName("blocks.2")


def weights(*, moved: str = "", by: float = 1.0) -> dict[TensorName, torch.Tensor]:
    """The toy model's weights, those of one block moved."""
    return {n: t + by if moved and n.startswith(moved) else t for n, t in copy_of(toy_model().weights()).items()}


def fresh(**held: frozenset[str]) -> CacheIndex:
    return CacheIndex(LAYERS, dict(zip(named(*held), held.values(), strict=True)))


def sent(held: CacheIndex, at: Weights, *names: str) -> dict[str, bytes]:
    return dict(held.blobs([LayerName(n) for n in names], held.manifest(at), at))


def numbered(*numbers: int) -> Manifest:
    return {LayerName(f"h.{i}"): f"digest {i}" for i in numbers}


def test_a_manifest_names_every_block_that_may_change() -> None:
    at = weights()
    assert fresh().manifest(at) == manifest_of(LAYERS.trainable, at)
    assert tuple(fresh().manifest(at)) == BLOCKS


def test_a_client_that_declared_nothing_or_is_unknown_lacks_everything() -> None:
    held, at = fresh(a=frozenset()), weights()
    assert held.lacked(A, held.manifest(at)) == held.lacked(B, held.manifest(at)) == BLOCKS


def test_a_client_lacks_what_it_did_not_declare() -> None:
    at = weights()
    base = frozenset(digest_of(block, at) for block in LAYERS.layers)
    held = fresh(a=base)
    assert held.lacked(A, held.manifest(at)) == ("head",)


def test_a_client_that_has_worked_with_weights_lacks_what_has_changed_since() -> None:
    held, at, moved = fresh(), weights(), weights(moved="blocks.1")
    held.got(A, held.manifest(at))
    assert held.lacked(A, held.manifest(at)) == ()
    assert held.lacked(A, held.manifest(moved)) == ("blocks.1",)
    assert held.lacked(B, held.manifest(at)) == BLOCKS


def test_what_a_client_turned_out_to_lack_is_sent_again_and_nothing_else() -> None:
    held = fresh()
    manifest = held.manifest(weights())
    held.got(A, manifest)
    held.lost(A, [FIRST], manifest)
    assert held.lacked(A, manifest) == (FIRST,)
    held.lost(A, [FIRST], manifest)
    held.lost(B, [FIRST, LAST], manifest)
    assert held.lacked(A, manifest) == (FIRST,)


def test_the_oldest_contents_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_index, "MOST_KNOWN", 4)
    held = fresh()
    held.got(A, numbered(0, 1))
    held.got(A, numbered(2, 3))
    held.got(A, numbered(0))  # used again, so it is not the oldest any more
    held.got(A, numbered(4))
    assert held.lacked(A, numbered(0, 1, 2, 3, 4)) == ("h.1",)
    assert held.lacked(B, numbered(0)) == ("h.0",)


def test_what_a_client_declares_without_end_is_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_index, "MOST_KNOWN", 2)
    held = fresh(a=frozenset(f"digest {i}" for i in range(100)))
    assert held.lacked(A, numbered(98, 99)) == ()
    held.got(A, numbered(200, 201))
    assert held.lacked(A, numbered(98, 99)) == ("h.98", "h.99")


def test_a_blob_holds_the_tensors_of_its_block_bit_for_bit() -> None:
    at = weights()
    (blob,) = sent(fresh(), at, LAST).values()
    assert same_bits(
        {TensorName(n): t for n, t in load_blob(blob).items()}, {n: at[n] for n in LAYERS.layers[2].tensor_names}
    )


def test_tensors_that_lie_crosswise_in_memory_are_sent_as_they_read() -> None:
    at = weights()
    name = LAYERS.layers[0].tensor_names[0]
    crosswise = {**at, name: at[name].T.contiguous().T}
    assert not crosswise[name].is_contiguous()
    assert sent(fresh(), crosswise, FIRST) == sent(fresh(), at, FIRST)


def test_blobs_are_made_once_and_shared_by_all_clients() -> None:
    held, at = fresh(), weights()
    first, again = sent(held, at, FIRST, LAST), sent(held, at, LAST)
    assert first[LAST] is again[LAST]


def test_blocks_that_did_not_change_keep_their_blob_when_others_do() -> None:
    held, moved = fresh(), weights(moved="blocks.0")
    first, then = sent(held, weights(), FIRST, LAST), sent(held, moved, FIRST, LAST)
    assert then[LAST] is first[LAST]
    assert then[FIRST] != first[FIRST]


def test_blobs_of_old_weights_are_let_go() -> None:
    class Blob:
        """Stands for bytes, whose end cannot be seen."""

    held = fresh()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_index, "save_blob", lambda tensors: Blob())
        old = ref(sent(held, weights(), FIRST)[FIRST])
        assert old() is not None
        sent(held, weights(moved="blocks.0"))
    gc.collect()
    assert old() is None


def test_weights_are_not_kept() -> None:
    held, at = fresh(), weights()
    sent(held, at, *BLOCKS)
    held.got(A, held.manifest(at))
    gone = ref(at[LAYERS.layers[0].tensor_names[0]])
    del at
    gc.collect()
    assert gone() is None
