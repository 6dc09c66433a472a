"""Damage to files: bits, lengths, swaps; and what a damaged checkpoint is taken for."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from faults.variants import Variant, outcome, prepared
from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.versions import Versions
from fedstrata.errors import CheckpointError
from fedstrata.runs.checkpoint import Place, load, save
from fedstrata.runs.journal import FileJournal
from fedstrata.runs.journal_records import Record
from fedstrata.runs.state import Best, ServerState
from fedstrata.server.run import RunResult

Taken = Literal["refused", "the same"]
W = TensorName("w")
PLACE = Place(77, "ef", 33, 5, {"torch": "2.8", "configuration": "0f3c"})


def small_state(round: int = 3) -> ServerState:
    """Return a state that fits into a kilobyte and has everything that a state can have."""
    return ServerState(
        round=round,
        weights={W: torch.tensor([0.1, -0.0, 3e-39, float(round)])},
        selector={"masks": {"a": [0, 2]}, "since": 1, "rho": 1e-05, "name": "é"},
        aggregator=AggregatorState({W: torch.full((4,), round / 7)}),
        versions=Versions.at({LayerName("h.0"): "cd", LayerName("h.1"): "ef"}, always=[]).sent([ClientId("a")]),
        best=Best(1, 0.5123456789012345, 0.25, "held-out"),
        attempt=2,
        run="ab12",
    )


def small_checkpoint(folder: Path, round: int = 3) -> Path:
    """Write it."""
    return save(small_state(round), folder, PLACE)


def taken_for(path: Path, round: int = 3) -> Taken:
    """Load a damaged checkpoint; anything but a refusal that names it, or the very same state, is a failure."""
    want = small_state(round)
    try:
        state, place = load(path, want.weights, seed=PLACE.seed)
    except CheckpointError as error:
        if str(path) not in str(error):
            raise
        return "refused"
    assert place == PLACE
    assert _bits(state.weights) == _bits(want.weights)
    assert _bits(state.aggregator.tensors) == _bits(want.aggregator.tensors)
    for name in ("round", "selector", "versions", "best", "attempt", "run"):
        assert repr(getattr(state, name)) == repr(getattr(want, name))
    return "the same"


def _bits(tensors: Mapping[TensorName, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def flips(folder: Path, count: int, *, seed: int = 0) -> Iterator[tuple[Path, int]]:
    """Yield bits to flip: a file and the number of a bit, each bit of the folder as likely as any other."""
    files = sorted(p for p in folder.iterdir() if p.is_file())
    sizes = [p.stat().st_size for p in files]
    rng = random.Random(seed)
    for _ in range(count):
        path = rng.choices(files, sizes)[0]
        yield path, rng.randrange(path.stat().st_size * 8)


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file; again puts it right."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def older_schema(path: Path) -> None:
    """Make a checkpoint one of an earlier version."""
    data = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**data, "schema": data["schema"] - 1}))


def swap(a: Path, b: Path) -> None:
    """Exchange two files or folders."""
    third = a.with_name("third")
    a.rename(third)
    b.rename(a)
    third.rename(b)


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink()


NEWEST_DAMAGES: Mapping[str, Callable[[Path, Path], object]] = {
    "state flipped": lambda newest, _: flip(newest / "state.json", 1000),
    "weights flipped": lambda newest, _: flip(newest / "model.safetensors", 4000),
    "state cut": lambda newest, _: os.truncate(newest / "state.json", 64),
    "weights cut": lambda newest, _: os.truncate(newest / "model.safetensors", 64),
    "state empty": lambda newest, _: os.truncate(newest / "state.json", 0),
    "weights empty": lambda newest, _: os.truncate(newest / "model.safetensors", 0),
    "state all zeros": lambda newest, _: _zeros(newest / "state.json"),
    "weights all zeros": lambda newest, _: _zeros(newest / "model.safetensors"),
    "no state": lambda newest, _: _remove(newest / "state.json"),
    "no weights": lambda newest, _: _remove(newest / "model.safetensors"),
    "no files": lambda newest, _: _remove(*newest.iterdir()),
    "states swapped": lambda newest, older: swap(newest / "state.json", older / "state.json"),
    "weights swapped": lambda newest, older: swap(newest / "model.safetensors", older / "model.safetensors"),
    "older schema": lambda newest, _: older_schema(newest),
}
"""Ways to lose the newest checkpoint; those that swap lose the older one too."""


def snapshot(folder: Path, variant: Variant, *, records: int, patch: pytest.MonkeyPatch) -> Path:
    """Play a run, and return what a kill after so many journal records would have left of it."""
    left = folder / "left"
    original, seen = FileJournal._write, 0

    def write(journal: FileJournal, record: Record, *, durable: bool = False) -> None:
        nonlocal seen
        original(journal, record, durable=durable)
        seen += 1
        if seen == records:
            shutil.copytree(folder / "run", left)

    patch.setattr(FileJournal, "_write", write)
    run, weights = prepared(folder / "run", variant)
    run.start(weights)
    patch.undo()
    return left


RECORDS: Mapping[str, int] = {"kept": 16, "layer quorum": 19}
"""Journal records until a variant is broken off, in the middle of a training phase."""


def result(played: RunResult) -> dict[str, Any]:
    """Return what came out of a run; its accounts are left out, as they read the journal, which may be damaged."""
    return {key: value for key, value in outcome(played).items() if key != "not once"}


def flip_in_tail(folder: Path, rng: random.Random) -> None:
    """Flip a bit of the journal behind what the newest checkpoint vouches for, and behind the run's name."""
    journal = folder / "journal.jsonl"
    states = sorted((folder / "checkpoints").glob("round-*/state.json"))
    vouched = int(json.loads(states[-1].read_text())["journal_bytes"]) if states else 0
    start = max(vouched, journal.read_bytes().index(b"\n") + 1)
    flip(journal, rng.randrange(start * 8, journal.stat().st_size * 8))


def flip_in_answers(folder: Path, rng: random.Random) -> None:
    """Flip a bit of the answers that were kept last."""
    kept = sorted((folder / "accepted").iterdir())[-1]
    flip(kept, rng.randrange(kept.stat().st_size * 8))
