"""The command line: one verb per file, heavy imports inside the verbs, one sentence and an exit code per error."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Annotated

import click
import typer

from fedstrata.blame import own_code
from fedstrata.cli.bench import bench
from fedstrata.cli.compare import compare
from fedstrata.cli.demo import demo
from fedstrata.cli.flower import flower
from fedstrata.cli.init import init
from fedstrata.cli.layers import layers
from fedstrata.cli.plan import plan
from fedstrata.cli.reach import out_of_memory, out_of_reach
from fedstrata.cli.report import report
from fedstrata.cli.resume import resume
from fedstrata.cli.run import run
from fedstrata.cli.signals import ended_by, ending_well
from fedstrata.cli.sites import sites
from fedstrata.cli.streams import forgiving, lost, open_all
from fedstrata.cli.sweep import sweep
from fedstrata.errors import INTERRUPTED, FedstrataError, StorageError

_OF_FLOWER = frozenset({"flwr", "cryptography", "httpx"})
"""Packages that come with the extra ``flower``."""

_SHORT = (
    "memory has run out; take smaller batches, fewer workers or a smaller model, or raise the limit ('ulimit -v' shows "
    "one of this shell); whole rounds are saved"
)

app = typer.Typer(
    name="fedstrata",
    help="Federated fine-tuning in which every client trains and ships only the layers worth its budget.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, init, layers, plan, run, resume, sweep, sites, report, compare):
    app.command(no_args_is_help=verb in (layers, plan, run, resume, sweep, report, compare))(verb)

app.add_typer(bench)
app.add_typer(flower)


def _version(value: bool) -> None:  # noqa: FBT001  typer's callback signature
    if value:
        from importlib.metadata import version

        typer.echo(f"fedstrata {version('fedstrata')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the verb."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    if not debug:
        handler.addFilter(_without_traceback)
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler])


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}: {error}", ()
    record.exc_info = record.exc_text = None
    return True


def main() -> None:
    """Run the command line, and exit with its code; a closed or full standard stream never stops what it does."""
    open_all()
    out, _ = forgiving()
    with ending_well():
        code = invoke(sys.argv[1:])
    sys.stdout.flush()
    if (why := lost(out)) is not None:
        code = _fail(why, code or StorageError.exit_code, sys.argv[1:])
    sys.exit(code)


def invoke(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors go to standard error as one sentence.

    ``--debug`` may stand before or after the verb.
    """
    if "--debug" in arguments:
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        code = app(arguments, prog_name="fedstrata", standalone_mode=False)
    except FedstrataError as error:
        return _fail(str(error), error.exit_code, arguments)
    except click.exceptions.Abort:
        return _fail("interrupted", INTERRUPTED, arguments)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED, arguments)
    except SystemExit as error:
        name = ended_by(error)
        if name is None:  # somebody's own code ends the process
            raise
        return _fail(f"ended by {name}", int(str(error.code)), arguments)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in _OF_FLOWER:
            return _fail("this needs Flower; install it with: pip install 'fedstrata[flower]'", 2, arguments)
        if out_of_memory(error):
            return _fail(f"{_SHORT} ({type(error).__name__}: {' '.join(str(error).split())[:200]})", 4, arguments)
        own = own_code(error)
        if own is not None:
            return _fail(own[0], own[1], arguments)
        out = out_of_reach(error)
        if out is not None:
            return _fail(out[0], out[1], arguments)
        hint = "this is a bug in fedstrata; run it again as 'fedstrata --debug ...' for the traceback and report it"
        return _fail(f"{type(error).__name__}: {error}\n{hint}", 1, arguments)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    for line in message.splitlines():
        sys.stderr.write(f"fedstrata: {line}\n")
    return code
