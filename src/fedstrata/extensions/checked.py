"""Components of the user's own, held to what their family returns.

A component of the catalog is tested to return what it must; of one's own, nobody knows. So each is wrapped, and what it
returns is looked at where it returns: a wrong result is told with the component's name, file and line, and not by what
fails later for want of a right one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from fedstrata.aggregators.protocol import Aggregator, AggregatorState
from fedstrata.budgets.protocol import Budget, FullCost
from fedstrata.costs.protocol import CostModel, Facts, Pricing
from fedstrata.data.kinds import CLIENT
from fedstrata.data.natural import NaturalId
from fedstrata.data.split import Partitioning, Rows, Split
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.count_sketch import valid_dimension
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.prices import Prices
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.selection import Certificate, Selection, SelectionProblem
from fedstrata.domain.stats import LayerStats, Statistic
from fedstrata.domain.units import UNITS
from fedstrata.extensions.sentences import Duty, shown
from fedstrata.extensions.trainer import HeldTrainer, is_tensor
from fedstrata.samplers.protocol import Sampler
from fedstrata.scores.protocol import Score
from fedstrata.selectors.protocol import Selector, SelectorState, chooses, sketch_of
from fedstrata.wire.messages import Update, Weights


@dataclass(frozen=True, slots=True)
class HeldScore:
    """A score of the user's own."""

    own: Score

    @property
    def needs(self) -> frozenset[Statistic]:
        """The statistics that the probe has to measure."""
        duty, found = Duty(self.own, "needs", "a frozenset of Statistic, such as {Statistic.NORM}"), self.own.needs
        if not isinstance(found, AbstractSet) or not all(isinstance(one, Statistic) for one in found):
            raise duty.broken(found)
        return frozenset(found)

    def __call__(self, stats: LayerStats) -> float:
        """Return the score."""
        found: Any = self.own(stats)
        try:
            if not isinstance(found, str | bytes):
                return float(found)
        except (TypeError, ValueError, RuntimeError):  # RuntimeError is torch's, of tensors of several numbers
            pass
        raise Duty(self.own, "__call__", "a number").broken(found)


@dataclass(frozen=True, slots=True)
class HeldCost:
    """A cost model of the user's own."""

    own: CostModel

    def bind(self, facts: Facts) -> Pricing:
        """Return the prices of a run."""
        found: Any = self.own.bind(facts)
        if not callable(getattr(found, "prices", None)):
            raise Duty(self.own, "bind", "an object with a method prices(client, visit)").broken(found)
        return HeldPricing(found, len(facts.layers))


@dataclass(frozen=True, slots=True)
class HeldPricing:
    """Prices of a cost model of the user's own.

    Attributes:
        own: The prices.
        layers: How many layers they are of.
    """

    own: Pricing
    layers: int

    def prices(self, client: ClientId, visit: ClientRound) -> Prices:
        """Return what each mask asks of the client in one round."""
        duty = Duty(self.own, "prices", f"Prices, with one row per unit and {self.layers} columns, one per layer")
        found: Any = self.own.prices(client, visit)
        if not isinstance(found, Prices):
            raise duty.broken(found)
        strange = [unit for unit in duty.listed(found.units) if unit not in UNITS]
        if strange:
            raise duty.broken_by(f"prices in {shown(strange[0])}, which is no unit of {', '.join(UNITS)}")
        rows = len(found.units)
        wanted = {"base": (rows,), "setup": (rows, self.layers), "each": (rows, self.layers)}
        for name, shape in wanted.items():
            value = getattr(found, name)
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
                raise duty.broken_by(f"prices whose {name} is {shown(value)}")
            if value.shape != shape:
                raise duty.broken_by(f"prices whose {name} has the shape {value.shape}, and not {shape}")
        return found


@dataclass(frozen=True, slots=True)
class HeldBudget:
    """A budget rule of the user's own."""

    own: Budget

    def assign(self, clients: Sequence[ClientId], seeds: Seeds, yardstick: FullCost) -> Mapping[ClientId, Cost]:
        """Return one budget per client."""
        duty = Duty(self.own, "assign", "a mapping with a Cost for every client, such as Cost.limits(layers=2)")
        found = duty.mapping(self.own.assign(clients, seeds, yardstick))
        for client in clients:
            if client not in found:
                raise duty.broken_by(f"no budget for client {client}")
            if not isinstance(found[client], Cost) or not _numbers(getattr(found[client], unit) for unit in UNITS):
                raise duty.broken_by(f"for client {client} {shown(found[client])}")
        return found


