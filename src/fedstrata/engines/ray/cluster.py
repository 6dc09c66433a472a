"""The cluster that this process speaks to: connected through the Ray node of this machine, and how much room it has."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from fedstrata.errors import ConfigError

AUTO = "auto"
"""The cluster that this machine is a node of, or that ``RAY_ADDRESS`` names."""


@dataclass(frozen=True, slots=True)
class Need:
    """What an actor or a task reserves on its node.

    Attributes:
        cores: Whole cores.
        gpus: GPUs; a fraction where several share one.
    """

    cores: int = 1
    gpus: float = 0.0

    def options(self) -> dict[str, float]:
        """Return it in Ray's words."""
        return {"num_cpus": self.cores, "num_gpus": self.gpus}

    def __str__(self) -> str:
        """Return it in words.

        Example:
            >>> str(Need(2, 0.5)), str(Need())
            ('2 cores and 0.5 GPUs', '1 core')
        """
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores} and {self.gpus:g} GPU{'' if self.gpus == 1 else 's'}" if self.gpus else cores


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection of this process to a cluster.

    Attributes:
        address: ``HOST:PORT`` of the cluster.
        ours: Whether we made it, and so have to end it.
    """

    address: str
    ours: bool

    def close(self) -> None:
        """Leave the cluster, whose actors of ours end with it; one that the program itself made stays."""
        if self.ours and ray.is_initialized():
            ray.shutdown()


def connect(address: str) -> Connection:
    """Connect this process to a cluster; nothing is started, and nothing listens beyond what Ray's node does already.

    Args:
        address: ``HOST:PORT``, or ``auto``.

    Raises:
        ConfigError: No cluster answers there, or this process speaks to another one.
    """
    if ray.is_initialized():
        there = str(ray.get_runtime_context().gcs_address)
        if address not in (AUTO, there):
            raise ConfigError(
                f"this program is connected to the Ray cluster at {there}, and the run names {address}; "
                "disconnect with ray.shutdown(), or name that one"
            )
        return Connection(there, ours=False)
    try:
        with _own_signals(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"ray\.")
            ray.init(
                address=address,
                namespace=f"fedstrata-{secrets.token_hex(8)}",  # our actors are nobody else's to find
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        words = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"no Ray cluster answers at {address} from this machine: {words}; start one with: ray start --head, "
            "join this machine to it with: ray start --address HOST:PORT, and name HOST:PORT"
        ) from error
    return Connection(str(ray.get_runtime_context().gcs_address), ours=True)


def room(need: Need) -> int:
    """Return how many actors of such a need fit on the nodes that are alive, each on one node.

    Raises:
        ConfigError: None does.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    found = sum(_fit(node.get("CPU", 0.0), node.get("GPU", 0.0), need) for node in nodes)
    if not found:
        has = "; ".join(f"{n.get('CPU', 0.0):g} cores and {n.get('GPU', 0.0):g} GPUs" for n in nodes[:5])
        raise ConfigError(
            f"no node of the Ray cluster has {need} for an actor ({len(nodes)} nodes: {has}); "
            "set threads or ray.gpus lower, or start nodes with more (ray start --num-cpus N --num-gpus N)"
        )
    return found


def _fit(cores: float, gpus: float, need: Need) -> int:
    """Return how many needs one node meets.

    Example:
        >>> _fit(8.0, 1.0, Need(2)), _fit(8.0, 1.0, Need(2, 0.5)), _fit(8.0, 0.0, Need(1, 1.0))
        (4, 2, 0)
    """
    by_cores = int(cores / need.cores)
    return min(by_cores, int(gpus / need.gpus + 1e-9)) if need.gpus else by_cores


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put this process's own answer to ``SIGTERM`` back, which Ray replaces by its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
