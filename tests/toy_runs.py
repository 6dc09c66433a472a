"""Whole toy runs: a setting and an engine around the toy model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.aggregators.protocol import Aggregator
from fedstrata.client.handler import Handler
from fedstrata.client.resident import ResidentModel
from fedstrata.costs.layer_count import counted
from fedstrata.data.tensors import ClientRows
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.selection import ClientProfile, Selection, SelectionProblem
from fedstrata.engines.local import LocalEngine
from fedstrata.samplers.uniform import Uniform
from fedstrata.scores.gradient_norm import GradientNorm
from fedstrata.scores.protocol import Score
from fedstrata.selectors.ends import Full
from fedstrata.selectors.protocol import Selector, SelectorState
from fedstrata.server.rules import Rules
from fedstrata.server.setting import Method, Setting
from fedstrata.wire.messages import ProbePlan, TrainPlan
from toys import BLOCKS


def toy_setting(
    model: ResidentModel,
    clients: Mapping[ClientId, ClientRows],
    *,
    selector: Selector | None = None,
    score: Score | None = None,
    aggregator: Aggregator | None = None,
    budget: float = BLOCKS,
    train: TrainPlan | None = None,
    seed: int = 0,
    lr_decay: float = 1.0,
    per_round: int | None = None,
    rules: Rules | None = None,
    piggyback: bool = False,
    sketch: int = 0,
) -> Setting:
    return Setting(
        name="toy",
        layers=model.layers,
        method=Method(score or GradientNorm(), counted(BLOCKS), selector or Full(), aggregator or LayerwiseMean()),
        profiles={c: ClientProfile(len(d.train), Cost.limits(layers=budget)) for c, d in clients.items()},
        sampler=Uniform(per_round),
        seeds=Seeds(seed),
        probe=ProbePlan(batches=0, batch_size=8),
        piggyback=piggyback,
        train=train or TrainPlan(steps=2, epochs=None, batch_size=4, lr=0.1),
        lr_decay=lr_decay,
        rules=rules or Rules(),
        sketch=sketch,
    )


def toy_engine(model: ResidentModel, clients: Mapping[ClientId, ClientRows], *, seed: int = 0) -> LocalEngine:
    return LocalEngine(Handler(model, clients, Seeds(seed)))


@dataclass(frozen=True, slots=True)
class Assigned:
    """Gives each client the mask that the test wrote down."""

    masks: dict[str, Mask]

    def init(self, layers: LayerMap) -> SelectorState:
        return {}

    def probes(self, round: int, cohort: object, state: SelectorState) -> tuple[ClientId, ...]:
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        return Selection({c: self.masks[c] for c in problem.clients}), state
