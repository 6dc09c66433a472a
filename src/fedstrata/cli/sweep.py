"""``fedstrata sweep``: methods, budgets and seeds of one file as runs, resumable, and one table of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedstrata.cli.options import Quiet, Set

if TYPE_CHECKING:
    from fedstrata.config.load import Loaded
    from fedstrata.sweeping.jobs import Job, Sweep
    from fedstrata.sweeping.run import SweepResult

FAILED = 4
"""Exit code of a sweep in which a run has failed; the others are done."""

Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="METHOD", help="Only this method; * and ? match, may be repeated.")
]

Seeds = Annotated[list[int] | None, typer.Option("--seed", metavar="N", help="Only this seed; may be repeated.")]

Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="Each run is a task of this Ray cluster: auto, or HOST:PORT."),
]


def sweep(
    file: Annotated[Path, typer.Argument(help="YAML file of the sweep.")],
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", min=1, help="Runs at the same time.")] = None,
    only: Only = None,
    seed: Seeds = None,
    set: Set = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the runs, instead of the file's.")] = None,
    redo: Annotated[bool, typer.Option("--redo", help="Play anew what has changed.")] = False,
    cluster: Cluster = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs, and play none.")] = False,
    commands: Annotated[bool, typer.Option("--commands", help="Print a command for each run, and play none.")] = False,
    run: Annotated[str | None, typer.Option("--run", metavar="NAME", help="Play this one run, here.")] = None,
    quiet: Quiet = False,
) -> int:
    """Play every method under its budgets with every seed; runs that have finished are not played again.

    Ctrl-C once finishes the rounds at work and saves; the same command goes on from there.
    """
    from fedstrata.sweeping.jobs import load_sweep

    planned = load_sweep(file, overrides=set or [], output=out, clients=_clients)
    chosen = planned.chosen(only or [], seed or [])
    if commands or run is not None:
        return _single(planned, run, redo=redo, quiet=quiet) if run else _print_commands(planned, chosen, set or [])
    from rich.console import Console

    from fedstrata.cli.signals import StopFlag, finishing_the_round
    from fedstrata.cli.sweep_progress import observer_of
    from fedstrata.cli.terminal import say
    from fedstrata.sweeping.changed_inputs import Present
    from fedstrata.sweeping.run import play_sweep
    from fedstrata.sweeping.run_status import standing

    console = Console(stderr=True, highlight=False)
    if dry_run or not quiet:
        say(console, _plan(planned, len(chosen)))
    if planned.spared is not None:
        why = "values are overridden" if set else "runs go to another folder"
        say(console, f"note: {why}, so {planned.spared} is left alone")
    if dry_run:
        present = Present()
        for job in chosen:
            typer.echo(f"{standing(job, present)[0]:<8}  {job.title}  {job.folder}")
        return 0
    stop = StopFlag()
    with finishing_the_round(stop, console):
        try:
            result = play_sweep(
                planned,
                workers=workers,
                cluster=_address(cluster),
                only=only or [],
                seeds=seed or [],
                redo=redo,
                observer=observer_of(console, quiet=quiet),
                stop=stop,
            )
        except KeyboardInterrupt:
            say(console, "stopped; the same command goes on")
            return stop.code
    return _last_words(result, stopped=stop.code if stop.wanted else 0)


def _print_commands(planned: Sweep, chosen: Sequence[Job], overrides: Sequence[str]) -> int:
    """Print a command for each run that has not finished."""
    from fedstrata.sweeping.changed_inputs import Present
    from fedstrata.sweeping.run_status import Standing, standing
    from fedstrata.sweeping.single import commands

    present = Present()
    todo = [job for job in chosen if standing(job, present)[0] is not Standing.FINISHED]
    for line in commands(planned, todo, overrides):
        typer.echo(line)
    return 0


def _single(planned: Sweep, name: str, *, redo: bool, quiet: bool) -> int:
    """Play one run here."""
    from rich.console import Console

    from fedstrata.cli.signals import StopFlag, finishing_the_round
    from fedstrata.cli.terminal import say
    from fedstrata.sweeping.single import job_of, play_single

    console, stop = Console(stderr=True, highlight=False), StopFlag()
    job = job_of(planned, name)

    def tell(rounds: int) -> None:
        if not quiet:
            say(console, f"{job.title}  round {rounds}/{job.rounds}")

    with finishing_the_round(stop, console):
        try:
            state = play_single(planned, name, redo=redo, stop=stop, tell=tell)
        except KeyboardInterrupt:
            say(console, "stopped; the same command goes on")
            return stop.code
    typer.echo(f"{state}: {job.folder}")
    return stop.code if state == "interrupted" else 0


def _address(cluster: str | None) -> str | None:
    from fedstrata.config.ray import cluster_address
    from fedstrata.errors import ConfigError

    try:
        return None if cluster is None else cluster_address(cluster)
    except ValueError as error:
        raise ConfigError(f"--cluster {error}") from error


def _clients(loaded: Loaded) -> tuple[str, ...]:
    """Return the names of a configuration's clients, whose data is read for it."""
    from fedstrata.sweeping.run import clients_of

    return clients_of(loaded)


def _plan(planned: Sweep, runs: int) -> str:
    """Return what is going to be played, in a line."""
    methods = dict.fromkeys(job.cell.method for job in planned.jobs)
    budgets = dict.fromkeys(job.cell.budget for job in planned.jobs)
    chosen = "" if runs == len(planned.jobs) else f", {runs} of them chosen"
    return (
        f"{planned.row} ({planned.size}): {len(planned.jobs)} runs: {len(methods)} methods, "
        f"{len(budgets)} budgets, {len(planned.seeds)} seeds{chosen}; in {planned.output}"
    )


def _last_words(result: SweepResult, *, stopped: int) -> int:
    """Say what is done, what has failed and why, and what is left; return the exit code."""
    for folder, why in result.failures.items():
        typer.echo(f"failed: {folder}: {why}", err=True)
    counts = [f"{len(result.outcomes)} lines"]
    counts += [f"{len(result.failures)} runs failed"] if result.failures else []
    counts += [f"{result.left} runs left; the same command goes on"] if result.left else []
    typer.echo(f"results: {' and '.join(map(str, result.tables))}   ({', '.join(counts)})")
    if stopped and result.left:
        return stopped
    return FAILED if result.failures else 0
