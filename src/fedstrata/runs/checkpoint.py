"""Checkpoints: safetensors and JSON in a folder that appears at once.

checkpoints/round-0010/state.json         round, selector memory, piggybacked scores, layer versions, best round,
                                          versions of clients' states, offsets of log and journal,
                                          hash of the configuration, packages, checksums
checkpoints/round-0010/model.safetensors  trainable tensors
checkpoints/round-0010/aggregator.safetensors   only where the aggregator remembers tensors
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor

from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.domain.ids import TensorName
from fedstrata.errors import CheckpointError, StorageError
from fedstrata.files import new_folder
from fedstrata.memory_alignment import aligned
from fedstrata.parsing.bounded_files import read_bytes
from fedstrata.parsing.json_text import json_value
from fedstrata.parsing.typed import plain, typed
from fedstrata.runs.state import Count, ServerState
from fedstrata.wire.messages import Weights

SCHEMA = 7
TENSORS = ("model.safetensors", "aggregator.safetensors")
"""The files beside ``state.json``; the second one only where the aggregator remembers tensors."""
_GENERATION = re.compile(r"round-([0-9]{4}|[1-9][0-9]{4,17})")
"""As ``_name`` writes it: ``round-10`` and ``round-0002.bak`` are none of ours."""
MOST_STATE = 2**30
"""Bytes of a ``state.json``; what many clients' sketches take is far below it."""
KEPT = 2
"""Generations on disk; the older one serves where the newest cannot be read."""


@dataclass(frozen=True, slots=True)
class Place:
    """What belongs to a checkpoint outside of it.

    Attributes:
        log_bytes: Length of the event log.
        log_sha256: Hash of that much of it.
        journal_bytes: Length of the journal.
        seed: The run's seed; all random streams follow from it, the round and the attempt.
        identity: What the bits depend on besides: hash of the configuration, versions of packages.
    """

    log_bytes: Count
    log_sha256: str
    journal_bytes: Count
    seed: int
    identity: Mapping[str, str] = field(default_factory=dict)


_PLACE = TypeAdapter(Place)
_STATE = TypeAdapter(ServerState)
_SAID = tuple(plain(_STATE, ServerState(0, {}, {}, AggregatorState())))
"""Keys of a state beside tensors and the selector's memory, which is whatever JSON a selector likes."""


def save(state: ServerState, folder: Path, place: Place) -> Path:
    """Write a checkpoint and drop all but the last two.

    Args:
        state: State before its next round.
        folder: The run's ``checkpoints`` folder.
        place: What belongs to it outside of it.

    Raises:
        StorageError: It cannot be written; the earlier ones are as they were.
    """
    try:
        target = _save(state, folder, place)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"checkpoint {folder / _name(state)} cannot be written: {error}") from error
    for old in (*generations(folder)[KEPT:], *folder.glob(".round-*")):  # with what a crash left half-way
        shutil.rmtree(old, ignore_errors=True)
    return target


def clear(folder: Path) -> None:
    """Delete the checkpoints of a run that needs none any more; what else lies there stays.

    Raises:
        OSError: They cannot be deleted.
    """
    for generation in generations(folder):
        shutil.rmtree(generation)


def _name(state: ServerState) -> str:
    return f"round-{state.round:04d}"