@dataclass(frozen=True, slots=True)
class HeldSampler:
    """A sampler of the user's own."""

    own: Sampler

    def sample(self, clients: Sequence[ClientId], rng: np.random.Generator) -> tuple[ClientId, ...]:
        """Return the cohort."""
        duty = Duty(self.own, "sample", "a tuple of names of the given clients, none twice, in ascending order")
        found = _clients(duty, self.own.sample(clients, rng), clients)
        if list(found) != sorted(set(found)):
            raise duty.broken(found)
        return found


@dataclass(frozen=True, slots=True)
class HeldSelector:
    """A selector of the user's own."""

    own: Selector

    @property
    def sketch(self) -> int:
        """Numbers of each layer's sketch."""
        found: Any = sketch_of(self.own)
        if type(found) is not int or (found and not valid_dimension(found)):
            raise Duty(self.own, "sketch", "a power of two from 16 to 4096, or 0 for no sketch").broken(found)
        return found

    @property
    def chooses(self) -> str:
        """Whether it chooses no layer, always every one, or some."""
        return chooses(self.own)

    @property
    def inner(self) -> Selector | None:
        """The selector inside it, if there is one."""
        return getattr(self.own, "inner", None)

    def init(self, layers: LayerMap) -> SelectorState:
        """Return the memory of a run that has not begun."""
        return _memory(Duty(self.own, "init", _MEMORY), self.own.init(layers))

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return the clients whose scores this round's selection needs."""
        duty = Duty(self.own, "probes", "a tuple of names of clients of the cohort; () for none")
        return _clients(duty, self.own.probes(round, cohort, state), cohort)

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return masks, and the memory for the next round."""
        duty = Duty(self.own, "select", f"a pair of Selection({{client: frozenset of layer indices}}) and {_MEMORY}")
        found, memory = duty.pair(self.own.select(problem, state))
        if not isinstance(found, Selection):
            raise duty.broken_by(f"a pair whose first is {shown(found)}")
        if not isinstance(found.masks, Mapping):
            raise duty.broken_by(f"a Selection whose masks are {shown(found.masks)}")
        proof = found.certificate
        if proof is not None and not (
            isinstance(proof, Certificate) and _numbers((proof.objective, proof.bound, proof.gap))
        ):
            raise duty.broken_by(f"a Selection whose certificate is {shown(proof)}")
        masks = {client: _mask(duty, client, mask) for client, mask in found.masks.items()}
        return Selection(masks, proof), _memory(duty, memory)


@dataclass(frozen=True, slots=True)
class HeldAggregator:
    """An aggregator of the user's own."""

    own: Aggregator

    def init(self, weights: Weights, layers: LayerMap) -> AggregatorState:
        """Return the memory of a run that has not begun."""
        return _tensors(Duty(self.own, "init", _TENSORS), self.own.init(weights, layers))

    def apply(
        self, weights: Weights, updates: Iterable[Update], state: AggregatorState
    ) -> tuple[Weights, AggregatorState]:
        """Return the weights after a round."""
        duty = Duty(self.own, "apply", f"a pair of all weights, by name and of the same shapes, and {_TENSORS}")
        ends: list[None] = []
        found, memory = duty.pair(self.own.apply(weights, _noting(updates, ends), state))
        moved = duty.mapping(found)
        for name in dict.fromkeys((*weights, *moved)):
            if name not in moved or name not in weights:
                raise duty.broken_by(f"weights {'without' if name in weights else 'with a new'} {name}")
            if not is_tensor(moved[name]):
                raise duty.broken_by(f"as {name} {shown(moved[name])}")
            if (moved[name].shape, moved[name].dtype) != (weights[name].shape, weights[name].dtype):
                before, after = (f"{list(t.shape)} of {t.dtype}" for t in (weights[name], moved[name]))
                raise duty.broken_by(f"as {name} a tensor of shape {after}, and not {before}")
        if not ends:
            raise duty.broken_by("before it had read all updates")
        return moved, _tensors(duty, memory)


