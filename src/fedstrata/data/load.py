"""Loading: from a description of the data to every client's rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedstrata.data.card import DataCard
from fedstrata.data.digits import NAMES, Shift, digits
from fedstrata.data.files import find, find_sites
from fedstrata.data.names import safe_ids
from fedstrata.data.partition import Dirichlet, NaturalId, Partition, Split
from fedstrata.data.sources import Columns, read
from fedstrata.data.table import Table
from fedstrata.data.tensors import ClientRows, FederatedData, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import ConfigError, DataError

Prepare = Callable[[Table], TensorRows]
"""Turns read rows into model inputs: ``prepare_images`` or ``prepare_texts`` with the model's preprocessing."""


@dataclass(frozen=True, slots=True)
class Files:
    """The user's own data.

    Attributes:
        train: File, glob, or image folder of the training rows; exclusive with ``sites``.
        sites: Folder with one folder or file per site, or a glob that matches one per site: each is a client.
        test: File, glob, or image folder of the server's test rows; exclusive with ``test_fraction``.
        test_fraction: Share of the training rows that the server keeps as test rows, in (0, 1).
        text: Column of texts; exclusive with ``image``.
        image: Column of images.
        label: Column of labels.
        held_out: Share of each client's rows that it is evaluated on, in [0, 1).
        max_length: Longer texts are cut to this many tokens.
        image_size: Height and width in pixels for a model that does not name its own.
        partition: How rows come to clients; ``None`` with ``sites``.

    Example:
        >>> Files(train="train.parquet", test="test.parquet", text="note", partition=Dirichlet(10)).label
        'label'
    """

    train: str | None = None
    sites: str | None = None
    test: str | None = None
    test_fraction: float | None = None
    text: str | None = None
    image: str | None = None
    label: str = "label"
    held_out: float = 0.0
    max_length: int = 128
    image_size: int | None = None
    partition: Partition | None = None

    def __post_init__(self) -> None:
        """Check what does not need the files."""
        if (self.train is None) == (self.sites is None):
            raise ConfigError("data: give either 'train' or 'sites'")
        if (self.test is None) == (self.test_fraction is None):
            raise ConfigError("data: give either 'test' or 'test_fraction', such as test_fraction: 0.2")
        if (self.text is None) == (self.image is None):
            raise ConfigError("data: give one input column, either 'text' or 'image'")
        if self.sites is None and self.partition is None:
            raise ConfigError("data: give a 'partition', such as {kind: dirichlet, clients: 10, alpha: 0.3}")
        if self.sites is not None and self.partition is not None:
            raise ConfigError("data: with 'sites' each site is a client; remove 'partition'")
        if self.test_fraction is not None and not 0 < self.test_fraction < 1:
            raise ConfigError(f"data: test_fraction is {self.test_fraction}; it has to be between 0 and 1")
        if self.max_length < 1:
            raise ConfigError(f"data: max_length is {self.max_length}; it has to be at least 1")
        _check_held_out(self.held_out)


@dataclass(frozen=True, slots=True)
class Digits:
    """The embedded digits.

    Attributes:
        shift: ``none``, ``input`` or ``label``.
        partition: How rows come to clients.
        held_out: Share of each client's rows that it is evaluated on, in [0, 1).

    Example:
        >>> str(Digits(shift="label").partition)
        'dirichlet 0.3 over 10 clients, at least 10 rows each'
    """

    shift: Shift = "none"
    partition: Partition = field(default_factory=lambda: Dirichlet(clients=10, alpha=0.3))
    held_out: float = 0.0

    def __post_init__(self) -> None:
        """Check what does not need the rows."""
        if isinstance(self.partition, NaturalId):
            raise ConfigError("data: digits have no natural id; use partition dirichlet, iid or shard")
        _check_held_out(self.held_out)


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """Both sides' rows and how the clients share theirs."""

    train: TensorRows
    test: TensorRows
    names: tuple[str, ...]
    split: Split
    partition: str
    files: tuple[str, ...]
    dropped: Mapping[str, int]


def load_data(
    source: Files | Digits,
    *,
    seed: int,
    prepare: Prepare | None = None,
    cache: Path = Path(".cache"),
    base: Path = Path(),
) -> FederatedData:
    """Return every client's rows, the server's test rows, and the data card; the same for the same seed.

    Args:
        source: What to load.
        seed: Chooses test rows, split and held-out rows, once for the whole run.
        prepare: Turns read rows into model inputs; needed for files.
        cache: Folder for what is computed once.
        base: Folder that relative paths start from.

    Raises:
        DataError: The data cannot be read, or a client would have no training row.

    Example:
        >>> data = load_data(Digits(shift="input", held_out=0.1), seed=7)
        >>> len(data.clients), data.card.rows_kept, len(data.test)
        (10, 899, 298)
    """
    if isinstance(source, Digits):
        loaded = _load_digits(source, seed)
    elif prepare is None:
        raise DataError("data from files need a function that turns them into model inputs")
    else:
        loaded = _load_files(source, seed, prepare, cache, base)
    clients = {
        client: _client(client, rows, loaded.train, source.held_out, seed)
        for client, rows in sorted(loaded.split.rows.items())
    }
    return FederatedData(clients, loaded.test, loaded.names, _card(loaded, clients))


