"""Loading: from a description of the data to every client's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedstrata.data.digits import NAMES, digits
from fedstrata.data.find_sources import find, find_sites, from_base
from fedstrata.data.kinds import Data, Digits, Files, FromFiles, Own, Remote
from fedstrata.data.label_checks import check_labels, check_test
from fedstrata.data.limit import limited
from fedstrata.data.names import safe_ids
from fedstrata.data.natural import NaturalId
from fedstrata.data.partition import Partition
from fedstrata.data.read_options import NamedColumns
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.readers.dialect import Dialect
from fedstrata.data.split import Split
from fedstrata.data.table import Table
from fedstrata.data.tensors import ClientRows, FederatedData, TensorRows
from fedstrata.domain.card import ClientData, DataCard
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import DataError

Prepare = Callable[[Table], TensorRows]
"""Turns read rows into model inputs, by the model's preprocessing: images, texts, or questions with choices."""


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """Both sides' rows and how the clients share theirs; ``unused`` rows by the key that limits them.

    ``notes`` are what reading them had to decide.
    """

    train: TensorRows
    test: TensorRows
    names: tuple[str, ...]
    split: Split
    partition: str
    files: tuple[str, ...]
    dropped: Mapping[str, int]
    unused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def left_out(self) -> dict[str, int]:
        """Number of rows that no client has, by reason."""
        left = {"left over by the partition": self.split.left_over} if self.split.left_over else {}
        return {**self.dropped, **{f"beyond {key}": count for key, count in self.unused.items()}, **left}


