"""The inputs of a run that its configuration only names: hashes of its rows, its model's files and its frozen weights.

``inputs.json`` of a run folder holds them as they were when the run began. A run goes on with the same ones or not at
all, so what its log says of frozen weights is said of the start of the run, however often it was resumed. The hashes
are of what clients and server work with: of prepared rows, so that a tokenizer, a processor or a reader that makes
other tensors of the same file counts, and a file that is only written anew does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from fedstrata.assembly.loading import model_path
from fedstrata.config.load import Loaded
from fedstrata.data.find_sources import Source, find, find_sites
from fedstrata.data.kinds import Digits, Files, Own
from fedstrata.data.tensors import ClientRows, FederatedData, TensorRows
from fedstrata.domain.formatting import listing
from fedstrata.domain.layers import LayerMap
from fedstrata.errors import CheckpointError, DataError, ModelError
from fedstrata.files import write_atomic
from fedstrata.models.model_path import is_custom, model_folder
from fedstrata.parsing.json_text import read_json
from fedstrata.runs.folder import RunFolder
from fedstrata.wire.digests import hashed

INPUTS = "inputs.json"
_READ = frozenset({".json", ".jinja", ".model", ".safetensors", ".txt"})
"""Files of a model's folder that a model, a tokenizer or a processor is read from."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Content hashes, by name; sha256, hexadecimal.

    Attributes:
        data: Files of the data; they only name what changed, the rows decide.
        model: Files of the model's folder; none of a network that a function makes.
        train: Each client's rows, training and held out.
        test: The server's test rows, and the names of the labels.
        frozen: Weights and buffers that no client trains, so that no checkpoint has them.
    """

    data: Mapping[str, str]
    model: Mapping[str, str]
    train: Mapping[str, str]
    test: Mapping[str, str]
    frozen: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One hash of all that a run's bits depend on."""
        decisive = {name: dict(part) for name, part in asdict(self).items() if name != "data"}
        return sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def inputs_of(loaded: Loaded, data: FederatedData, model: nn.Module, layers: LayerMap) -> Inputs:
    """Return the hashes of what a run is about to work with.

    Args:
        loaded: The configuration.
        data: The rows of this machine.
        model: The network, as it was loaded.
        layers: Its blocks.
    """
    train, test = rows_of(data)
    return Inputs(data_files(loaded), model_files(loaded), train, test, _frozen(model, layers))


def write_inputs(folder: RunFolder, inputs: Inputs) -> None:
    """Write ``inputs.json``.

    Raises:
        OSError: The folder cannot be written.
    """
    write_atomic(folder.path / INPUTS, json.dumps(asdict(inputs), indent=1))


def check_inputs(folder: RunFolder, now: Inputs) -> None:
    """Refuse to go on with a run whose rows or model are not those that it began with.

    Raises:
        CheckpointError: The folder does not say what the run began with.
        DataError: Rows differ; names the clients and the files.
        ModelError: Files of the model, or weights that no checkpoint has, differ; names them.
    """
    then = read_inputs(folder)
    advice = f"put back what the run in {folder.path} began with, or start a new run"
    other, blocks = other_model(then, now.model), differing(then.frozen, now.frozen)
    if other is not None:
        raise ModelError(f"{other}; {advice}")
    if blocks:
        raise ModelError(f"frozen weights are not those that the run began with: {listing(blocks, limit=3)}; {advice}")
    rows = other_rows(then, now)
    if rows is not None:
        raise DataError(f"{rows}; {advice}")


def other_model(then: Inputs, files: Mapping[str, str]) -> str | None:
    """Return in words which files of the model's folder have changed, or ``None``.

    Args:
        then: What a run began with.
        files: The files' hashes now.
    """
    changed = differing(then.model, files)
    return f"the model's folder has changed since the run began: {listing(changed, limit=3)}" if changed else None


