"""What a selector will cost: its rounds are played without training.

While nobody has been probed, masks are the run's own, and so are the bytes of layers that clients lack. From the first
probe on, masks depend on scores that only training tells; every client-round is then between the cheapest and the
dearest mask with a layer that the client can pay for, its probes included. Who is probed when, and whose probe is
piggybacked, is played as a run without trouble plays it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fedstrata.assembly.affordable import Prepared
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.prices import Prices
from fedstrata.domain.seeds import Phase
from fedstrata.domain.selection import Selection, SelectionProblem, check
from fedstrata.domain.versions import Versions
from fedstrata.errors import BudgetError, SelectionError
from fedstrata.planning.masks import Affordable, affordable
from fedstrata.planning.spans import Span, dearest, mean, total
from fedstrata.selectors.masks import candidates
from fedstrata.selectors.protocol import Selector, SelectorState
from fedstrata.server.piggyback import Piggyback, more
from fedstrata.server.setting import Setting

VISITS = 1000
"""Client-rounds that are played; of more rounds than these make, the later ones are taken to be like them."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a method costs.

    Attributes:
        name: The method's.
        mean: One client-round, the mean over clients and rounds.
        dearest: The dearest client-round, unit by unit.
        run: All clients and rounds together; ``bytes_peak`` is the largest.
        down_first: Bytes that a client is sent in the first round.
        down_later: The most that a client is sent in a later round.
        probes: Probes per client-round, each in the round in which it is done.
        rounds: Rounds that were played.
        ranged: Whether masks depend on scores.
        problem: Why a run would refuse the method; then nothing else is known.
    """

    name: str
    mean: Span | None = None
    dearest: Span | None = None
    run: Span | None = None
    down_first: float = 0.0
    down_later: float = 0.0
    probes: float = 0.0
    rounds: int = 0
    ranged: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """The same mask for everyone, whatever the budgets: what methods are compared to."""

    mask: Mask

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return the mask for every client."""
        return Selection(dict.fromkeys(problem.clients, self.mask)), state


@dataclass(slots=True)
class Bounds:
    """Remembers what budgets pay for: clients with the same prices and budget share an answer."""

    setting: Setting
    _known: dict[object, Affordable] = field(default_factory=dict)
    _reachable: int | None = None

    def of(self, client: ClientId, visit: ClientRound) -> tuple[Prices, Affordable]:
        """Return a client's prices, and the masks that it could be given."""
        prices, budget = self.setting.method.cost.prices(client, visit), self.setting.profiles[client].budget
        key = (prices.units, *(part.tobytes() for part in (prices.base, prices.setup, prices.each)), budget)
        if key not in self._known:
            self._known[key] = affordable(prices, budget, candidates(self.setting.layers))
        return prices, self._known[key]

    def reachable(self) -> int:
        """Return the bytes of the layers that some client could train."""
        if self._reachable is None:
            union = {i for c in self.setting.profiles for i in self.of(c, ClientRound())[1].singles}
            self._reachable = sum(self.setting.layers.layers[i].bytes for i in union)
        return self._reachable


def forecast(prepared: Prepared, selector: Selector, bounds: Bounds, *, name: str, rounds: int) -> Forecast:
    """Return what a selector costs over a run.

    Args:
        prepared: The run's setting; its own selector plays no part.
        selector: What to play.
        bounds: What budgets pay for.
        name: The method's.
        rounds: Rounds of the run.
    """
    played: list[list[_Trip]] = []
    try:
        for trips in _play(prepared.setting, selector, bounds, rounds):
            played.append(trips)
            if sum(map(len, played)) >= VISITS and len(played) > 1:
                break
    except (BudgetError, SelectionError) as error:
        return Forecast(name, problem=str(error))
    trips = [trip for part in played for trip in part]
    spans = [trip.span for trip in trips]
    run = total([[trip.span for trip in part] for part in played], rounds)
    return Forecast(
        name,
        mean=mean(run, spans, rounds * len(played[0])),
        dearest=dearest(spans),
        run=run,
        down_first=max(t.span.high.bytes_down for t in played[0]),
        down_later=max((t.span.high.bytes_down for part in played[1:] for t in part), default=0.0),
        probes=sum(t.probes for t in trips) / len(trips),
        rounds=len(played),
        ranged=any(t.ranged for t in trips),
    )


