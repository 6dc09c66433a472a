"""A method: how layers are scored, priced, selected and aggregated; and the setting that it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fedstrata.aggregators.protocol import Aggregator
from fedstrata.costs.protocol import Pricing
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.prices import Prices
from fedstrata.domain.profile import TrainerCost
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.selection import ClientProfile, SelectionProblem
from fedstrata.samplers.protocol import Sampler
from fedstrata.scores.protocol import Score
from fedstrata.selectors.protocol import Selector, sketch_of
from fedstrata.server.rules import Rules
from fedstrata.wire.messages import ProbePlan, TrainPlan


@dataclass(frozen=True, slots=True)
class Method:
    """What is compared when methods are compared."""

    score: Score
    cost: Pricing
    selector: Selector
    aggregator: Aggregator


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything about a run that no round changes.

    Attributes:
        name: Name of the method, for people.
        layers: The model's layers.
        method: Score, cost, selector, aggregator.
        profiles: Every client's rows and budget.
        sampler: Chooses the cohorts.
        seeds: The run's random streams.
        probe: How clients measure.
        piggyback: Whether a client measures for the next round while it trains in this one, which saves it an exchange.
        train: How clients train, at the first round's learning rate.
        lr_decay: Factor on the learning rate per round.
        max_norm: Largest Euclidean norm of an update.
        rules: Who has to answer, by when, and what happens if too few do.
        sketch: Numbers of the sketch of each layer's gradient that probes send, where the selector asks for none; 0 for
            no sketch. Rounds whose clients all sent one have their error and its bound estimated.
        trainer: What clients' trainer asks of them besides; whether they keep a state between rounds follows from it.
        panel: The clients whose held-out rows are evaluated, ascending by name; ``None`` for all that hold rows out.
    """

    name: str
    layers: LayerMap
    method: Method
    profiles: Mapping[ClientId, ClientProfile]
    sampler: Sampler
    seeds: Seeds
    probe: ProbePlan = field(default_factory=ProbePlan)
    piggyback: bool = False
    train: TrainPlan = field(default_factory=TrainPlan)
    lr_decay: float = 1.0
    max_norm: float = 1e6
    rules: Rules = field(default_factory=Rules)
    sketch: int = 0
    trainer: TrainerCost = field(default_factory=TrainerCost)
    panel: tuple[ClientId, ...] | None = None

    def evaluated(self) -> tuple[ClientId, ...]:
        """Return the clients that are asked to evaluate, ascending by name; one without held-out rows is not."""
        if self.panel is not None:
            return self.panel
        return tuple(client for client, profile in self.profiles.items() if profile.held_out != 0)

    def probe_plan(self) -> ProbePlan:
        """Return the probe, measuring what the score needs and the selector or the record of the error."""
        dimension = sketch_of(self.method.selector) or self.sketch
        sketch = Hashing(self.seeds.integer(Phase.SKETCH), dimension) if dimension else None
        return replace(self.probe, statistics=self.method.score.needs, sketch=sketch)

    def cohort(self, round: int, attempt: int) -> tuple[ClientId, ...]:
        """Return the clients of a round, ascending by name; another attempt draws anew."""
        again = f"attempt {attempt}" if attempt else ""
        rng = self.seeds.generator(Phase.SAMPLE, round=round, client=again)
        return tuple(self.sampler.sample(list(self.profiles), rng))

    def problem(
        self,
        round: int,
        visits: Mapping[ClientId, ClientRound],
        scores: NDArray[np.float64] | None,
        sketches: NDArray[np.float64] | None = None,
    ) -> SelectionProblem:
        """Return the selection problem of a round.

        Args:
            round: 0-based round number.
            visits: The clients to select for, ascending by name, with what is known of their round.
            scores: Shape ``[clients, layers]``, or ``None`` where nobody was probed.
            sketches: Shape ``[clients, layers, numbers]``, or ``None`` where nobody sent any.
        """

        @cache
        def prices(client: ClientId) -> Prices:
            return self.method.cost.prices(client, visits[client])

        return SelectionProblem(
            round=round,
            layers=self.layers,
            profiles={c: self.profiles[c] for c in visits},
            scores=scores,
            prices=prices,
            rng=self.seeds.generator(Phase.SELECT, round=round),
            sketches=sketches,
        )

    def prices(self, masks: Mapping[ClientId, Mask], visits: Mapping[ClientId, ClientRound]) -> dict[ClientId, Cost]:
        """Return what each mask asks of its client in such a round."""
        return {c: self.method.cost.prices(c, visits[c]).of(mask) for c, mask in masks.items()}

    def train_plan(self, round: int) -> TrainPlan:
        """Return the training of a round, with its learning rates."""
        plan, decay = self.train, self.lr_decay**round
        return replace(plan, lr=plan.lr * decay, always_lr=None if plan.always_lr is None else plan.always_lr * decay)
