"""The server's ServerApp: joins the sites, then plays the run with the same round loop as every engine.

Settings of the app (``[tool.flwr.app.config]``, or ``flwr run --run-config``):

    config   the run's configuration, in the app's folder or by its whole path
    output   the run folder; empty takes the configuration's
    resume   a run folder to go on with, instead of starting one
    keys     folder of the sites' public keys, for a run that goes on with others than it began with
    channel     a folder through which 'fedstrata run --engine flower' follows the run; empty for none
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedstrata.assembly.finish import finish
from fedstrata.assembly.opened import OpenedRun
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import open_run, reopen
from fedstrata.blame import own_code
from fedstrata.config.load import load_config
from fedstrata.deploy.flower.app import SETTINGS
from fedstrata.deploy.flower.control_channel import ControlChannel, Result
from fedstrata.deploy.flower.run_spec import run_spec
from fedstrata.deploy.flower.site_status import STATUS
from fedstrata.deploy.flower.sites import SiteBook, name_of, roster
from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.engine import FlowerEngine
from fedstrata.engines.flower.join import Joined, join
from fedstrata.engines.flower.roster import Roster
from fedstrata.errors import INTERRUPTED, ConfigError, FedstrataError, TrainingError
from fedstrata.report.progress import PlainProgress
from fedstrata.wire.declaration import Declaration


def server_app(file: str) -> ServerApp:
    """Return the ServerApp of a run.

    Args:
        file: ``__file__`` of the app's own module: the configuration is looked for in the folder above its package.

    Example:
        ``tests/deploy/flower/test_server.py`` runs one on a grid in memory.
    """
    app, folder = ServerApp(), Path(file).resolve().parent.parent

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        serve(grid, {**SETTINGS, **context.run_config}, folder)

    return app


def serve(grid: Grid, settings: Mapping[str, Any], folder: Path) -> None:
    """Play a run over a grid and say how it ended.

    Args:
        grid: Flower's.
        settings: As described above.
        folder: What a relative ``config`` starts from.

    Raises:
        FedstrataError: The run failed; whole rounds are saved.
    """
    channel = ControlChannel(Path(str(settings["channel"])) if settings["channel"] else None)
    try:
        result = _play(grid, settings, folder, channel)
    except FedstrataError as error:
        channel.say(f"fedstrata: {error}")
        channel.finish(Result(error.exit_code, str(error)))
        raise
    except BaseException as error:
        own = own_code(error)
        channel.finish(Result(own[1], own[0]) if own else Result(1, f"{type(error).__name__}: {error}"))
        raise
    channel.finish(result)


def _play(grid: Grid, settings: Mapping[str, Any], folder: Path, channel: ControlChannel) -> Result:
    resumed = bool(settings["resume"])
    opened = _opened(settings, folder)
    sites, book = roster(opened.loaded), SiteBook(_name(opened))
    said = {"run": book.run, "run_spec": run_spec(opened.loaded, opened.place.data.labels)}
    channel.say(f"waiting for {len(sites.names)} sites: {', '.join(sites.names[:8])}{', ...' * (len(sites.names) > 8)}")
    timeout = opened.loaded.config.flower.join_timeout
    joined = join(grid, sites, said=said, note=book, tell=channel.say, timeout=timeout)
    _enough(opened, joined.declarations, joined.refused)
    prepared = opened.prepare(joined.declarations)
    _open_book(book, prepared, sites, joined)
    for note in prepared.notes:
        channel.say(f"note: {note}")
    channel.say(f"run folder: {prepared.folder.path.resolve()}")
    engine = FlowerEngine(
        grid,
        sites,
        prepared.resident.layers,
        held={name: word.holds for name, word in joined.declarations.items()},
        said=said,
        note=book,
        patience=opened.loaded.config.flower.patience,
    )
    run = prepared.run(observer=PlainProgress(channel.say), stop=channel.stop_wanted, engine=engine)
    ended = run.resume(prepared.weights) if resumed else run.start(prepared.weights)
    finish(prepared, ended)
    code = INTERRUPTED if ended.state == "interrupted" else 0
    return Result(code, folder=str(ended.folder.resolve()), state=ended.state)


def _opened(settings: Mapping[str, Any], folder: Path) -> OpenedRun:
    """Return the run that the settings name, opened to start or to go on."""
    if settings["resume"]:
        keys = [f"flower.sites={settings['keys']}"] if settings["keys"] else []
        return reopen(Path(str(settings["resume"])), ["engine=flower", *keys])
    path = folder / str(settings["config"])
    if not path.is_file():
        raise ConfigError(f"the app's setting 'config' names {path}, which is not there; put the configuration there")
    overrides = ["engine=flower", *([f"output={settings['output']}"] if settings["output"] else [])]
    return open_run(load_config(path, overrides))


def _name(opened: OpenedRun) -> str:
    """Return what sites call the run: one that goes on keeps its name, if it was played over Flower before."""
    folder = opened.folder.path
    return name_of(folder) if opened.began and (folder / STATUS).exists() else secrets.token_hex(8)


def _enough(opened: OpenedRun, there: Mapping[ClientId, Declaration], refused: Mapping[ClientId, str]) -> None:
    """Begin only with as many sites as the configuration asks for.

    Raises:
        TrainingError: There are fewer.
    """
    needed = opened.loaded.config.flower.min_sites
    if len(there) < needed:
        name, why = next(iter(refused.items()))
        counted = f"{len(there)} of {len(there) + len(refused)} sites joined, flower.min_sites asks for {needed}"
        raise TrainingError(f"{counted}; first, {name}: {why}")


def _open_book(
    book: SiteBook,
    prepared: PreparedRun,
    sites: Roster,
    joined: Joined,
) -> None:
    for name, word in joined.declarations.items():
        budget = prepared.setting.profiles[name].budget if name in prepared.setting.profiles else None
        node = sites.node(name)
        book.about(
            name,
            node=str(node.id) if node else "",
            rows=word.num_examples,
            held_out=word.held_out,
            budget=str(budget) if budget else "not part of this run",
            refuses=list(word.refused),
            device=word.device,
            versions=dict(word.versions),
        )
    for name, why in joined.refused.items():
        book.about(name, absent=why)
    book.folder = prepared.folder.path
    book.write()