def other_rows(then: Inputs, now: Inputs) -> str | None:
    """Return in words which rows have changed, or ``None``; their files only tell why."""
    clients, test = differing(then.train, now.train), differing(then.test, now.test)
    if not clients and not test:
        return None
    what = [f"the rows of {listing(clients, limit=3)}"] if clients else []
    what += [f"the test {' and '.join(test)}"] if test else []
    named = listing(differing(then.data, now.data), limit=3)
    why = f" (changed: {named})" if named else " (their files have not changed: how they are read has)"
    return f"{' and '.join(what)} are not those that the run began with{why}"


def read_inputs(folder: RunFolder) -> Inputs:
    """Return what a run began with.

    Raises:
        CheckpointError: Its folder does not say.
    """
    path = folder.path / INPUTS
    try:
        values = read_json(path)
        parts = {field.name: values[field.name] for field in fields(Inputs)}
        if not all(
            isinstance(part, dict) and all(isinstance(h, str) for h in part.values()) for part in parts.values()
        ):
            raise ValueError("a part of it is no mapping of names to hashes")
        return Inputs(**parts)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} is missing, so nobody can tell whether rows and model are those that the run began with; "
            "start a new run"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; start a new run") from error


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names under which two sets of hashes differ."""
    return [name for name in dict.fromkeys((*then, *now)) if then.get(name) != now.get(name)]


def data_files(loaded: Loaded) -> dict[str, str]:
    """Return the hashes of the files of a configuration's data.

    Raises:
        DataError: They are not there.
    """
    return {source.shown: source.fingerprint() for source in _sources(loaded)}


def _sources(loaded: Loaded) -> Iterator[Source]:
    source = loaded.components.data
    if isinstance(source, Digits):
        return
    if isinstance(source, Files) and source.sites:
        yield from find_sites(source.sites, loaded.base)
    elif isinstance(source, Files | Own) and source.train:
        yield from find(source.train, loaded.base)
    if not isinstance(source, Own) and source.test is not None:
        yield from find(source.test, loaded.base)


def model_files(loaded: Loaded) -> dict[str, str]:
    """Return the hashes of the files of a configuration's model; none of a network that a function makes.

    Raises:
        ModelError: The folder is not there.
    """
    if is_custom(loaded.config.model.path):
        return {}
    folder = model_folder(model_path(loaded))
    found = (path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in _READ)
    return {path.name: _of_file(path) for path in found if not path.name.startswith(".")}


def _of_file(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def rows_of(data: FederatedData) -> tuple[dict[str, str], dict[str, str]]:
    """Return the hashes of each client's rows, and those of the test rows and the labels."""
    clients = {
        str(client): hashed(
            (f"{which} {name}", part) for which, rows in _of(own) for name, part in _tensors(own.rows, rows)
        )
        for client, own in data.clients.items()
    }
    labels = sha256(json.dumps(data.labels).encode()).hexdigest()
    return clients, {"rows": hashed(_tensors(data.test)), "labels": labels}


def rows_hash(own: ClientRows) -> str:
    """Return one hash of a client's rows in the order of their source, whichever of them are held out."""
    return hashed(_tensors(own.rows, torch.cat([own.train, own.held_out]).sort().values))


def _of(own: ClientRows) -> tuple[tuple[str, Tensor], ...]:
    return ("train", own.train), ("held out", own.held_out)


def _tensors(rows: TensorRows, chosen: Tensor | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of some rows, or of all."""
    answers = {} if rows.answers is None else {f.name: getattr(rows.answers, f.name) for f in fields(rows.answers)}
    for name, tensor in sorted({**rows.inputs, "labels": rows.labels, **answers}.items()):
        yield name, tensor if chosen is None else tensor[chosen]


def _frozen(model: nn.Module, layers: LayerMap) -> dict[str, str]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    out = {str(block.name): hashed((name, parameters[name]) for name in block.tensor_names) for block in layers.never}
    buffers = list(model.named_buffers())
    return out | ({"buffers": hashed(buffers)} if buffers else {})
