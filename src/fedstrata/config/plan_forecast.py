"""What a selector will cost: its rounds are played without training.

While nobody has been probed, masks are the run's own, and so are the bytes of layers that clients lack. From the first
probe on, masks depend on scores that only training tells; every client-round is then between the cheapest and the
dearest mask with a layer that the client can pay for, the probe included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedstrata.config.plan_masks import Affordable, affordable
from fedstrata.config.setting import Prepared
from fedstrata.domain.cost import Cost, Visit
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.prices import Prices
from fedstrata.domain.seeds import Phase
from fedstrata.domain.selection import Selection, SelectionProblem, check
from fedstrata.domain.units import UNITS
from fedstrata.domain.versions import Versions
from fedstrata.errors import BudgetError, SelectionError
from fedstrata.selectors.masks import candidates
from fedstrata.selectors.protocol import Selector, SelectorState
from fedstrata.server.method import Setting

Floats = NDArray[np.float64]

VISITS = 1000
"""Client-rounds that are played; of more rounds than these make, the later ones are taken to be like them."""


@dataclass(frozen=True, slots=True)
class Span:
    """From the least to the most that something may cost; both the same where it is known.

    Attributes:
        low: The least, unit by unit.
        high: The most, unit by unit.
        loose: Units in which the most is a bound that no mask may reach.
    """

    low: Cost
    high: Cost
    loose: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is no range."""
        return repr(self.low) == repr(self.high)


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
        probes: Share of the client-rounds that are probed.
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
        """Return nobody."""
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

    def of(self, client: ClientId, visit: Visit) -> tuple[Prices, Affordable]:
        """Return a client's prices, and the masks that it could be given."""
        prices, budget = self.setting.method.cost.prices(client, visit), self.setting.profiles[client].budget
        key = (prices.units, *(part.tobytes() for part in (prices.base, prices.setup, prices.each)), budget)
        if key not in self._known:
            self._known[key] = affordable(prices, budget, candidates(self.setting.layers))
        return prices, self._known[key]

    def reachable(self) -> int:
        """Return the bytes of the layers that some client could train."""
        if self._reachable is None:
            union = {i for c in self.setting.profiles for i in self.of(c, Visit())[1].singles}
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
    run = _total(played, rounds)
    cohort = len(played[0])
    return Forecast(
        name,
        mean=_scaled(run, 1 / (rounds * cohort), _mean([_peaks(t.span) for t in trips])),
        dearest=_extreme([t.span for t in trips]),
        run=run,
        down_first=max(t.span.high.bytes_down for t in played[0]),
        down_later=max((t.span.high.bytes_down for part in played[1:] for t in part), default=0.0),
        probes=sum(t.probed for t in trips) / len(trips),
        rounds=len(played),
        ranged=any(t.ranged for t in trips),
    )


@dataclass(frozen=True, slots=True)
class _Trip:
    """One client in one round."""

    probed: bool
    ranged: bool
    span: Span


def _play(setting: Setting, selector: Selector, bounds: Bounds, rounds: int) -> Iterator[list[_Trip]]:
    state, versions, known = selector.init(setting.layers), _untrained(setting.layers), True
    for round in range(rounds):
        cohort = setting.cohort(round, 0)
        probed = frozenset(selector.probes(round, cohort, state))
        known = known and not probed
        if not known:
            yield [_between(setting, bounds, c, probed=c in probed, first=round == 0) for c in cohort]
            state = _onward(setting, selector, state, round, cohort, probed) if state else state
            continue
        problem = setting.problem(
            round, {c: Visit(bytes_down=versions.bytes_down(c, setting.layers)) for c in cohort}, None
        )
        selection, state = selector.select(problem, state)
        if not isinstance(selector, Reference):
            check(selection, problem)
        prices = (problem.price(c, mask) for c, mask in selection.masks.items())
        yield [_Trip(probed=False, ranged=False, span=Span(price, price)) for price in prices]
        union = frozenset[int]().union(*selection.masks.values())
        moved = {block.name: f"after round {round}" for block in setting.layers.blocks(union)}
        versions = versions.sent(cohort).moved(moved)


