"""Handlers that worker processes make by name, and what they do on demand: for tests of engines."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Event
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

from fedstrata.client.handler import Handler
from fedstrata.client.resident import ResidentModel
from fedstrata.domain.seeds import Seeds
from fedstrata.engines.protocol import ClientHandler
from fedstrata.errors import ClientError, ConfigError
from fedstrata.wire.messages import MOST_ROWS, Evaluated, Reply, Request, Update
from memory_places import astray, move_module, moved_rows, shifted
from toys import toy_clients, toy_model

SIZES = {name: 6 + number for number, name in enumerate("abcdefgh")}


def toy_handler() -> Handler:
    """Return the handler that the toy recipe makes, for the same in this process."""
    torch.set_num_threads(1)
    return Handler(toy_model(dropout=0.2), toy_clients(SIZES, held_out=2), Seeds(0))


def toy(arguments: Mapping[str, Any]) -> ClientHandler:
    """Train toy clients, and do what a client's name says before its work."""
    return Moody(toy_handler())


def strict(arguments: Mapping[str, Any]) -> ClientHandler:
    """Fail on a model or a batch that does not lie in memory as torch has it, though both are loaded elsewhere."""
    made = toy_handler()
    clients = {c: replace(own, rows=moved_rows(own.rows, shifted)) for c, own in made.clients.items()}
    net, layers = made.model.module, made.model.layers
    move_module(net, shifted)
    net.register_forward_pre_hook(_refuse_astray, with_kwargs=True)
    return Handler(ResidentModel(net, layers), clients, made.seeds)


def _refuse_astray(module: nn.Module, inputs: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> None:
    if odd := astray([*module.parameters(), *module.buffers(), *inputs, *named.values()]):
        raise ClientError(f"tensors begin at {odd[0][0]} and have strides {odd[0][1]}")


def broken(arguments: Mapping[str, Any]) -> ClientHandler:
    """Refuse to start."""
    raise ConfigError("no model here")


def dying(arguments: Mapping[str, Any]) -> ClientHandler:
    """End the process before it is ready."""
    sys.stderr.write("the disk is on fire\n")
    sys.stderr.flush()
    os._exit(3)


def stuck(arguments: Mapping[str, Any]) -> ClientHandler:
    """Never be ready."""
    hang()
    raise AssertionError


@dataclass(frozen=True, slots=True)
class Moody:
    """Does what a client's name says, then the work of the client whose name ends it, such as ``hang:a``."""

    inner: ClientHandler

    def handle(self, request: Request) -> Reply:
        """Do what the name says."""
        mood, _, _ = request.client.partition(":")
        if mood in MOODS:
            return MOODS[mood](request)
        return self.inner.handle(request)


def hang() -> None:
    """Wait for what never comes, without using the processor."""
    Event().wait()


def spin() -> None:
    """Use the processor for ever."""
    while True:
        pass


def crash() -> None:
    """Die of a bad access."""
    os.kill(os.getpid(), signal.SIGSEGV)


def killed() -> None:
    """Die as the kernel's memory killer has it."""
    os.kill(os.getpid(), signal.SIGKILL)


def raises() -> None:
    """Run out of memory as Python says it."""
    raise MemoryError


def allocate() -> None:
    """Ask for more memory than the process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**36, most))
    try:
        torch.empty(2**38, dtype=torch.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def refuse() -> None:
    """Fail as a client fails."""
    raise ClientError("the loss became nan", reason="NONFINITE")


def leave() -> None:
    """End the process in good order."""
    sys.exit(7)


def spoil(request: Request) -> None:
    """Write into the weights that the server shares."""
    next(iter(request.weights.values())).fill_(0.0)


def orphan() -> None:
    """Leave a process behind that keeps the pipe open, and die."""
    if os.fork() == 0:
        hang()
    killed()


def _then_tell(act: Callable[[], object]) -> Callable[[Request], Reply]:
    def handle(request: Request) -> Reply:
        act()
        return _told(request, 0)

    return handle


def _spoil(request: Request) -> Reply:
    spoil(request)
    return _told(request, 0)


def _sum(request: Request) -> Reply:
    """Answer with the sum of the weights that are seen, in thousandths from a million on."""
    return _told(request, 10**6 + round(1e3 * sum(float(t.sum()) for t in request.weights.values())))


def _process(request: Request) -> Reply:
    return _told(request, os.getpid())


def _steady(request: Request) -> Reply:
    """Answer 1 if the weights stay as they are while the processor works for a fifth of a second."""
    before, end = _sum(request), process_time() + 0.2
    while process_time() < end:
        pass
    return _told(request, int(before == _sum(request)))


def _talk(request: Request) -> Reply:
    """Say something to whoever reads standard output."""
    sys.stdout.write(f"{request.client} speaks\n")
    sys.stdout.flush()
    return _told(request, 1)


def _strange(request: Request) -> Reply:
    """Answer a training with an update that holds nothing."""
    return Update(request.client, request.round, frozenset({1}), {}, 1, 1, 0.0, 0.0, 0.0)


def _told(request: Request, number: int) -> Evaluated:
    return Evaluated(request.client, request.round, 0.0, number, MOST_ROWS, request.origin)


MOODS: Mapping[str, Callable[[Request], Reply]] = {
    **{act.__name__: _then_tell(act) for act in (hang, spin, crash, killed, raises, allocate, refuse, leave, orphan)},
    "spoil": _spoil,
    "sum": _sum,
    "process": _process,
    "steady": _steady,
    "talk": _talk,
    "strange": _strange,
}