@dataclass(frozen=True, slots=True)
class _Trip:
    """One client in one round."""

    probes: int
    ranged: bool
    span: Span


def _play(setting: Setting, selector: Selector, bounds: Bounds, rounds: int) -> Iterator[list[_Trip]]:
    state, versions, known = selector.init(setting.layers), _untrained(setting.layers), True
    carriers: frozenset[ClientId] = frozenset()
    chosen_for: dict[ClientId, ClientRound] = {}
    for round in range(rounds):
        cohort = setting.cohort(round, 0)
        wanted = frozenset(selector.probes(round, cohort, state))
        piggyback = Piggyback.after(setting, selector, round, last=round + 1 == rounds)
        known = known and not wanted
        if not known:
            visits = {c: ClientRound(int(c in wanted - carriers), setting.layers.bytes_of(frozenset())) for c in cohort}
            priced = piggyback.with_room(visits, wanted, state)
            _refuse_poor(setting, priced)
            state = _onward(setting, selector, state, round, priced, wanted) if state else state
            asked = piggyback.with_room(visits, cohort, state)  # of masks that are kept it is not known what they leave
            carriers = frozenset(c for c in cohort if asked[c] != visits[c])
            chosen_for |= {c: visit for c, visit in priced.items() if c in wanted or c not in chosen_for}
            yield [_between(bounds, c, chosen_for[c], asked[c], first=round == 0) for c in cohort]
            continue
        visits = {c: ClientRound(bytes_down=versions.bytes_down(c, setting.layers)) for c in cohort}
        problem = setting.problem(round, visits, None)
        selection, state = selector.select(problem, state)
        if not isinstance(selector, Reference):
            check(selection, problem)
        carriers = piggyback.carriers(selection.masks, visits, state)
        prices = setting.prices(selection.masks, more(visits, carriers))
        yield [_Trip(int(c in carriers), ranged=False, span=Span(price, price)) for c, price in prices.items()]
        union = frozenset[int]().union(*selection.masks.values())
        moved = {block.name: f"after round {round}" for block in setting.layers.blocks(union)}
        versions = versions.sent(cohort).moved(moved)


def _untrained(layers: LayerMap) -> Versions:
    """Return versions that are named, not hashed: a plan has no weights."""
    return Versions.at({b.name: "untrained" for b in layers.trainable}, always=[b.name for b in layers.always])


def _refuse_poor(setting: Setting, visits: Mapping[ClientId, ClientRound]) -> None:
    for client, nothing in setting.prices(dict.fromkeys(visits, frozenset()), visits).items():
        budget = setting.profiles[client].budget
        if not nothing.fits(budget):
            asked = nothing.only(*nothing.over(budget))
            with_probe = "with the probe, " if visits[client].probes else ""
            raise BudgetError(
                f"client {client} cannot take part: {with_probe}training no layer needs {asked}, and its budget is"
                f" {budget}"
            )


def _between(bounds: Bounds, client: ClientId, priced: ClientRound, asked: ClientRound, *, first: bool) -> _Trip:
    """Return the range of a client-round whose mask depends on scores.

    Args:
        bounds: What budgets pay for.
        client: Whose.
        priced: What its mask was priced for: an earlier round if it is kept, and perhaps a piggybacked probe that is
            not sent.
        asked: What it is asked for.
        first: Whether it lacks no layer yet.
    """
    prices, found = bounds.of(client, asked)
    cheapest = found.cheapest if bounds.of(client, priced)[1].cheapest else None
    more_down = 0 if first else bounds.reachable()
    later, dear = bounds.of(client, replace(asked, bytes_down=asked.bytes_down + more_down))
    nothing = frozenset[int]()
    span = Span(cheapest or prices.of(nothing), dear.dearest or later.of(nothing), dear.loose)
    return _Trip(asked.probes, ranged=True, span=span)


def _onward(
    setting: Setting,
    selector: Selector,
    state: SelectorState,
    round: int,
    visits: Mapping[ClientId, ClientRound],
    scored: frozenset[ClientId],
) -> SelectorState:
    """Return a selector's memory after a round with made-up scores, on which the next probes hardly depend."""
    scores = np.full((len(visits), len(setting.layers)), np.nan)
    for row, client in enumerate(visits):
        if client in scored:
            scores[row] = setting.seeds.generator(Phase.SELECT, round=round, client=client).random(len(setting.layers))
    return selector.select(setting.problem(round, visits, scores if scored else None), state)[1]
