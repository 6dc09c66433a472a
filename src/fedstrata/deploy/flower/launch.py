"""Starting a run on a SuperLink of this machine, following it, and ending with its exit code."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from fedstrata.assembly.provenance import resolved
from fedstrata.config.load import Loaded
from fedstrata.deploy.flower.app import SETTINGS, write_app
from fedstrata.deploy.flower.control_channel import ControlChannel, Result
from fedstrata.deploy.flower.services import Home, flwr, flwr_json
from fedstrata.errors import TrainingError
from fedstrata.files import argument, private_folder, write_private
from fedstrata.parsing.paths import expanded

_POLL = 0.2
_LOOK = 10.0  # seconds between two questions whether Flower still has the run going
_PATIENCE = 60.0  # seconds in which the last word may come after Flower says that a run has ended


@dataclass(frozen=True, slots=True)
class Launched:
    """A run that was handed to a SuperLink.

    Attributes:
        number: Flower's number of it.
        channel: What its server says.
        folder: The run folder that it writes.
        superlink: Name of the connection; ``None`` for Flower's default.
        home: Where the ``flwr`` command finds it.
    """

    number: str
    channel: ControlChannel
    folder: Path
    superlink: str | None
    home: Home | None

    def follow(self, say: Callable[[str], None], stop: Callable[[], bool] = lambda: False) -> Result:
        """Pass on what the server says until the run has ended, and return how.

        Args:
            say: Is told each line.
            stop: Asked again and again; true has the run end after its round.

        Raises:
            TrainingError: Flower ended the run, or its SuperLink is gone.
        """
        place, looked, asked = 0, monotonic(), False
        while True:
            text, place = self.channel.heard(place)
            for line in text.splitlines():
                say(line)
            if (result := self.channel.result()) is not None:
                return result
            if stop() and not asked:
                self.channel.ask_to_stop()
                asked = True
            if monotonic() - looked > _LOOK:
                self._still_there()
                looked = monotonic()
            sleep(_POLL)

    def stop(self) -> None:
        """Have Flower end the run at once; whole rounds are saved."""
        flwr(["stop", self.number, *self._where], home=self.home)

    @property
    def _where(self) -> list[str]:
        return [self.superlink] if self.superlink else []

    def _still_there(self) -> None:
        try:
            said = flwr_json(["list", *self._where, "--run-id", self.number], home=self.home)
        except TrainingError as error:
            advice = f"whole rounds are saved; when it is back, go on with: fedstrata resume {argument(self.folder)}"
            raise TrainingError(f"the SuperLink does not answer ({error}); {advice}") from error
        status = next((run["status"] for run in said.get("runs", []) if run["run-id"] == self.number), "unknown")
        if not status.startswith("finished"):
            return
        end = monotonic() + _PATIENCE
        while self.channel.result() is None:
            if monotonic() > end:
                why = f"{status}: {said['runs'][0].get('status-details', '')}"
                advice = f"see: flwr log {self.number}; go on with: fedstrata resume {argument(self.folder)}"
                raise TrainingError(f"Flower ended run {self.number} ({why}); {advice}")
            sleep(_POLL)


@contextmanager
def launched(loaded: Loaded, folder: Path, *, resume: bool = False, home: Home | None = None) -> Iterator[Launched]:
    """Hand a run to a SuperLink; its app's folder and the channel are gone afterwards.

    Args:
        loaded: The run's configuration.
        folder: The run folder.
        resume: Whether it is that of a run that has begun, to go on with.
        home: Where the ``flwr`` command finds the SuperLink; ``None`` for the user's own.

    Raises:
        TrainingError: Flower does not take it.
    """
    beside = home.path.parent if home else None  # a trial's folder is cleared even where this process is killed
    place = Path(tempfile.mkdtemp(prefix="fedstrata-app-", dir=beside))
    try:
        app, channel = place / "app", place / "channel"
        private_folder(channel)
        settings = {
            **SETTINGS,
            "config": str(channel / "run.yaml"),  # beside the app: what is in it goes to every site
            "resume" if resume else "output": str(folder.resolve()),
            "keys": _keys(loaded) if resume else "",
            "channel": str(channel),
        }
        write_app(app, settings)
        write_private(channel / "run.yaml", resolved(loaded))
        superlink = loaded.config.flower.superlink
        where = [superlink] if superlink else []
        said = flwr_json(["run", str(app), *where], home=home)
        yield Launched(str(said["run-id"]), ControlChannel(channel), folder, superlink, home)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _keys(loaded: Loaded) -> str:
    """Return the folder of the sites' keys, if the configuration names one."""
    given = loaded.config.flower.sites
    return str((loaded.base / expanded(given)).resolve()) if isinstance(given, str) else ""
