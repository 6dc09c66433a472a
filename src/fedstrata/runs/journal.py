"""The journal: which answers counted and which did not, on disk before the round is.

One record per line, strict JSON with a CRC-32 at its end. After a crash the records behind the checkpoint's offset say
how far the round had come: an answer that was kept is used as it is, one that was not is asked for again and has to be
the same, and a client that was lost stays lost. So a round that is broken off and resumed is the round it would have
been.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fedstrata.errors import StorageError
from fedstrata.files import append, private_folder, sync
from fedstrata.parsing.bounded_files import read_part
from fedstrata.runs.journal_records import (
    FRAMES,
    LONGEST,
    Abandoned,
    Accepted,
    Begun,
    Committed,
    Lost,
    Record,
    line_of,
    record_of,
)
from fedstrata.wire.assignment import Assignment, Key
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import Failure, Reject, Reply
from fedstrata.wire.reply_frames import encode, unframe
from fedstrata.wire.sizes import Encoding

log = logging.getLogger(__name__)


class Journal(Protocol):
    """Remembers the outcome of every assignment until the round is in a checkpoint."""

    @property
    def keeps(self) -> bool:
        """Whether answers that count can be had again from here."""
        ...

    def recall(self, expected: Assignment) -> Reply | None:
        """Return how an assignment ended: the answer if it was kept, or the failure; ``None`` if it is still open."""
        ...

    def accept(self, expected: Assignment, reply: Reply, *, digest: str, frame: bytes | None) -> None:
        """Remember that an answer counts, before anyone is told so.

        Args:
            expected: What was asked.
            reply: The answer, admitted.
            digest: Its content hash.
            frame: The bytes that it came in, if it came in bytes.
        """
        ...

    def lose(self, expected: Assignment, reject: Reject) -> None:
        """Remember that a client was lost."""
        ...


class MemoryJournal:
    """Remembers nothing on disk: for rounds outside a run folder, and for evaluations, which count for nothing.

    Args:
        keep: Whether answers are kept.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.keeps = keep
        self._kept: dict[Key, Reply] = {}

    def recall(self, expected: Assignment) -> Reply | None:
        """Return an answer that was kept."""
        return self._kept.get(expected.key)

    def accept(self, expected: Assignment, reply: Reply, *, digest: str, frame: bytes | None) -> None:
        """Keep the answer if asked to."""
        if self.keeps:
            self._kept[expected.key] = reply

    def lose(self, expected: Assignment, reject: Reject) -> None:
        """Do nothing."""