def _save(state: ServerState, folder: Path, place: Place) -> Path:
    target = folder / _name(state)
    with new_folder(target) as temporary:
        save_file(_plain(state.weights), temporary / "model.safetensors")
        if state.aggregator.tensors:
            save_file(_plain(state.aggregator.tensors), temporary / "aggregator.safetensors")
        data = _to_json(state, place)
        data["files"] = {p.name: _digest(p.read_bytes()) for p in sorted(temporary.iterdir())}
        data["sha256"] = _digest_of(data)
        (temporary / "state.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    return target


def generations(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, newest first; whatever else lies there, such as a copy of one, is left alone."""
    found = (path for path in folder.glob("round-*") if _GENERATION.fullmatch(path.name))
    return sorted((path for path in found if path.is_dir() and not path.is_symlink()), key=round_of, reverse=True)


def strays(folder: Path) -> list[str]:
    """Return the names of what lies among the checkpoints and is none, such as a copy of one; hidden files aside."""
    known = {path.name for path in generations(folder)}
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.name not in known and not p.name.startswith("."))


def round_of(path: Path) -> int:
    """Return the round that a checkpoint stands before, by its name."""
    return int(path.name.removeprefix("round-"))


def load(path: Path, expected: Weights, *, seed: int) -> tuple[ServerState, Place]:
    """Read a checkpoint.

    Args:
        path: One generation.
        expected: Tensors of the model that the run trains, for names, shapes and devices.
        seed: Seed of the configuration; a checkpoint of another seed is refused.

    Returns:
        The state, and what belongs to it outside of it.

    Raises:
        CheckpointError: The checkpoint is damaged, of another schema, seed or model.
    """
    data, files = _read(path)
    try:
        return _of_files(path, data, files, expected, seed=seed)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} is none that fedstrata writes: {error!r}") from error


def _of_files(
    path: Path, data: Mapping[str, Any], files: Mapping[str, Mapping[str, Tensor]], expected: Weights, *, seed: int
) -> tuple[ServerState, Place]:
    weights = files.get("model.safetensors", {})
    tensors = files.get("aggregator.safetensors", {})
    if data["seed"] != seed:
        raise CheckpointError(f"checkpoint {path} belongs to seed {data['seed']}, the configuration says {seed}")
    _check_model(path, weights, expected)
    state = replace(
        typed(_STATE, {name: data[name] for name in _SAID}),
        weights={TensorName(n): aligned(weights[n]).to(expected[TensorName(n)].device) for n in expected},
        selector=data["selector"],
        aggregator=AggregatorState({TensorName(n): aligned(t) for n, t in tensors.items()}),
    )
    return state, typed(_PLACE, {name: data[name] for name in Place.__dataclass_fields__})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Return the state and the tensors of each file, once every byte is known to be as it was written."""
    try:
        data = json_value(read_bytes(path / "state.json", most=MOST_STATE))
        if not isinstance(data, dict):
            raise ValueError("state.json holds no mapping")
        if data.get("schema") != SCHEMA:
            raise ValueError(
                f"it has schema {data.get('schema')} and this version reads {SCHEMA}; "
                "resume it with the fedstrata that wrote it (env.json names it), or start the run anew"
            )
        if data.pop("sha256", None) != _digest_of(data):
            raise ValueError("state.json is not as it was written")
        contents = {name: read_bytes(path / name) for name in TENSORS if name in data["files"]}
        for name, content in contents.items():
            if _digest(content) != data["files"][name]:
                raise ValueError(f"{name} is not as it was written")
        return data, {name: load_tensors(content) for name, content in contents.items()}
    except (KeyError, MemoryError, OSError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _digest_of(data: Mapping[str, Any]) -> str:
    return _digest(json.dumps(data, sort_keys=True).encode())


def _check_model(path: Path, weights: Mapping[str, Tensor], expected: Weights) -> None:
    if set(weights) != set(expected):
        odd = sorted(set(weights) ^ set(expected))[:3]
        raise CheckpointError(f"checkpoint {path} belongs to another model: tensors differ, among them {odd}")
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            got = tuple(weights[name].shape)
            raise CheckpointError(f"checkpoint {path}: {name} has shape {got}, the model has {tuple(tensor.shape)}")


def _to_json(state: ServerState, place: Place) -> dict[str, Any]:
    said = {**plain(_STATE, state), **plain(_PLACE, place)}
    return {"schema": SCHEMA, "selector": dict(state.selector), **said}


def _plain(weights: Weights) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in weights.items()}
