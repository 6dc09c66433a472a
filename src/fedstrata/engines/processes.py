"""The engine of worker processes on this machine: clients execute side by side, to the bits of one after the other.

Weights lie once in shared memory, and only blocks that changed are written to it. A request is a few numbers; its reply
comes back as a frame (``codec.py``), in shared memory too. A client takes its own process with it when it crashes, and
nobody else's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch

from fedstrata.domain.layers import LayerMap
from fedstrata.engines.clock import MONOTONIC, Clock, Deadline
from fedstrata.engines.workers.arena import Arena
from fedstrata.engines.workers.dispatch import Dispatch
from fedstrata.engines.workers.layout import Layout
from fedstrata.engines.workers.pool import Pool
from fedstrata.engines.workers.shared import shared_folder
from fedstrata.engines.workers.worker_spec import Recipe, WorkerSpec
from fedstrata.errors import ConfigError, TrainingError
from fedstrata.wire.messages import Failure, Frame, Request, Weights
from fedstrata.wire.sizes import Encoding, update_bytes

_FRAMING = 2**20  # bytes of a frame that are not deltas, generously


class ProcessEngine:
    """Has clients execute in worker processes, which start at once and are replaced when they end.

    Args:
        layers: All blocks; the trainable ones are shared.
        weights: Weights of the run, for types; nothing is kept of them.
        recipe: How a worker makes its handler.
        workers: Number of processes, 1 or more.
        device: Where clients compute; with ``cuda`` each worker sees one GPU.
        clock: The clock of deadlines.
        stall: Seconds without processor time after which a client at work counts as hung.
        start_timeout: Seconds in which a worker has to be ready.

    Raises:
        ConfigError: This system cannot hand descriptors to processes.
        TrainingError: The system starts no process.

    Example:
        ``tests/engines/test_processes.py`` makes one with a toy handler.
    """

    def __init__(
        self,
        layers: LayerMap,
        weights: Weights,
        recipe: Recipe,
        *,
        workers: int,
        device: str = "cpu",
        clock: Clock = MONOTONIC,
        stall: float = 10.0,
        start_timeout: float = 120.0,
    ) -> None:
        if os.name != "posix":
            raise ConfigError("engine: worker processes need Linux or macOS; use engine: local")
        layout = Layout.of(layers, weights)
        folder = shared_folder(layout.bytes + workers * (_largest_update(layout) + _FRAMING))
        self._clock, self._closed = clock, False
        self._arena = _arena(layout, folder)
        try:
            self._pool = Pool(
                WorkerSpec(layout, recipe, device),
                arena=self._arena,
                folder=folder,
                environments=environments(workers, device),
                stall=stall,
                start_timeout=start_timeout,
            )
        except BaseException:
            self._arena.close()
            raise

    @property
    def clock(self) -> Clock:
        """The clock of deadlines."""
        return self._clock

    @property
    def repeatable(self) -> bool:
        """Clients compute the same again from the same seeds, in whichever process."""
        return True

    @property
    def bytes_copied(self) -> int:
        """Bytes of weights that were ever written for workers to see."""
        return self._arena.bytes_copied

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that there are."""
        return self._pool.pids

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Frame | Failure]:
        """Yield one reply per request, in order: a frame of what the client said, or what befell its process.

        Clients at work at the deadline are ended. Closing the iterator early ends them too.

        Raises:
            TrainingError: Workers do not start, or the engine is closed.
        """
        if self._closed:
            raise TrainingError("the engine is closed; make another")
        return Dispatch(self._pool, self._arena, requests, deadline or Deadline(clock=self._clock)).replies()

    def close(self) -> None:
        """End the workers within seconds and give their memory back."""
        if not self._closed:
            self._closed = True
            self._pool.close()
            self._arena.close()


def environments(workers: int, device: str) -> list[Mapping[str, str]]:
    """Return what each worker's environment has beyond ours: with ``cuda`` one GPU each, in turn.

    Example:
        >>> environments(2, "cpu")
        [{}, {}]
    """
    if device != "cuda":
        return [{}] * workers
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    gpus = named or [str(index) for index in range(torch.cuda.device_count())]
    return [{"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if gpus else {} for place in range(workers)]


def _arena(layout: Layout, folder: Path) -> Arena:
    try:
        return Arena(layout, folder)
    except OSError as error:
        raise TrainingError(
            f"{folder} has no room for {layout.bytes:,} bytes of weights ({error.strerror}); "
            "free some, set TMPDIR to another folder, or use engine: local"
        ) from error


def _largest_update(layout: Layout) -> int:
    return max(update_bytes(layout.blocks, encoding) for encoding in Encoding)
