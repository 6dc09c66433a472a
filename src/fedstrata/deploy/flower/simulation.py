"""Flower's simulation (extra ``simulation``): Ray actors on one machine or a cluster, one virtual site per client.

The messages are those of a real deployment. An actor is any client, with the rows that the run's configuration gives
it, and keeps model and rows between messages, as a site's worker does (``host.py``).

Ray's services listen on ports that everybody on this machine reaches, and do what they are asked. They are started with
a token that each call has to carry, and with a folder that only this user can enter.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any, cast

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedstrata.assembly.engine import usual_workers
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.provenance import resolved
from fedstrata.deploy.flower.client import client_app
from fedstrata.deploy.flower.host import Place
from fedstrata.deploy.flower.run_spec import run_spec
from fedstrata.deploy.flower.sites import SiteBook
from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.engine import FlowerEngine
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.engines.flower.join import KIND, Joined, join
from fedstrata.engines.flower.roster import Node, Simulated, numbered
from fedstrata.engines.flower.transport import Transport
from fedstrata.engines.protocol import Engine
from fedstrata.errors import ConfigError, TrainingError

_START_TIMEOUT = 600.0  # seconds: actors import torch and load the model at the same time
_POLL = 0.02
_AUTHENTICATION = "RAY_AUTH_MODE"  # Ray reads it once, when it is imported
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_LONGEST_PLACE = 27  # bytes: Ray's own names below its folder have 80, and a socket's address ends at 107
_SHARED = "/tmp"


def simulate(prepared: PreparedRun, play: Callable[[Engine], Any]) -> Any:  # noqa: ANN401  what ``play`` returns
    """Play a run in Flower's simulation and return what ``play`` made of it.

    Args:
        prepared: The run.
        play: Is given the engine, inside Flower's ServerApp.

    Raises:
        ConfigError: Ray is not installed, or was imported with its services open to everybody.
        TrainingError: Flower's simulation broke down.
    """
    run_simulation = _run_simulation()
    outcome: dict[str, Any] = {}
    server = ServerApp()
    names = tuple(prepared.data.clients)
    broken = Event()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        outcome["result"] = play(_engine(cast(Grid, _EndingGrid(grid, broken)), prepared, names))

    with tempfile.TemporaryDirectory(prefix="fedstrata-simulation-") as folder, _rays_folder() as rays:
        states = str(prepared.folder.client_states.absolute())
        place = Place(folder, resolved(prepared.loaded), names, states)
        config = {
            "client_resources": {"num_cpus": prepared.loaded.config.threads, "num_gpus": _gpus(prepared)},
            "init_args": {
                "num_cpus": _processors(prepared),
                "include_dashboard": False,
                "log_to_driver": False,
                "_temp_dir": rays,
            },
        }
        try:
            with _quiet():
                run_simulation(server, client_app(serve=place.serve), len(names), backend_config=config)
        except RuntimeError as error:
            broken.set()
            raise TrainingError(f"Flower's simulation broke down: {error.__cause__ or error}") from error
    if "result" not in outcome:
        raise TrainingError("Flower's simulation ended before the run did; see its messages above")
    return outcome["result"]


class _EndingGrid:
    """A grid that raises an error once the simulation has broken down.

    Flower leaves the thread of the ServerApp alone then, and the program would not end while that waits for answers.

    Args:
        grid: Flower's.
        broken: Is set when the simulation has broken down.
    """

    def __init__(self, grid: Grid, broken: Event) -> None:
        self._grid, self._broken = grid, broken

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever a grid has
        if self._broken.is_set():
            raise TrainingError("Flower's simulation broke down")
        return getattr(self._grid, name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log lines and deprecation warnings of Flower and Ray."""

    def of_use(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING and "deprecated" not in record.getMessage().lower()

    flower = logging.getLogger("flwr")
    flower.addFilter(of_use)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"ray\.")
            yield
    finally:
        flower.removeFilter(of_use)


def _engine(grid: Grid, prepared: PreparedRun, names: Sequence[ClientId]) -> FlowerEngine:
    book = SiteBook(secrets.token_hex(8), prepared.folder.path)
    said = {"run": book.run, "run_spec": run_spec(prepared.loaded, prepared.data.labels)}
    sites = _who(grid, names, said)
    joined = join(grid, sites, said=said, note=book, tell=lambda line: None, timeout=_START_TIMEOUT, poll=_POLL)
    _all_there(joined)
    held = {name: word.holds for name, word in joined.declarations.items()}
    return FlowerEngine(grid, sites, prepared.resident.layers, held=held, said=said, note=book, poll=_POLL)


def _who(grid: Grid, names: Sequence[ClientId], said: Mapping[str, Any]) -> Simulated:
    """Ask each node which partition it is; in a simulation they are parts of this program and tell the truth."""
    end, transport = monotonic() + _START_TIMEOUT, Transport(grid)
    nodes: dict[int, int] = {}
    asked: set[int] = set()
    while len(nodes) < len(names):
        for number in set(grid.get_node_ids()) - asked:  # they appear after the ServerApp has begun
            transport.send(ClientId(str(number)), Node(number), KIND, Envelope({**said, "kind": "who"}, {}), ttl=None)
            asked.add(number)
        for sent, answer in transport.receive():
            if not isinstance(answer, Envelope):
                raise TrainingError(f"a node of Flower's simulation does not start: {answer.why}")
            nodes[int(answer.said["partition"])] = sent.node.id
        if monotonic() > end:
            raise TrainingError(f"{len(nodes)} of {len(names)} nodes of Flower's simulation started in time")
        sleep(_POLL)
    return numbered(names, nodes)


def _all_there(joined: Joined) -> None:
    if joined.refused:
        name, why = next(iter(joined.refused.items()))
        raise TrainingError(f"client {name} does not start: {why}")


def _run_simulation() -> Callable[..., None]:
    """Return Flower's function, after Ray was told to take calls with a token alone."""
    if "ray" in sys.modules and _AUTHENTICATION not in os.environ:
        raise ConfigError(
            "engine: flower-simulation: Ray was imported before, with services that every user of this machine could"
            " have run programs; import it later, or set RAY_AUTH_MODE=token before Python starts"
        )
    os.environ.setdefault(_AUTHENTICATION, "token")
    if not any(name in os.environ for name in _TOKENS):
        os.environ[_TOKENS[0]] = secrets.token_hex(32)  # for the life of this process, since Ray keeps the first
    try:
        import ray  # noqa: F401
        from flwr.simulation import run_simulation
    except ImportError as error:
        raise ConfigError(
            "engine: flower-simulation needs Ray; install it with: pip install 'fedstrata[simulation]'"
        ) from error
    return run_simulation


@contextmanager
def _rays_folder() -> Iterator[str]:
    """Make a folder for Ray within one that is closed to others: Ray opens its own to every user."""
    usual = tempfile.gettempdir()
    place = usual if len(os.fsencode(usual)) <= _LONGEST_PLACE else _SHARED
    with tempfile.TemporaryDirectory(prefix="fs-", dir=place, ignore_cleanup_errors=True) as closed:
        yield str(Path(closed) / "ray")


def _processors(prepared: PreparedRun) -> int:
    config = prepared.loaded.config
    return usual_workers("cpu", config.threads) * config.threads


def _gpus(prepared: PreparedRun) -> float:
    return 1.0 if prepared.resident.device.type == "cuda" else 0.0
