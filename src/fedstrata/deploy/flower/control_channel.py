"""What a run's server and the command that started it tell each other: a folder that both see.

said.log     lines for people, as they come
result.json  how the run ended: an exit code, and a sentence or the run folder
stop         made by the command: end after this round
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstrata.errors import StorageError
from fedstrata.files import append, write_atomic, write_private, writing


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        code: Exit code, as of ``fedstrata run``.
        message: One sentence where it failed.
        folder: The run folder, if there is one.
        state: ``finished`` or ``interrupted``; empty where it failed.
    """

    code: int
    message: str = ""
    folder: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class ControlChannel:
    """The folder.

    Attributes:
        path: Where it is; ``None`` on a server that nobody watches from there.

    Example:
        >>> ControlChannel(None).stop_wanted()
        False
    """

    path: Path | None

    def say(self, line: str) -> None:
        """Write a line to the server's log and to the command that follows the run; its absence ends no run."""
        line = line.encode(errors="replace").decode()  # a path may hold half a letter
        print(line, flush=True)  # noqa: T201  Flower sends what its ServerApp prints to 'flwr log'
        folder = self._watched
        if folder is not None:
            with suppress(StorageError):
                append(folder / "said.log", f"{line}\n".encode(), durable=False)

    def finish(self, result: Result) -> None:
        """Say how the run ended; said once, last.

        Raises:
            StorageError: Somebody watches, and it cannot be written.
        """
        folder = self._watched
        if folder is None:
            return
        said = {name: getattr(result, name) for name in Result.__dataclass_fields__}
        with writing(folder / "result.json"):
            write_atomic(folder / "result.json", json.dumps(said))

    def stop_wanted(self) -> bool:
        """Return whether the run is to end after this round."""
        return self.path is not None and (self.path / "stop").exists()

    def ask_to_stop(self) -> None:
        """Have the run end after its round."""
        if self.path is not None:
            write_private(self.path / "stop", "")

    def heard(self, start: int) -> tuple[str, int]:
        """Return what was said behind a place, and the next place."""
        file = None if self.path is None else self.path / "said.log"
        if file is None or not file.exists():
            return "", start
        with file.open("rb") as lines:
            lines.seek(start)
            whole, end, _ = lines.read().rpartition(b"\n")
        return whole.decode(errors="replace"), start + len(whole) + len(end)

    def result(self) -> Result | None:
        """Return how the run ended, once it has."""
        file = None if self.path is None else self.path / "result.json"
        if file is None or not file.exists():
            return None
        said: dict[str, Any] = json.loads(file.read_text())
        return Result(**said)

    @property
    def _watched(self) -> Path | None:
        """The folder while it is there; the command that made it deletes it when it stops following."""
        return self.path if self.path is not None and self.path.is_dir() else None
