"""Disks that fill up: a tmpfs of so many bytes where this process may mount one, and a shim of one everywhere."""

from __future__ import annotations

import errno
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError

import fedstrata.assembly.confusion as confusion
import fedstrata.assembly.finish as finish
import fedstrata.assembly.first_files as first_files
import fedstrata.runs.checkpoint as checkpoint
import fedstrata.runs.folder as folder_module
import fedstrata.runs.journal as journal_module
import fedstrata.runs.result_files as tables

PAGE = os.sysconf("SC_PAGE_SIZE")
ROOMY = 64 * 2**20
NO_SPACE = "No space left on device"


def mount(path: Path, size: int) -> None:
    """Mount a tmpfs of ``size`` bytes, or make the one that is there as large.

    Raises:
        OSError: This process may not mount.
    """
    size = max(size, PAGE)
    options = f"remount,size={size}" if path.is_mount() else f"size={size}"
    path.mkdir(parents=True, exist_ok=True)
    said = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True)
    if said.returncode:
        raise OSError(said.stderr.strip())


@contextmanager
def disk(path: Path, size: int) -> Iterator[Path]:
    """Have a disk of ``size`` bytes at ``path``, or skip the test."""
    try:
        mount(path, size)
    except OSError as error:
        pytest.skip(f"this needs a mount of its own: {error}")
    try:
        yield path
    finally:
        subprocess.run(
            ["umount", "--lazy", str(path)], check=True
        )  # an error that is still at hand may hold a file open


def used(path: Path) -> int:
    """Return the bytes that are used on a disk."""
    room = os.statvfs(path)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


@dataclass(frozen=True, slots=True)
class Write:
    """A write that needed room.

    Attributes:
        name: What was written.
        call: How many writes of that name there were, with this one.
        before: How full the disk was.
    """

    name: str
    call: int
    before: int


def watch(
    monkeypatch: pytest.MonkeyPatch, disk: Path, about_to: Callable[[str, int], None] = lambda _name, _call: None
) -> list[Write]:
    """Return a list to which every write of a run that needs room on ``disk`` is added as it happens.

    Args:
        monkeypatch: Puts the watch in.
        disk: Where the run writes.
        about_to: Is told of each write before it happens: its name, and the how-manieth of that name it is.
    """
    seen: list[Write] = []
    calls: Counter[str] = Counter()

    def noted(owner: object, attribute: str, name: Callable[..., str]) -> None:
        original = getattr(owner, attribute)

        def call(*args: object, **options: object) -> object:
            what, before = name(*args), used(disk)
            calls[what] += 1
            about_to(what, calls[what])
            result = original(*args, **options)
            if used(disk) > before:
                seen.append(Write(what, calls[what], before))
            return result

        monkeypatch.setattr(owner, attribute, call)

    noted(journal_module, "append", lambda path, *_: "accepted" if path.suffix == ".frames" else "journal")
    noted(folder_module, "append", lambda *_: "event log")
    noted(checkpoint, "save_file", lambda *_: "checkpoint weights")
    noted(Path, "write_text", lambda path, *_: {"state.json": "checkpoint state"}.get(path.name, path.name))
    noted(first_files, "write_atomic", lambda path, *_: path.name)
    noted(confusion, "write_atomic", lambda path, *_: path.name)
    noted(finish, "save_model", lambda *_: "model")
    noted(tables, "write_atomic", lambda path, *_: path.name)
    noted(pq, "write_table", lambda *_: "selection.parquet")
    return seen


@dataclass(slots=True)
class Room:
    """What is left on a disk that is only pretended; nothing is ever given back."""

    left: int
    refused: list[str] = field(default_factory=list)

    def take(self, wanted: int, path: Path) -> int:
        """Return how much of what is wanted there is room for; with none at all, be a full disk."""
        taken = min(wanted, self.left)
        self.left -= taken
        if wanted and not taken:
            self.refused.append(str(path))
            raise OSError(errno.ENOSPC, NO_SPACE)
        return taken


class _Limited:
    """A file on a disk that is nearly full: writes come out short, then not at all."""

    def __init__(self, file: IO[Any], path: Path, room: Room) -> None:
        self._file, self._path, self._runtime_dir = file, path, room

    def __enter__(self) -> _Limited:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, data: Any) -> int:  # noqa: ANN401  bytes or text
        taken = self._runtime_dir.take(len(data), self._path)
        self._file.write(data[:taken])
        if isinstance(data, str) and taken < len(data):
            raise OSError(errno.ENOSPC, NO_SPACE)
        return taken

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the file has
        return getattr(self._file, name)


def pretend(monkeypatch: pytest.MonkeyPatch, room: Room) -> None:
    """Let everything that a run writes share so much room."""
    open_, save, write_table = Path.open, getattr(checkpoint, "save_file"), pq.write_table  # noqa: B009

    def limited(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:  # noqa: ANN401
        file = open_(path, mode, *args, **options)
        return _Limited(file, path, room) if set(mode) & set("wa") else file

    def saved(tensors: Any, path: Path) -> None:  # noqa: ANN401
        save(tensors, path)
        size = path.stat().st_size
        if room.left < size:
            os.truncate(path, room.left)
            room.left = 0
            room.refused.append(str(path))
            raise SafetensorError(f"Error while serializing: I/O error: {NO_SPACE} (os error 28)")
        room.left -= size

    def written(table: Any, path: Path) -> None:  # noqa: ANN401
        write_table(table, path)
        size = path.stat().st_size
        if room.take(size, path) < size:
            raise OSError(errno.ENOSPC, NO_SPACE)

    monkeypatch.setattr(Path, "open", limited)
    monkeypatch.setattr(checkpoint, "save_file", saved)
    monkeypatch.setattr(pq, "write_table", written)
