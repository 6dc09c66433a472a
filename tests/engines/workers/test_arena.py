"""Weights in shared memory: only what changed is written, readers see it, and nobody can spoil it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest
import torch

from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.engines.workers.arena import Arena, Mount
from fedstrata.engines.workers.layout import Layout
from fedstrata.engines.workers.shared import SharedFile, read_at, shared_folder, write_at
from fedstrata.engines.workers.worker_spec import Recipe, WorkerSpec
from fedstrata.errors import TrainingError
from fedstrata.memory_alignment import ALIGNMENT
from fedstrata.wire.digests import manifest_of
from fedstrata.wire.messages import Weights
from toys import copy_of, same_bits, toy_model

CPU, META = torch.device("cpu"), torch.device("meta")
MODEL = toy_model()
WEIGHTS = MODEL.weights()
LAYOUT = Layout.of(MODEL.layers, WEIGHTS)
BLOCK, HEAD = 4 * (6 * 6 + 6), 4 * (3 * 6 + 3)  # bytes of a residual block and of the head
ALL = 3 * BLOCK + HEAD


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    """An arena of the toy model, with nothing in it."""
    made = Arena(LAYOUT, tmp_path)
    yield made
    made.close()


def moved(name: str, weights: Weights = WEIGHTS) -> Weights:
    """Return weights of which one tensor is another."""
    return {**weights, TensorName(name): weights[TensorName(name)] + 1.0}


def test_every_tensor_begins_at_a_cache_line_and_none_overlaps() -> None:
    places = sorted((place.offset, name) for name, place in LAYOUT.places.items())
    ends = [offset + 4 * WEIGHTS[name].numel() for offset, name in places]
    assert all(offset % ALIGNMENT == 0 for offset, _ in places)
    assert all(end <= offset for end, (offset, _) in zip(ends, places[1:], strict=False))
    assert ends[-1] <= LAYOUT.bytes


def test_frozen_blocks_have_no_place() -> None:
    assert {TensorName("stem.weight"), TensorName("stem.bias")}.isdisjoint(LAYOUT.places)


def test_a_reader_sees_what_was_published(arena: Arena) -> None:
    arena.publish(WEIGHTS)
    seen = Mount(LAYOUT, arena.descriptor, CPU).weights(arena.manifest)
    assert same_bits(seen, WEIGHTS)
    assert all(tensor.data_ptr() % ALIGNMENT == 0 for tensor in seen.values())


def test_a_reader_that_was_there_before_sees_what_is_published_later(arena: Arena) -> None:
    arena.publish(WEIGHTS)
    seen = Mount(LAYOUT, arena.descriptor, CPU).weights(arena.manifest)
    assert same_bits(seen, WEIGHTS)  # every page is touched
    after = moved("blocks.1.weight")
    arena.publish(after)
    assert same_bits(seen, after)


def test_a_reader_has_other_objects_for_blocks_that_changed_alone(arena: Arena) -> None:
    arena.publish(WEIGHTS)
    mount = Mount(LAYOUT, arena.descriptor, CPU)
    before = mount.weights(arena.manifest)
    arena.publish(moved("blocks.1.weight"))
    after = mount.weights(arena.manifest)
    assert {name for name in before if after[name] is not before[name]} == {"blocks.1.weight", "blocks.1.bias"}


def test_the_first_time_everything_is_written_and_then_only_blocks_that_changed(arena: Arena) -> None:
    written = []
    for weights in (WEIGHTS, WEIGHTS, copy_of(WEIGHTS), moved("blocks.1.weight"), moved("head.bias"), WEIGHTS):
        arena.publish(weights)
        written.append(arena.bytes_copied)
    assert written == [ALL, ALL, ALL, ALL + BLOCK, ALL + 2 * BLOCK + HEAD, ALL + 2 * BLOCK + 2 * HEAD]


def test_the_same_tensors_are_not_hashed_again(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    arena.publish(WEIGHTS)
    hashed: list[str] = []

    def counted(block: Layer, weights: Weights) -> str:
        hashed.append(block.name)
        return "x"

    monkeypatch.setattr("fedstrata.wire.digests.digest_of", counted)
    assert arena.lacks({**WEIGHTS}) == ()
    assert hashed == []
    arena.lacks(moved("blocks.2.bias"))
    assert hashed == ["blocks.2"]


def test_the_manifest_is_that_of_the_weights(arena: Arena) -> None:
    arena.publish(WEIGHTS)
    arena.publish(moved("head.weight"))
    assert arena.manifest == manifest_of(LAYOUT.blocks, moved("head.weight"))


def test_a_device_gets_copies_of_blocks_that_changed_alone(arena: Arena) -> None:
    arena.publish(WEIGHTS)
    mount = Mount(LAYOUT, arena.descriptor, META)
    before = mount.weights(arena.manifest)
    assert {tensor.device.type for tensor in before.values()} == {"meta"}
    arena.publish(moved("blocks.1.weight"))
    after = mount.weights(arena.manifest)
    assert {name for name in before if after[name] is not before[name]} == {"blocks.1.weight", "blocks.1.bias"}


def test_other_types_and_empty_tensors_have_their_place(tmp_path: Path) -> None:
    shapes: dict[str, tuple[int, ...]] = {"half": (3, 5), "none": (0, 4), "one": (), "long": (2,)}
    specs = tuple(TensorSpec(TensorName(name), shape) for name, shape in shapes.items())
    layers = LayerMap((Layer(LayerName("h"), Role.LAYER, specs),))
    weights = {
        TensorName("half"): torch.rand(3, 5).bfloat16(),
        TensorName("none"): torch.rand(0, 4),
        TensorName("one"): torch.tensor(2.5, dtype=torch.float64),
        TensorName("long"): torch.tensor([-1, 2**40]),
    }
    layout = Layout.of(layers, weights)
    arena = Arena(layout, tmp_path)
    arena.publish(weights)
    spec = WorkerSpec.from_bytes(WorkerSpec(layout, Recipe("module:function")).to_bytes())
    seen = Mount(spec.layout, arena.descriptor, CPU).weights(arena.manifest)
    arena.close()
    assert same_bits(seen, weights)
    assert {n: t.dtype for n, t in seen.items()} == {n: t.dtype for n, t in weights.items()}


def test_weights_of_other_shapes_or_names_are_refused(arena: Arena) -> None:
    with pytest.raises(TrainingError, match=r"head\.bias is torch\.float32 \(2,\), .* \(3,\)"):
        arena.publish({**WEIGHTS, TensorName("head.bias"): torch.zeros(2)})
    with pytest.raises(TrainingError, match=r"the weights lack 'blocks\.0\.weight'"):
        arena.publish({})


def test_writing_into_mounted_weights_ends_the_process_and_leaves_them_whole(arena: Arena) -> None:
    arena.publish(WEIGHTS)
    code = f"""
