"""The site's log of what leaves it: written before anything does, and if it cannot be written, nothing does.

``left.log`` has one line per message, in plain words; ``left.jsonl`` the same facts for programs. They also are the
site's memory: how much it has sent, in all runs together, and of each run under which name and which plans, whatever
becomes of its worker. A server that calls its run by another name is still the same server.

What is said of rows is a hash of them under a key of the site's own (``rows.key``): whoever gets the log, but not the
key, cannot use it to test guesses about rows.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fedstrata.deploy.site.limits import Past
from fedstrata.errors import StorageError
from fedstrata.files import append, private_folder, write_atomic, writing
from fedstrata.locks import Lock
from fedstrata.parsing.json_text import json_value
from fedstrata.wire.messages import Evaluate, Probe, Request, Train

LINES, FACTS, KEY = "left.log", "left.jsonl", "rows.key"
"""Names of the two files in the site's state folder, and of the key of hashes of rows."""
WORK = ("update", "statistics", "evaluation")
"""Kinds of messages that are computed from the site's rows; a failure on the way to one tells of the rows, too."""
_PATIENCE = 300.0  # seconds to wait for another process that writes
_MOST_TEXT = 2000


class AuditLog:
    """What has left a site, and what is about to.

    Args:
        state: The site's state folder.

    Example:
        >>> import tempfile
        >>> log = AuditLog(Path(tempfile.mkdtemp()))
        >>> log.tell("sent an update", {"run": "trial", "round": 3, "kind": "update", "client": "a"})
        >>> log.past("trial").updates, log.client("trial"), log.past("another").updates
        (1, 'a', 1)
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._sent: Counter[str] = Counter()
        self._clients: dict[str, str] = {}
        self._plans: dict[str, dict[tuple[int, int], str]] = {}
        self._rows: dict[str, str] = {}
        self._read = 0

    def tell(self, sentence: str, facts: Mapping[str, Any]) -> None:
        """Write down what leaves; both files have it, durably, or neither.

        Args:
            sentence: What leaves, in plain words.
            facts: The same for programs: ``run``, ``round`` (``None`` outside rounds), ``kind``, and what it holds.

        Raises:
            StorageError: It cannot be written, so nothing may leave.
        """
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        where = f"run {quoted(str(facts['run']))}"
        where += "" if facts.get("round") is None else f" round {facts['round']}"
        line = f"{now} {plain(where)}: {plain(sentence)}\n"
        record = json.dumps({"time": now, **facts}) + "\n"
        with writing(self._state):  # a TimeoutError of the lock is an OSError too
            private_folder(self._state)
            with Lock(self._state / "left.lock", within=_PATIENCE):
                self._append(line.encode(), record.encode())

    def past(self, run: str) -> Past:
        """Return what has left, and the plans of a run."""
        self._catch_up()
        sent = self._sent
        return Past(sent["update"], sent["statistics"], sent["evaluation"], self._plans.get(run, {}))

    def client(self, run: str) -> str | None:
        """Return the name under which work for a run has left, or ``None``."""
        self._catch_up()
        return self._clients.get(run)

    def rows(self, run: str) -> str | None:
        """Return the rows, as ``mark`` calls them, that the last message of a run told of, or ``None``."""
        self._catch_up()
        return self._rows.get(run)

    def mark(self, digest: str) -> str:
        """Return what the log calls rows of a content hash.

        Raises:
            StorageError: The site's key cannot be made or read.
        """
        path = self._state / KEY
        try:
            private_folder(self._state)
            if not path.exists():
                write_atomic(path, secrets.token_hex(32))
            return hmac.digest(path.read_bytes(), digest.encode(), "sha256").hex()
        except OSError as error:
            raise StorageError(f"{path} cannot be written or read: {error.strerror or error}") from error

    def _append(self, line: bytes, record: bytes) -> None:
        start = append(self._state / FACTS, record, durable=True)
        try:
            append(self._state / LINES, line, durable=True)
        except StorageError:
            os.truncate(self._state / FACTS, start)
            raise

    def _catch_up(self) -> None:
        """Read what was written since the last look, by this process or another."""
        try:
            with (self._state / FACTS).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._read:  # somebody emptied it
                    self._sent.clear()
                    self._clients.clear()
                    self._plans.clear()
                    self._rows.clear()
                    self._read = 0
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new.rpartition(b"\n")[0]
        self._read += len(whole) + bool(whole)
        for record in whole.splitlines():
            self._count(record)

    def _count(self, record: bytes) -> None:
        try:
            facts = json_value(record)
            run, kind, client = str(facts["run"]), str(facts["kind"]), facts.get("client")
            at, plan = (int(facts.get("round") or 0), int(facts.get("attempt") or 0)), facts.get("plan")
        except (AttributeError, KeyError, TypeError, ValueError):  # a line that somebody wrote by hand
            return
        if isinstance(mark := facts.get("rows_hash"), str):
            self._rows[run] = mark
        worked = _worked(kind, facts)
        self._sent.update(worked)
        if worked and isinstance(client, str):
            self._clients.setdefault(run, client)
        if "update" in worked and isinstance(plan, str):
            self._plans.setdefault(run, {})[at] = plan


def kinds_of(request: Request) -> list[str]:
    """Return the kinds of messages that a request asks for.

    Example:
        >>> from fedstrata.domain.ids import ClientId
        >>> kinds_of(Evaluate(ClientId("a"), 0, {}))
        ['evaluation']
    """
    match request:
        case Train():
            return ["update", *(["statistics"] if request.probe else [])]
        case Probe():
            return ["statistics"]
        case Evaluate():
            return ["evaluation"]


def _worked(kind: str, facts: Mapping[str, Any]) -> list[str]:
    """Return the kinds of messages that a line counts as."""
    if kind in WORK:
        return [kind, *(["statistics"] if kind == "update" and "statistics" in facts else [])]
    said = facts.get("worked")
    return [one for one in said if one in WORK] if kind == "failure" and isinstance(said, list) else []


def plain(text: str) -> str:
    r"""Return a text without what could move a cursor or forge a line.

    Example:
        >>> plain("a\nb\x1b[2J")
        'a b [2J'
    """
    return "".join(c if c.isprintable() else " " for c in text[:_MOST_TEXT])


def quoted(name: str) -> str:
    r"""Return a name from outside in quotes, escaped.

    Example:
        >>> quoted('my "run"\n')
        '"my \\"run\\" "'
    """
    return json.dumps(plain(name[:200]), ensure_ascii=False)