def _load_digits(source: Digits, seed: int) -> _Loaded:
    rows = digits(source.shift, seed=seed)
    split = source.partition.split(rows.train.labels.numpy(), seed=seed)
    file = f"scikit-learn digits, shift {source.shift}"
    return _Loaded(rows.train, rows.test, NAMES, split, str(source.partition), (file,), {})


def _load_files(source: Files, seed: int, prepare: Prepare, cache: Path, base: Path) -> _Loaded:
    by_id = source.partition.column if isinstance(source.partition, NaturalId) else None
    columns = Columns(source.text, source.image, source.label, by_id)
    found = find_sites(source.sites, base) if source.sites else find(source.train or "", base)
    table = read(found, columns, cache)
    if len(table.names) < 2:
        raise DataError(
            f"{table.files[0]}: column '{source.label}' holds one label, '{table.names[0]}'; give two or more"
        )
    if source.test is not None:
        test = read(find(source.test, base), replace(columns, natural_id=None), cache, names=table.names)
        files, dropped = table.files + test.files, {f"test: {k}": v for k, v in test.dropped.items()}
    else:
        table, test = _divide(table, source.test_fraction or 0.0, seed)
        files, dropped = table.files, {}
    split = _split(table, source.partition, seed)
    how = str(source.partition) if source.partition else "one client per site"
    dropped = {**table.dropped, **dropped}
    return _Loaded(prepare(table), prepare(test), table.names, split, how, files, dropped)


def _divide(table: Table, fraction: float, seed: int) -> tuple[Table, Table]:
    order = Seeds(seed).generator(Phase.DATA, client="/test").permutation(len(table))
    count = round(fraction * len(table))
    if not 0 < count < len(table):
        raise DataError(f"test_fraction {fraction} of {len(table)} rows leaves no test or no training row; change it")
    return table.take(np.sort(order[count:])), table.take(np.sort(order[:count]))


def _split(table: Table, partition: Partition | None, seed: int) -> Split:
    if partition is not None:
        ids = table.columns[partition.column] if isinstance(partition, NaturalId) else ()
        return partition.split(table.labels, seed=seed, ids=ids)
    names = safe_ids(sorted(set(table.sites)))
    sites = np.array(table.sites)
    rows = {client: np.flatnonzero(sites == raw) for raw, client in names.items()}
    return Split(rows, 0, {client: raw for raw, client in names.items() if raw != client})


def _client(client: ClientId, rows: NDArray[np.int64], shared: TensorRows, held_out: float, seed: int) -> ClientRows:
    needed = 2 if held_out else 1
    if len(rows) < needed:
        raise DataError(
            f"client {client} has {len(rows)} of the {needed} rows it needs to train"
            f"{' and hold one out' if held_out else ''}; use fewer clients, or a larger alpha or min_rows"
        )
    order = Seeds(seed).generator(Phase.DATA, client=client).permutation(rows)
    count = min(len(rows) - 1, max(1, round(held_out * len(rows)))) if held_out else 0
    return ClientRows(shared, torch.from_numpy(order[count:]), torch.from_numpy(order[:count]))


def _card(loaded: _Loaded, clients: Mapping[ClientId, ClientRows]) -> DataCard:
    labels, size = loaded.train.labels, len(loaded.names)
    counts = {
        client: torch.bincount(labels[torch.cat([own.train, own.held_out])], minlength=size)
        for client, own in clients.items()
    }
    left = {"left over by the partition": loaded.split.left_over} if loaded.split.left_over else {}
    absent = [loaded.names[i] for i in (torch.bincount(labels, minlength=size) == 0).nonzero().flatten().tolist()]
    return DataCard(
        files=loaded.files,
        labels=loaded.names,
        rows_kept=sum(len(own.train) + len(own.held_out) for own in clients.values()),
        rows_test=len(loaded.test),
        rows_dropped={**loaded.dropped, **left},
        train_rows={client: len(own.train) for client, own in clients.items()},
        held_out_rows={client: len(own.held_out) for client, own in clients.items()},
        label_counts={client: tuple(count.tolist()) for client, count in counts.items()},
        partition=loaded.partition,
        natural_ids=loaded.split.natural_ids or {},
        warnings=_warnings(loaded, absent),
    )


def _warnings(loaded: _Loaded, absent: Sequence[str]) -> tuple[str, ...]:
    notes = list(dict.fromkeys(loaded.train.notes + loaded.test.notes))
    if absent:
        notes.append(f"no training row has label {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}")
    dropped = sum(loaded.dropped.values())
    if dropped:
        notes.append(f"{dropped} rows were dropped: {', '.join(f'{n} {why}' for why, n in loaded.dropped.items())}")
    if loaded.split.left_over:
        notes.append(f"{loaded.split.left_over} rows fit no client's share and are left over")
    return tuple(notes)


def _check_held_out(held_out: float) -> None:
    if not 0 <= held_out < 1:
        raise ConfigError(f"data: held_out is {held_out}; it has to be at least 0 and below 1")
