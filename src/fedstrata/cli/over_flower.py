"""Playing a run over Flower from a terminal: hand it to the SuperLink, follow it, stop it, say what came out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from fedstrata.assembly.output import output_folder
from fedstrata.cli.session import say_the_last
from fedstrata.cli.signals import StopFlag, finishing_the_round
from fedstrata.cli.terminal import say
from fedstrata.config.load import Loaded
from fedstrata.deploy.flower.control_channel import Result
from fedstrata.deploy.flower.launch import Launched, launched
from fedstrata.deploy.flower.services import Home
from fedstrata.deploy.flower.sites import roster
from fedstrata.errors import INTERRUPTED
from fedstrata.files import argument
from fedstrata.server.run import RunResult


def play_over_flower(
    loaded: Loaded,
    *,
    resume: Path | None,
    quiet: bool,
    as_json: bool,
    home: Home | None = None,
    again: str = "resume",
) -> int:
    """Play a run on a SuperLink of this machine to its end or to Ctrl-C, and return the exit code.

    Args:
        loaded: The run's configuration.
        resume: A run folder to go on with.
        quiet: Whether to say the last line alone.
        as_json: Whether to print the summary as JSON.
        home: Where the ``flwr`` command finds the SuperLink; ``None`` for the user's own.
        again: The verb that goes on with the run if it is interrupted.

    Raises:
        FedstrataError: The configuration does not fit, or Flower does not take or end the run as it should.
    """
    console = Console(stderr=True, highlight=False)
    roster(loaded)  # what is wrong with the keys is said here, not by a server
    folder = resume or output_folder(loaded).path
    heard: list[str] = []

    def tell(line: str) -> None:
        heard.append(line)
        if not quiet:
            say(console, line)

    stop = StopFlag()
    with launched(loaded, folder, resume=bool(resume), home=home) as run, finishing_the_round(stop, console):
        tell(f"Flower takes it as run {run.number}")
        result = _followed(run, tell, stop, console)
    if result is None:
        say(console, f"stopped; go on with: fedstrata {again} {argument(folder)}")
        return stop.code
    code = stop.code if result.code == INTERRUPTED else result.code
    if not result.folder:
        if quiet:
            say(console, f"fedstrata: {result.message}")
        return code
    folder = Path(result.folder)
    summary = json.loads((folder / "summary.json").read_text())
    say_the_last(RunResult(folder, result.state, summary, {}), as_json=as_json, again=again)
    return code


def _followed(run: Launched, tell: Callable[[str], None], stop: StopFlag, console: Console) -> Result | None:
    try:
        return run.follow(tell, stop)
    except KeyboardInterrupt:
        say(console, "stopping at once")
        run.stop()
        return None
