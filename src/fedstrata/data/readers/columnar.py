"""Parquet through ``datasets``: the wanted columns alone, and only if what they hold fits this machine.

A small file can hold many gigabytes, compressed or as references to one long value. What the columns hold is therefore
summed before anything is kept: a few rows are decoded at a time, so few that the longest value of the file fits.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import datasets
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from datasets.data_files import DataFilesDict, DataFilesList
from datasets.exceptions import DatasetGenerationError
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from datasets.packaged_modules.parquet.parquet import Parquet

from fedstrata.data.cache import UNUSABLE, fault_of
from fedstrata.data.find_sources import Source
from fedstrata.data.quiet import quiet
from fedstrata.data.readers.raw_table import Sheet, no_column
from fedstrata.errors import DataError

log = logging.getLogger(__name__)

_BATCH = 1 << 27
"""Bytes that are decoded at a time, at most, but never less than one row."""
_ROWS = 100_000
"""Rows that are decoded at a time, at most."""
_COPIES = 3
"""How often a text lies in memory while it is read: decoded, as Arrow, and as a Python value."""
_SPLIT = "write fewer rows or shorter values, or read it on a machine with more memory"


def read_parquet(
    source: Source, wanted: Sequence[str], *, label: str, image: str | None, fingerprint: str, cache: Path
) -> Sheet:
    """Return the wanted columns; images as ``{bytes, path}``, still on disk.

    Args:
        source: The file.
        wanted: Names of columns.
        label: Which of them holds labels.
        image: Which of them holds images, if any.
        fingerprint: Hash of the file.
        cache: Folder for the Arrow files of ``datasets``.

    Raises:
        DataError: The file is damaged, a column is missing, or what the columns hold does not fit this machine.

    Example:
        See ``tests/data/readers/test_columnar.py``.
    """
    # pyarrow and datasets take a relative path such as s3:rows.parquet for an address
    source, cache = replace(source, path=source.path.absolute()), cache.absolute()
    try:
        data = _open(source, wanted, fingerprint, cache, _weighed(source, wanted, image, cache))
        columns = {name: data.data.column(name).to_pylist() for name in wanted if name != image}
    except MemoryError as error:  # pyarrow's own is one, too
        raise DataError(f"{source.shown} does not fit into memory; {_SPLIT}") from error
    except (DatasetGenerationError, pa.ArrowException, ValueError, OSError) as error:
        cause = str(error.__cause__ or error).split("\n")[0]
        if "corresponds to no data" in f"{error} {error.__cause__}":
            raise DataError(f"{source.shown} has no rows; fill it or leave it out") from error
        raise DataError(f"{source.shown} cannot be read as parquet: {cause}") from error
    if image is not None:
        columns[image] = _images(data, image, source)
    feature = data.features[label]
    return Sheet(columns, tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None)


def _weighed(source: Source, wanted: Sequence[str], image: str | None, cache: Path) -> int:
    """Return how many rows may be decoded at once, after a look at how much all of them hold."""
    with pq.ParquetFile(source.path) as file:
        for name in wanted:
            if name not in file.schema_arrow.names:
                raise no_column(source.shown, name, file.schema_arrow.names)
        limit, where = _limit(image, cache)
        declared, largest = _declared(file, wanted)
        rows = int(min(256, max(1, _BATCH // max(1, largest))))
        held, heaviest = declared, 1
        if declared <= limit:
            held, heaviest = _decoded(file, wanted, rows, limit)
    if held > limit:
        raise DataError(
            f"{source.shown} is a file of {source.path.stat().st_size / 1e6:.1f} MB whose columns"
            f" {' and '.join(wanted)} hold {held / 1e9:.1f} GB or more; {where} has room for {limit / 1e9:.1f} GB;"
            f" {_SPLIT}"
        )
    return int(min(_ROWS, max(1, rows * _BATCH // heaviest)))


def _declared(file: pq.ParquetFile, wanted: Sequence[str]) -> tuple[int, int]:
    """Return what the file says of its columns' sizes, decompressed: all together, and the largest of a row group."""
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    sizes = [
        int(chunk.total_uncompressed_size)
        for chunk in chunks
        if any(chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.") for name in wanted)
    ]
    return sum(sizes), max(sizes, default=1)


def _decoded(file: pq.ParquetFile, wanted: Sequence[str], rows: int, limit: int) -> tuple[int, int]:
    """Return how many bytes the columns hold, or the first sum beyond the limit, and the most in so many rows."""
    held, heaviest = 0, 1
    for batch in file.iter_batches(batch_size=rows, columns=list(wanted), use_threads=False):
        held, heaviest = held + batch.nbytes, max(heaviest, batch.nbytes)
        if held > limit:
            break
    return held, heaviest


def _limit(image: str | None, cache: Path) -> tuple[int, str]:
    """Return the most bytes that there is room for, and where: images stay on disk, all else is held in memory."""
    if image is not None:
        there = next(folder for folder in (cache.absolute(), *cache.absolute().parents) if folder.exists())
        return shutil.disk_usage(there).free, "the cache's disk"
    return free_memory() // _COPIES, "memory"


def free_memory() -> int:
    """Return the bytes of memory that this process may still take: what is free, or less if it is limited.

    Example:
        >>> free_memory() > 0
        True
    """
    free = int(psutil.virtual_memory().available)
    try:
        import resource
    except ImportError:  # only POSIX has it
        return free
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed == resource.RLIM_INFINITY:
        return free
    return max(1, min(free, allowed - int(psutil.Process().memory_info().vms)))


def _open(source: Source, wanted: Sequence[str], fingerprint: str, cache: Path, rows_at_once: int) -> Dataset:
    """Return the file's rows, by way of the cache, or of a folder that ends with the process where it is unusable."""
    try:
        return _by_way_of(cache, source, wanted, fingerprint, rows_at_once)
    except (OSError, DatasetGenerationError) as error:
        why = fault_of(cache / "datasets", error)
        if why is None:
            raise
    log.warning(UNUSABLE, cache, why)
    place = Path(mkdtemp(prefix="fedstrata-rows-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return _by_way_of(place, source, wanted, fingerprint, rows_at_once)


def _by_way_of(cache: Path, source: Source, wanted: Sequence[str], fingerprint: str, rows_at_once: int) -> Dataset:
    data = DataFilesDict({"train": DataFilesList([str(source.path)], origin_metadata=[(fingerprint,)])})
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="unclosed file", category=ResourceWarning)
        builder = Parquet(
            cache_dir=str(cache / "datasets"),
            data_files=data,
            hash=_PACKAGED_DATASETS_MODULES["parquet"][1],
            columns=list(dict.fromkeys(wanted)),
            batch_size=rows_at_once,
        )
        builder.download_and_prepare()
        return builder.as_dataset(split="train")


def _images(data: Dataset, column: str, source: Source) -> list[object]:
    try:
        with quiet():
            raw = data.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        kind = data.features[column]
        raise DataError(f"{source.shown}: column '{column}' holds {kind}, not images; name an image column") from error
    return raw[column]  # type: ignore[no-any-return]  # a lazy column of ``datasets``
