"""Flower's simulation (extra ``simulation``): Ray actors on one machine or a cluster, one virtual site per client.

The messages are those of a real deployment. An actor is any client, with the rows that the run's configuration gives
it, and keeps model and rows between messages, as a site's worker does (``host.py``).
"""

from __future__ import annotations

import logging
import secrets
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedstrata.config.build import PreparedRun
from fedstrata.config.engine import usual_workers
from fedstrata.config.provenance import resolved
from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.engine import FlowerEngine
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.engines.flower.join import KIND, Joined, join
from fedstrata.engines.flower.post import Post
from fedstrata.engines.flower.roster import Node, Simulated, numbered
from fedstrata.engines.protocol import Engine
from fedstrata.errors import ConfigError, TrainingError
from fedstrata.flower.briefing import briefing
from fedstrata.flower.client import client_app
from fedstrata.flower.host import Place
from fedstrata.flower.sites import SiteBook

_START_TIMEOUT = 600.0  # seconds: actors import torch and load the model at the same time
_POLL = 0.02


def simulate(prepared: PreparedRun, play: Callable[[Engine], Any]) -> Any:  # noqa: ANN401  what ``play`` returns
    """Play a run in Flower's simulation and return what ``play`` made of it.

    Args:
        prepared: The run.
        play: Is given the engine, inside Flower's ServerApp.

    Raises:
        ConfigError: Ray is not installed.
        TrainingError: Flower's simulation broke down.
    """
    run_simulation = _run_simulation()
    outcome: dict[str, Any] = {}
    server = ServerApp()
    names = tuple(prepared.data.clients)

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        outcome["result"] = play(_engine(grid, prepared, names))

    with tempfile.TemporaryDirectory(prefix="fedstrata-simulation-") as folder:
        place = Place(folder, resolved(prepared.loaded), names)
        config = {
            "client_resources": {"num_cpus": prepared.loaded.config.threads, "num_gpus": _gpus(prepared)},
            "init_args": {"num_cpus": _processors(prepared), "include_dashboard": False, "log_to_driver": False},
        }
        try:
            with _quiet():
                run_simulation(server, client_app(serve=place.serve), len(names), backend_config=config)
        except RuntimeError as error:
            raise TrainingError(f"Flower's simulation broke down: {error.__cause__ or error}") from error
    if "result" not in outcome:
        raise TrainingError("Flower's simulation ended before the run did; see its messages above")
    return outcome["result"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the user what Flower and Ray say of their insides, and of their future to those who call them."""

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
    said = {"run": book.run, "briefing": briefing(prepared.loaded, prepared.data.labels)}
    sites = _who(grid, names, said)
    joined = join(grid, sites, said=said, note=book, tell=lambda line: None, timeout=_START_TIMEOUT, poll=_POLL)
    _all_there(joined)
    held = {name: word.holds for name, word in joined.declarations.items()}
    return FlowerEngine(grid, sites, prepared.resident.layers, held=held, said=said, note=book, poll=_POLL)


def _who(grid: Grid, names: Sequence[ClientId], said: Mapping[str, Any]) -> Simulated:
    """Ask each node which partition it is; in a simulation they are parts of this program and tell the truth."""
    end, post = monotonic() + _START_TIMEOUT, Post(grid)
    nodes: dict[int, int] = {}
    asked: set[int] = set()
    while len(nodes) < len(names):
        for number in set(grid.get_node_ids()) - asked:  # they appear after the ServerApp has begun
            post.send(ClientId(str(number)), Node(number), KIND, Envelope({**said, "kind": "who"}, {}), ttl=None)
            asked.add(number)
        for sent, answer in post.receive():
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
    try:
        import ray  # noqa: F401
        from flwr.simulation import run_simulation
    except ImportError as error:
        raise ConfigError(
            "engine: flower-simulation needs Ray; install it with: pip install 'fedstrata[simulation]'"
        ) from error
    return run_simulation


def _processors(prepared: PreparedRun) -> int:
    config = prepared.loaded.config
    return usual_workers("cpu", config.threads) * config.threads


def _gpus(prepared: PreparedRun) -> float:
    return 1.0 if prepared.resident.device.type == "cuda" else 0.0
