"""Source files: what a path, a glob or a folder in the config stands for."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from fedstrata.data.image_folders import list_images
from fedstrata.data.images import marks
from fedstrata.errors import DataError, nearest
from fedstrata.files import too_long

Format = Literal["parquet", "csv", "json", "imagefolder"]
SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
}
SPLITS = frozenset({"train", "test", "val", "valid", "validation"})


@dataclass(frozen=True, slots=True)
class Source:
    """One file, or one folder of class folders.

    Attributes:
        path: The file or folder.
        format: How it is read.
        site: The client that it belongs to; ``None`` where a partitioner decides.
        twin: Whether another file that is read with it has its name, so that errors name the folder too.
    """

    path: Path
    format: Format
    site: str | None = None
    twin: bool = False

    @property
    def shown(self) -> str:
        """What errors and the data card call it."""
        folder = self.path.parent.name if self.site or self.twin else ""
        return f"{folder}/{self.path.name}" if folder else self.path.name

    @property
    def images(self) -> tuple[Path, ...]:
        """Image files of an image folder, sorted by class and name; empty for a file."""
        if self.format != "imagefolder":
            return ()
        return tuple(path for _, path in list_images(self.path).images)

    def fingerprint(self) -> str:
        """Return a hash of the bytes of a file, or of names, sizes and dates of an image folder."""
        if self.format == "imagefolder":
            return marks(self.path, [str(path.relative_to(self.path)) for path in self.images])
        digest = sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


def find(pattern: str, base: Path) -> tuple[Source, ...]:
    """Return the sources that a path or glob names, sorted by path.

    Args:
        pattern: A file, an image folder, a folder of data files, or a glob of any of these.
        base: Folder that a relative pattern starts from.

    Raises:
        DataError: Nothing is there, or it is of no known format.

    Example:
        See ``tests/data/test_find_sources.py``.
    """
    found = [source for path in _matches(pattern, base) for source in _sources(path)]
    names = Counter(source.path.name for source in found)
    return tuple(replace(source, twin=names[source.path.name] > 1) for source in found)


def find_sites(pattern: str, base: Path) -> tuple[Source, ...]:
    """Return the sources of one-folder-per-site data, each with its site.

    Args:
        pattern: A folder whose entries are sites, or a glob that matches one file or folder per site.
        base: Folder that a relative pattern starts from.

    Raises:
        DataError: Nothing is there, a site has no data, or two entries would be the same site.
    """
    paths = _matches(pattern, base)
    if not glob.has_magic(pattern) and len(paths) == 1 and paths[0].is_dir():
        paths = [p for p in _inside(paths[0]) if _is_data(p)]
        if not paths:
            raise DataError(f"{pattern}: no site folder or data file in it; make one per site")
    names = [p.name if p.is_dir() else p.parent.name if p.stem in SPLITS else p.stem for p in paths]
    if len(set(names)) < len(names):
        names = [p.parent.name for p in paths]
    if len(set(names)) < len(names):
        raise DataError(f"{pattern}: site '{_repeated(names)}' occurs twice; make one folder per site")
    return tuple(
        replace(source, site=name) for name, path in zip(names, paths, strict=True) for source in _train_sources(path)
    )


def from_base(given: str, base: Path) -> Path:
    """Return the path that a text means: its ``~`` written out, and from a folder where it is relative.

    Raises:
        DataError: It begins at the home of a user that does not exist, or is too long.

    Example:
        >>> from_base("rows/*.csv", Path("/data")).as_posix()
        '/data/rows/*.csv'
    """
    try:
        path = base / Path(given).expanduser()
    except RuntimeError as error:
        raise DataError(f"'{given}': {str(error).rstrip('.')}; write the path out") from error
    if reason := too_long(path):
        raise DataError(reason)
    return path


def _matches(pattern: str, base: Path) -> list[Path]:
    whole = str(from_base(pattern, base))
    path = Path(whole)
    try:
        there = path.exists()
    except OSError as error:
        advice = "have its owner let you in, or name another one"
        raise DataError(f"'{pattern}' cannot be reached: {error.strerror}; {advice}") from error
    if there:
        return [path]
    if not glob.has_magic(pattern):
        raise DataError(_missing(pattern, path))
    root = Path(Path(whole).anchor)
    try:
        found = [p for p in sorted(root.glob(str(Path(whole).relative_to(root)))) if _is_data(p)]
    except ValueError as error:
        raise DataError(f"'{pattern}' is no pattern: {error}; write ** alone between two slashes") from error
    if not found:
        raise DataError(f"no data file matches '{pattern}' (looked from {base.name or 'the current folder'})")
    return found


def _missing(pattern: str, path: Path) -> str:
    parent = next(p for p in path.parents if p.exists())
    names = [p.name for p in _inside(parent) if _is_data(p)] if parent.is_dir() else []
    child = path.relative_to(parent).parts[0]
    hint = nearest(child, names) if names else "the folder holds no data file"
    return f"'{pattern}' does not exist: no '{child}' in {parent.name or 'the current folder'}/; {hint}"


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder.name}/ cannot be listed: {error.strerror}") from error


def _is_data(path: Path) -> bool:
    return not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in SUFFIXES)


def _sources(path: Path) -> list[Source]:
    if path.is_file():
        known = SUFFIXES.get(path.suffix.lower())
        if known is None:
            raise DataError(f"{path.name}: unknown format; known: {', '.join(SUFFIXES)}, image folders")
        return [Source(path, known)]
    if not path.is_dir():
        raise DataError(f"{path.name} is no regular file (a pipe, socket or device); save the rows to a file")
    files = [p for p in _inside(path) if not p.is_dir() and _is_data(p)]
    if files:
        return [source for p in files for source in _sources(p)]
    folder = Source(path, "imagefolder")
    splits = [p.name for p in _inside(path) if p.is_dir() and p.name in SPLITS]
    if splits:
        raise DataError(f"{path.name}/ holds splits, not labels; name one of them, such as '{path.name}/{splits[-1]}'")
    if not folder.images:
        raise DataError(
            f"{path.name}/ holds neither data files ({', '.join(SUFFIXES)}) nor folders of images, one per label"
        )
    return [folder]


def _train_sources(path: Path) -> list[Source]:
    if not path.is_dir():
        return _sources(path)
    entries = [p for p in _inside(path) if _is_data(p)]
    named = [p for p in entries if p.stem.startswith("train")]
    if not named and any(p.stem in SPLITS for p in entries):
        raise DataError(f"site {path.name}/ has test rows but no 'train' file or folder; name its training rows so")
    return [s for p in named or [path] for s in _sources(p)]


def _repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(n for n in names if n in seen or seen.add(n))  # type: ignore[func-returns-value]