def _untrained(layers: LayerMap) -> Versions:
    """Return versions that are named, not hashed: a plan has no weights."""
    return Versions.at({b.name: "untrained" for b in layers.trainable}, always=[b.name for b in layers.always])


def _between(setting: Setting, bounds: Bounds, client: ClientId, *, probed: bool, first: bool) -> _Trip:
    """Return the range of a client-round whose mask depends on scores."""
    least, budget = setting.layers.bytes_of(frozenset()), setting.profiles[client].budget
    prices, found = bounds.of(client, Visit(probed, least))
    nothing = prices.of(frozenset())
    if not nothing.fits(budget):
        asked = nothing.only(*nothing.over(budget))
        with_probe = "with the probe, " if probed else ""
        raise BudgetError(
            f"client {client} cannot take part: {with_probe}training no layer asks {asked}, and its budget is {budget}"
        )
    most = least if first else least + bounds.reachable()
    later, dear = bounds.of(client, Visit(probed, most))
    span = Span(found.cheapest or nothing, dear.dearest or later.of(frozenset()), dear.loose)
    return _Trip(probed, ranged=True, span=span)


def _onward(
    setting: Setting,
    selector: Selector,
    state: SelectorState,
    round: int,
    cohort: Sequence[ClientId],
    probed: frozenset[ClientId],
) -> SelectorState:
    """Return a selector's memory after a round whose scores are made up: who is probed next hardly depends on them."""
    scores = np.full((len(cohort), len(setting.layers)), np.nan)
    for row, client in enumerate(cohort):
        if client in probed:
            scores[row] = setting.seeds.generator(Phase.SELECT, round=round, client=client).random(len(setting.layers))
    down = setting.layers.bytes_of(frozenset())
    problem = setting.problem(round, {c: Visit(c in probed, down) for c in cohort}, scores if probed else None)
    return selector.select(problem, state)[1]


def _total(played: Sequence[Sequence[_Trip]], rounds: int) -> Span:
    """Return the run: the rounds played, and the others like the mean of those after the first."""
    ends = []
    for name in ("low", "high"):
        per_round = [np.sum(np.array([_vector(getattr(t.span, name)) for t in trips]), axis=0) for trips in played]
        total = per_round[0] + (np.mean(np.array(per_round[1:]), axis=0) * (rounds - 1) if rounds > 1 else 0.0)
        total[UNITS.index("bytes_peak")] = np.max([getattr(t.span, name).bytes_peak for p in played for t in p])
        ends.append(_as_cost(total))
    return Span(ends[0], ends[1], _loose([t.span for p in played for t in p]))


def _scaled(span: Span, factor: float, peak: tuple[float, float]) -> Span:
    ends = []
    for end, own in zip((span.low, span.high), peak, strict=True):
        values = _vector(end) * factor
        values[UNITS.index("bytes_peak")] = own
        ends.append(_as_cost(values))
    return Span(ends[0], ends[1], span.loose)


def _extreme(spans: Sequence[Span]) -> Span:
    lows, highs = (np.array([_vector(getattr(s, name)) for s in spans]) for name in ("low", "high"))
    return Span(_as_cost(lows.max(axis=0)), _as_cost(highs.max(axis=0)), _loose(spans))


def _peaks(span: Span) -> tuple[float, float]:
    return span.low.bytes_peak, span.high.bytes_peak


def _mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    low, high = np.mean(np.array(pairs), axis=0)
    return float(low), float(high)


def _loose(spans: Sequence[Span]) -> tuple[str, ...]:
    found = {unit for span in spans for unit in span.loose}
    return tuple(unit for unit in UNITS if unit in found)


def _vector(cost: Cost) -> Floats:
    return np.array([value for _, value in cost.items()])


def _as_cost(values: Floats) -> Cost:
    return Cost(**dict(zip(UNITS, values.tolist(), strict=True)))