class FileJournal:
    """The journal of a run folder.

    Args:
        path: The file; its answers are kept in the folder beside it.
        keep: Whether answers are kept, so that nobody has to give them twice.
        durable: Whether each record survives a power failure before the client is told; else that of the process.
        check: Called before anything is written; raises a ``StorageError`` if the folder is no longer the run's.
    """

    def __init__(
        self, path: Path, *, keep: bool = False, durable: bool = False, check: Callable[[], None] = lambda: None
    ) -> None:
        self._path, self.keeps, self._durable, self._check = path, keep, durable, check
        self._kept = path.with_name("accepted")
        self._entries: dict[Key, Accepted | Lost] = {}
        self.run = ""
        """Name of the run; empty until it is known."""

    def begin(self, run: str) -> None:
        """Start the journal of a new run; what was there before is gone."""
        self.run = run
        self._entries.clear()
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self._kept, ignore_errors=True)
        self._write(Begun(run))

    def cut(self, offset: int) -> None:
        """Forget what was journalled behind a checkpoint: the round after it is not played as it was."""
        if self.size > offset:
            os.truncate(self._path, offset)

    def reopen(self, offset: int, run: str | None) -> None:
        """Read what was journalled behind a checkpoint, up to the first record that is not whole.

        Args:
            offset: Length of the journal that the checkpoint vouches for.
            run: Name of the run; ``None`` takes it from the journal's first record.
        """
        self._entries.clear()
        self.run = run or ""
        size = self.size
        if size < offset:
            log.warning("%s has %d bytes, the checkpoint knows of %d; it was cut", self._path, size, offset)
        if size <= offset:
            return
        with self._path.open("rb") as file:
            file.seek(offset)
            whole = offset
            for line in iter(lambda: file.readline(LONGEST), b""):
                record = record_of(line)
                if record is None:
                    break
                if isinstance(record, Accepted | Lost):
                    self._entries[record.key] = record
                elif isinstance(record, Begun):
                    self.run = self.run or record.run
                whole += len(line)
        if whole < size:
            if size - whole > len(line) or line.endswith(b"\n"):
                log.warning("%s: %d bytes from byte %d on are damaged and left out", self._path, size - whole, whole)
            os.truncate(self._path, whole)

    @property
    def size(self) -> int:
        """Length of the journal in bytes."""
        return self._path.stat().st_size if self._path.exists() else 0

    def recall(self, expected: Assignment) -> Reply | None:
        """Return the answer that was kept, or the failure; ``None`` where there is none or it cannot be read."""
        entry = self._entries.get(expected.key)
        if isinstance(entry, Lost):
            return _failure(expected, entry)
        if entry is None or entry.kept is None:
            return None
        found = unframe(self._stored(*entry.kept), replace(expected, encoding=entry.encoding))
        if isinstance(found, Reject | Failure) or content_of(found) != entry.sha256:
            why = found.message if isinstance(found, Reject) else "it is another answer than the one that counted"
            log.warning("the kept answer of %s cannot be read (%s); asking again", expected.client, why)
            self._entries[expected.key] = Accepted(entry.key, entry.sha256)
            return None
        return found

    def accept(self, expected: Assignment, reply: Reply, *, digest: str, frame: bytes | None) -> None:
        """Keep the answer if asked to, then record that it counts."""
        known = self._entries.get(expected.key)
        before = known.sha256 if isinstance(known, Accepted) else ""
        if isinstance(known, Accepted) and before == digest and (known.kept or not self.keeps):
            return
        if known is not None and before != digest:
            log.warning(
                "client %s answered differently in round %d than before the interruption; the new answer counts",
                expected.client,
                expected.round,
            )
        kept = self._store(expected, frame or encode(reply, expected.blocks)) if self.keeps else None
        encoding = Encoding.FLOAT32 if kept is None or frame is None else expected.encoding
        self._note(Accepted(expected.key, digest, kept, encoding))

    def lose(self, expected: Assignment, reject: Reject) -> None:
        """Record that a client was lost, even if its answer counted before an interruption and never came again."""
        if not isinstance(self._entries.get(expected.key), Lost):
            self._note(Lost(expected.key, reject.reason, reject.message))

    def commit(self, round: int, base: str, *, kept_from: int) -> int:
        """Record that a round is whole, forget its assignments, and return the journal's length.

        Args:
            round: The round after those that are whole.
            base: Digest of the weights that came out.
            kept_from: Answers of earlier rounds are no longer needed by any checkpoint.
        """
        self._write(Committed(round, base), durable=True)
        self._entries = {key: entry for key, entry in self._entries.items() if key.round >= round}
        for file in self._kept.glob("*.frames"):
            name = FRAMES.fullmatch(file.name)  # others are not ours to delete
            if name is not None and int(name[1]) < kept_from:
                file.unlink(missing_ok=True)
        return self.size

    def abandon(self, round: int, attempt: int, message: str) -> int:
        """Record that an attempt did not count, and return the journal's length."""
        self._write(Abandoned(round, attempt, message), durable=True)
        return self.size

    def _stored(self, file: str, start: int, length: int) -> bytes:
        path = self._kept / file
        return read_part(path, start, length) if path.is_file() else b""

    def _store(self, expected: Assignment, frame: bytes) -> tuple[str, int, int]:
        self._check()
        try:
            if not self._kept.exists():
                private_folder(self._kept)
                sync(self._path.parent)
        except OSError as error:
            raise StorageError(f"{self._kept} cannot be made: {error.strerror}") from error
        name = f"{expected.round:04d}-{expected.origin.attempt}-{expected.phase}.frames"
        start = append(self._kept / name, frame, durable=self._durable)
        return name, start, len(frame)

    def _note(self, record: Accepted | Lost) -> None:
        self._write(record)
        self._entries[record.key] = record

    def _write(self, record: Record, *, durable: bool = False) -> None:
        self._check()
        append(self._path, line_of(record), durable=durable or self._durable)


def _failure(expected: Assignment, lost: Lost) -> Failure:
    return Failure(expected.client, expected.round, expected.phase, lost.reason, lost.message, expected.origin)
