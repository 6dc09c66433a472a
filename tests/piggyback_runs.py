"""Runs in which probes piggyback: played round by round, with all that was asked, and prices that tell probes apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.prices import Prices
from fedstrata.domain.reasons import Reason
from fedstrata.domain.records import ClientRecord, RoundRecord
from fedstrata.domain.selection import ClientProfile
from fedstrata.engines.protocol import Engine
from fedstrata.runs.state import ServerState
from fedstrata.selectors.protocol import Selector
from fedstrata.server.observers import Quiet
from fedstrata.server.round import play_round
from fedstrata.server.run import initial_state
from fedstrata.server.setting import Setting
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.messages import Failure, Probe, Reply, Request, Train, phase_of
from small_runs import SIZES
from toy_runs import toy_engine, toy_setting
from toys import BLOCKS, toy_clients, toy_model

STATISTICS = 4 * BLOCKS
"""Bytes of one client's statistics: a float32 per layer."""
Loses = Callable[[Request], bool]


def nothing(_: Request) -> bool:
    return False


def noting(asked: list[Request], loses: Loses = nothing) -> Engine:
    """Return an engine that notes all requests and loses some."""
    inner = toy_engine(toy_model(), toy_clients(SIZES, held_out=3))

    def script(request: Request) -> Reply:
        asked.append(request)
        if loses(request):
            return Failure(
                request.client, request.round, phase_of(request), Reason.CLIENT_ERROR, "lost", request.origin
            )
        (reply,) = inner.send([request])
        return reply

    return ScriptedEngine(script)


@dataclass(frozen=True, slots=True)
class Played:
    """Rounds one by one: the states before each and after the last, the records, and what was asked."""

    setting: Setting
    states: list[ServerState]
    records: list[RoundRecord]
    asked: list[Request]

    def probed(self, round: int) -> list[str]:
        return [r.client for r in self.asked if isinstance(r, Probe) and r.round == round]

    def piggybacking(self, round: int) -> list[str]:
        return [r.client for r in self.asked if isinstance(r, Train) and r.round == round and r.probe is not None]

    def client(self, round: int, name: str) -> ClientRecord:
        return next(c for c in self.records[round].clients if c.client == name)


def play(setting: Setting, rounds: int, loses: Loses = nothing) -> Played:
    asked: list[Request] = []
    engine = noting(asked, loses)
    states, records = [initial_state(setting, toy_model().weights())], []
    for round in range(rounds):
        state, record = play_round(states[-1], setting, engine, Quiet(), last=round + 1 == rounds)
        states.append(state)
        records.append(record)
    return Played(setting, states, records, asked)


def piggybacking(selector: Selector, **options: object) -> Setting:
    clients = toy_clients(SIZES, held_out=3)
    return toy_setting(toy_model(), clients, selector=selector, **{"budget": 1, "piggyback": True, **options})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Tolled:
    """Prices of one unit of work per layer and ten per probe."""

    def prices(self, client: ClientId, visit: ClientRound) -> Prices:
        zeros, ones = np.zeros((2, BLOCKS)), np.ones((2, BLOCKS))
        return Prices(("layers", "flops"), np.array([0.0, 10.0 * visit.probes]), zeros, ones)


def tolled(setting: Setting, **budgets: float) -> Setting:
    """Return a setting with such prices and, for each client or ``rest``, a budget of work."""
    profiles = {
        c: ClientProfile(p.num_examples, Cost.limits(flops=budgets.get(c, budgets.get("rest", 100.0))))
        for c, p in setting.profiles.items()
    }
    return replace(setting, method=replace(setting.method, cost=Tolled()), profiles=profiles)


def in_training(*clients: str, round: int, attempts: int = 99) -> Loses:
    return lambda r: isinstance(r, Train) and r.client in clients and r.round == round and r.origin.attempt < attempts