def load_data(
    source: Data,
    *,
    seed: int,
    prepare: Prepare | None = None,
    cache: Path = Path(".cache"),
    base: Path = Path(),
) -> FederatedData:
    """Return every client's rows, the server's test rows, and the data card; the same for the same seed.

    Args:
        source: What to load. ``Own`` gives one client and no test row, ``Remote`` test rows and no client.
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
        loaded = _read(source, seed, prepare, cache, base)
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


def _read(source: FromFiles, seed: int, prepare: Prepare, cache: Path, base: Path) -> _Loaded:
    match source:
        case Files():
            return _load_files(source, seed, prepare, cache, base)
        case Own():
            return _load_own(source, prepare, cache, base)
        case Remote():
            return _load_remote(source, prepare, cache, base)


def _load_files(source: Files, seed: int, prepare: Prepare, cache: Path, base: Path) -> _Loaded:
    by_id, apart = None, None
    if isinstance(source.partition, NaturalId):
        by_id, apart = source.partition.column, source.partition.disjoint
    columns, dialect = replace(_columns(source, base), natural_id=by_id, disjoint=apart), _dialect(source)
    found = find_sites(source.sites, base) if source.sites else find(source.train or "", base)
    table = read(found, columns, cache, dialect=dialect)
    notes = table.notes + check_labels(table, source.label)
    if source.test is not None:
        plain = replace(columns, natural_id=None, disjoint=None)
        test = read(find(source.test, base), plain, cache, like=table, dialect=dialect)
        files, dropped = table.files + test.files, _of_test(test)
    else:
        table, test = _divide(table, source.test_fraction or 0.0, seed, table.columns[apart] if apart else ())
        files, dropped = table.files, {}
    notes += test.notes + check_test(test)
    dropped = {**table.dropped, **dropped}
    table, test, unused = _limited(table, test, source)
    split = _split(table, source.partition, seed)
    how = str(source.partition) if source.partition else "one client per site"
    return _Loaded(prepare(table), prepare(test), table.names, split, how, files, dropped, unused, notes)


def _limited(table: Table, test: Table, source: Files) -> tuple[Table, Table, dict[str, int]]:
    """Return the rows that are used, and how many are not, by the key that says so."""
    groups = test.sites or (test.where[:, 0].tolist() if source.sites else ())
    table, beyond = limited(table, source.rows, table.sites)
    test, test_beyond = limited(test, source.test_rows, groups)
    counts = {"data.rows": beyond, "data.test_rows": test_beyond}
    return table, test, {key: count for key, count in counts.items() if count}


def _columns(source: FromFiles, base: Path) -> Columns:
    images = from_base(source.image_folder, base) if source.image_folder else None
    return Columns(**{f.name: getattr(source, f.name) for f in fields(NamedColumns)}, image_folder=images)


def _dialect(source: FromFiles) -> Dialect:
    return Dialect(source.separator, source.encoding)


def _load_own(source: Own, prepare: Prepare, cache: Path, base: Path) -> _Loaded:
    columns = _columns(source, base)
    table = read(find(source.train, base), columns, cache, names=source.labels, dialect=_dialect(source))
    rows = prepare(table)
    split = Split({ClientId(source.client): np.arange(len(table))})
    return _Loaded(
        rows, _none_of(rows), table.names, split, "one site's own rows", table.files, table.dropped, notes=table.notes
    )


def _load_remote(source: Remote, prepare: Prepare, cache: Path, base: Path) -> _Loaded:
    columns = _columns(source, base)
    table = read(find(source.test, base), columns, cache, names=source.labels, dialect=_dialect(source))
    notes = table.notes + check_labels(table, source.label)
    test = prepare(table)
    split, how = Split({}), "rows at the sites"
    return _Loaded(_none_of(test), test, table.names, split, how, table.files, _of_test(table), notes=notes)


def _of_test(test: Table) -> dict[str, int]:
    """Return what was dropped of the test rows, by reason."""
    return {f"test: {why}": count for why, count in test.dropped.items()}


def _none_of(rows: TensorRows) -> TensorRows:
    """Return no rows, of the same form as some."""
    return rows.only(torch.arange(0))


def _divide(table: Table, fraction: float, seed: int, whole: Sequence[str] = ()) -> tuple[Table, Table]:
    """Return training and test rows; rows with the same value of ``whole`` stay on one side."""
    group = np.unique(np.array(whole), return_inverse=True)[1] if len(whole) else np.arange(len(table))
    groups = int(group.max(initial=-1)) + 1
    order = Seeds(seed).generator(Phase.DATA, client="/test").permutation(groups)
    count = round(fraction * groups)
    if not 0 < count < groups:
        what = "values" if len(whole) else "rows"
        raise DataError(f"test_fraction {fraction} of {groups} {what} leaves no test or no training row; change it")
    test = np.isin(group, order[:count])
    return table.take(np.flatnonzero(~test)), table.take(np.flatnonzero(test))


def _split(table: Table, partition: Partition | None, seed: int) -> Split:
    if isinstance(partition, NaturalId):
        values = table.columns[partition.disjoint] if partition.disjoint else ()
        return partition.split(table.labels, seed=seed, ids=table.columns[partition.column], values=values)
    if partition is not None:
        return partition.split(table.labels, seed=seed)
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

    def counted(own: ClientRows) -> ClientData:
        counts = torch.bincount(labels[torch.cat([own.train, own.held_out])], minlength=size).tolist()
        return ClientData(len(own.train), len(own.held_out), dict(zip(loaded.names, counts, strict=True)))

    return DataCard(
        files=loaded.files,
        labels=loaded.names,
        rows_kept=sum(len(own.train) + len(own.held_out) for own in clients.values()),
        rows_test=len(loaded.test),
        rows_dropped=loaded.left_out,
        partition=loaded.partition,
        clients={client: counted(own) for client, own in clients.items()},
        natural_ids=loaded.split.natural_ids or {},
        warnings=_warnings(loaded, clients),
    )


def _unlearned(loaded: _Loaded, clients: Mapping[ClientId, ClientRows]) -> Iterator[str]:
    """Yield which labels no client trains on; those of answers are positions, and no classes to learn."""
    if not clients or loaded.train.answers is not None:
        return
    labels, size = loaded.train.labels, len(loaded.names)
    there = torch.bincount(labels, minlength=size) > 0
    learned = torch.bincount(labels[torch.cat([own.train for own in clients.values()])], minlength=size) > 0
    for mask, words in (
        (~there, "no training row has label {}"),
        (there & ~learned, "no client trains on label {}: its rows are held out or nobody's"),
    ):
        names = [loaded.names[i] for i in mask.nonzero().flatten().tolist()]
        if names:
            yield words.format(", ".join(names[:5]) + (", ..." if len(names) > 5 else ""))


def _warnings(loaded: _Loaded, clients: Mapping[ClientId, ClientRows]) -> tuple[str, ...]:
    notes = list(dict.fromkeys(loaded.notes + loaded.train.notes + loaded.test.notes))
    notes += _unlearned(loaded, clients)
    dropped = sum(loaded.dropped.values())
    if dropped:
        notes.append(f"{dropped} rows were dropped: {', '.join(f'{n} {why}' for why, n in loaded.dropped.items())}")
    notes += [f"{key} keeps a part of the data: {count:,} rows are not used" for key, count in loaded.unused.items()]
    if loaded.split.left_over:
        notes.append(f"{loaded.split.left_over} rows belong to no client's share and are not used")
    return tuple(notes)