@dataclass(frozen=True, slots=True)
class HeldPartition:
    """A partition of the user's own."""

    own: Partitioning

    def split(self, labels: Rows, *, seed: int) -> Split:
        """Return the rows of each client."""
        rows = len(labels)
        duty = Duty(
            self.own, "split", f"a Split({{client: array of row numbers}}), each of 0 to {rows - 1} at most once"
        )
        found: Any = self.own.split(labels, seed=seed)
        if not isinstance(found, Split):
            raise duty.broken(found)
        shares = {client: _rows(duty, client, share, rows) for client, share in duty.mapping(found.rows).items()}
        if not isinstance(found.natural_ids, Mapping | None):
            raise duty.broken_by(f"a Split whose natural_ids are {shown(found.natural_ids)}")
        if not shares:
            raise duty.broken_by("a Split without clients")
        numbers, counts = np.unique(np.concatenate([*shares.values()]), return_counts=True)
        if (counts > 1).any():
            raise duty.broken_by(f"a Split that has row {numbers[counts > 1][0]} more than once")
        return Split(shares, rows - len(numbers), found.natural_ids)

    def __str__(self) -> str:
        """Return what the data card calls it."""
        try:
            return str(self.own)
        except TypeError as error:
            raise Duty(self.own, "__str__", "a text for the data card").broken_by("something else") from error


_MEMORY = "its memory, a dict that JSON can hold"
_TENSORS = "its memory, an AggregatorState of tensors by name"
HELD: Mapping[str, type[Any]] = {
    "score": HeldScore,
    "cost": HeldCost,
    "budget": HeldBudget,
    "sampler": HeldSampler,
    "selector": HeldSelector,
    "trainer": HeldTrainer,
    "aggregator": HeldAggregator,
    "partition": HeldPartition,
}
"""Who holds the components of each family; ``data`` is a closed set, since what reads it has to know it."""
HOLDERS = tuple(HELD.values())
"""The classes that hold; each has its component as ``own``."""


def held(family: str, component: Any) -> Any:  # noqa: ANN401  a component of any family
    """Return a component of the user's own, held to what its family returns.

    A natural-id partition that is extended stays as it is: what reads the data looks for its column.

    Example:
        See ``tests/extensions/test_checked.py``.
    """
    return component if isinstance(component, NaturalId) else HELD[family](component)


def _numbers(values: Iterable[object]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _clients(duty: Duty, found: object, known: Sequence[ClientId]) -> tuple[ClientId, ...]:
    names = duty.listed(found)
    strange = [name for name in names if not isinstance(name, str) or name not in known]
    if strange:
        raise duty.broken_by(f"{shown(strange[0])}, which is none of them")
    return names


def _memory(duty: Duty, found: object) -> SelectorState:
    memory = duty.mapping(found)
    try:
        json.dumps(dict(memory))
    except (TypeError, ValueError) as error:
        raise duty.broken_by(f"a memory that JSON cannot hold ({error})") from error
    return memory


def _mask(duty: Duty, client: object, found: object) -> Mask:
    """Return a mask as a set of plain integers, which a log can hold."""
    try:
        if isinstance(found, AbstractSet) and not any(isinstance(one, bool | np.bool_) for one in found):
            return frozenset(index(one) for one in found)
    except TypeError:
        pass
    raise duty.broken_by(f"as the mask of client {client} {shown(found)}")


def _noting(updates: Iterable[Update], ends: list[None]) -> Iterator[Update]:
    """Yield updates, and note that they have been read to the end."""
    yield from updates
    ends.append(None)


def _tensors(duty: Duty, found: object) -> AggregatorState:
    if not isinstance(found, AggregatorState):
        raise duty.broken(found)
    for name, tensor in duty.mapping(found.tensors).items():
        if not isinstance(name, str) or not is_tensor(tensor):
            raise duty.broken_by(f"a memory whose {name} is {shown(tensor)}")
    return found


def _rows(duty: Duty, client: object, found: object, rows: int) -> Rows:
    if not isinstance(client, str) or not CLIENT.fullmatch(client):
        raise duty.broken_by(f"{shown(client)} as the name of a client (1 to 64 of a-z, 0-9, hyphen and underscore)")
    try:
        share = np.asarray(found)
    except ValueError as error:  # lists of several lengths
        raise duty.broken_by(f"as the rows of client {client} {shown(found)}") from error
    if share.ndim != 1 or (share.dtype.kind not in "iu" and len(share)):
        raise duty.broken_by(f"as the rows of client {client} {shown(found)}")
    strange = share[(share < 0) | (share >= rows)]
    if len(strange):
        raise duty.broken_by(f"row {strange[0]} for client {client}")
    return share.astype(np.int64)