import torch
from fedstrata.engines.workers.arena import Mount
from fedstrata.engines.workers.worker_spec import WorkerSpec
spec = WorkerSpec.from_bytes({WorkerSpec(LAYOUT, Recipe("module:function")).to_bytes()!r})
next(iter(Mount(spec.layout, {arena.descriptor}, torch.device("cpu")).weights({dict(arena.manifest)}).values())).zero_()
"""
    done = subprocess.run([sys.executable, "-c", code], pass_fds=[arena.descriptor], capture_output=True, check=False)
    assert done.returncode == -11, done.stderr.decode()
    assert same_bits(Mount(LAYOUT, arena.descriptor, CPU).weights(arena.manifest), WEIGHTS)


def test_shared_files_have_no_name(tmp_path: Path) -> None:
    file = SharedFile(tmp_path, 10)
    write_at(file.descriptor, b"x" * 20, 5)
    assert list(tmp_path.iterdir()) == []
    assert file.bytes == 25
    assert read_at(file.descriptor, 100, 20) == b"x" * 5
    file.empty()
    assert (file.bytes, read_at(file.descriptor, 100)) == (0, b"")
    file.close()


def test_what_does_not_fit_in_memory_lies_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedstrata.engines.workers.shared._MEMORY", tmp_path)
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert shared_folder(1) == tmp_path
    assert shared_folder(2 * free + 1) != tmp_path


@pytest.mark.parametrize("value", [inf, -inf, 0.1 + 0.2, 2**70, None, [1, {"a": [None]}], "caf\u00e9"])
def test_what_a_handler_is_made_with_reaches_the_worker_as_it_is(value: object) -> None:
    spec = WorkerSpec(LAYOUT, Recipe("module:function", {"one": value, "two": {"three": [value]}}), "cuda:1")
    assert WorkerSpec.from_bytes(spec.to_bytes()) == spec
