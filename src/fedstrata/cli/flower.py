"""``fedstrata flower``: an app for a SuperLink, keys for its sites, and a trial of both on this machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedstrata.cli.options import Json, Quiet, Set
from fedstrata.errors import ConfigError, FedstrataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from fedstrata.config.load import Loaded
    from fedstrata.deploy.flower.trial import Trial

INTERRUPTED_BY_SIGNAL = 128
"""Exit codes from here on are signals'."""

flower = typer.Typer(name="flower", help="Runs over real sites, with Flower (pip install 'fedstrata\\[flower]').")


@flower.callback(no_args_is_help=True)
def verbs() -> None:
    """Runs over real sites, with Flower."""


@flower.command()
def up(
    config: Annotated[
        Path, typer.Argument(help="YAML file of a run with its rows here, or a trial's run to go on with.")
    ],
    sites: Annotated[int | None, typer.Option(min=1, help="Share the rows out to so many sites.")] = None,
    set: Set = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Play a run over a SuperLink with TLS and one SuperNode per client on this machine, and clean up behind it.

    Makes keys and certificates, starts everything on sockets that no other user can reach, follows the run, and stops
    what it started; nothing but the run folder is left.
    """
    from rich.console import Console

    from fedstrata.cli.over_flower import play_over_flower
    from fedstrata.cli.signals import ending_well
    from fedstrata.cli.terminal import say

    console = Console(stderr=True, highlight=False)

    def tell(line: str) -> None:
        if not quiet and not json:
            say(console, line)

    given = [*(set or []), *([f"data.partition.clients={sites}"] if sites else [])]
    begun = config if config.is_dir() else None
    with ending_well(), _trial(_loaded(config, [*given, "engine=local"]), tell) as (overrides, trial):
        over = _loaded(config, [*given, *overrides])
        try:
            code = play_over_flower(
                over, resume=begun, quiet=quiet or json, as_json=json, home=trial.home, again="flower up"
            )
        except FedstrataError:
            _say_why(trial, partial(say, console))
            raise
        if 0 < code < INTERRUPTED_BY_SIGNAL:
            _say_why(trial, partial(say, console))
    tell("the trial's SuperLink, SuperNodes and workers have ended; its keys and files are deleted")
    return code


@flower.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; it is made.")],
    name: Annotated[str | None, typer.Option(help="Name of the app; else the folder's, as Flower takes it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
) -> None:
    """Write a Flower app with a run, a site's file and a page of commands to fill in; nothing is fetched."""
    from fedstrata.deploy.flower.new_app import new_app

    called = new_app(folder, name=name, force=force)
    typer.echo(f"wrote the app {called} into {folder}: fill in run.yaml; README.md has the commands to a first round")


@flower.command()
def key(
    path: Annotated[Path, typer.Argument(help="File of the private key; PATH.pub is the public half.")],
) -> None:
    """Make a site's key pair; the server's operator gets the public half."""
    from fedstrata.deploy.flower.keys import make_site_key

    public = make_site_key(path)
    typer.echo(f"wrote {path} (stays at the site) and {public} (for the server's operator)")


@flower.command()
def certificates(
    folder: Annotated[Path, typer.Argument(help="Folder to write ca.crt, server.pem and server.key into.")],
    host: Annotated[list[str] | None, typer.Option(help="Name or address of the server; may be repeated.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How long they are valid.")] = 365,
) -> None:
    """Make a certificate for a server that has none, signed by an authority of its own."""
    from fedstrata.deploy.flower.keys import make_certificates

    if (folder / "server.key").exists():
        raise ConfigError(f"{folder} holds a certificate already; name another folder, or delete it")
    made = make_certificates(folder, tuple(host or ("localhost", "127.0.0.1")), days=days)
    typer.echo(f"wrote {made.certificate} and {made.key} (for the server) and {made.authority} (for every site)")


@flower.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def private(
    command: Annotated[
        list[str], typer.Argument(metavar="PROGRAM...", help="A program of Flower's and its arguments.")
    ],
    sockets: Annotated[
        Path, typer.Option(envvar="FEDSTRATA_SOCKETS", help="Folder of the sockets that stand for its ports.")
    ],
) -> None:
    """Run a program of Flower's on Unix sockets in place of ports, so that no other user of the machine reaches it."""
    from fedstrata.deploy.flower.inside import become

    become(command[0], command[1:], sockets)


def _say_why(trial: Trial, say: Callable[[str], None]) -> None:
    """Say what a trial's sites say of a run that failed, and keep what all of its processes said."""
    for line in trial.complaints():
        say(line)
    say(f"the logs of the trial's processes are kept in {trial.keep_logs()}")


def _loaded(path: Path, overrides: list[str]) -> Loaded:
    """Return the configuration of a new run, or of one that has begun."""
    from fedstrata.assembly.output import begun
    from fedstrata.config.load import load_config

    return begun(path, overrides)[0] if path.is_dir() else load_config(path, overrides)


def _trial(loaded: Loaded, tell: Callable[[str], None]) -> AbstractContextManager[tuple[list[str], Trial]]:
    from fedstrata.deploy.flower.trial_run import trial_of

    return trial_of(loaded, tell)
