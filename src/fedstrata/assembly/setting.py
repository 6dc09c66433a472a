"""From checked components, blocks and rows to a run's setting: prices, budgets, plans, each held against the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from fedstrata.assembly.declared import Declared
from fedstrata.assembly.devices import load_devices
from fedstrata.assembly.fitting import Advise, Fitting
from fedstrata.assembly.naming import method_name as method_name
from fedstrata.assembly.pricing import check_units, workload
from fedstrata.assembly.rules import check_quorum, rules_of
from fedstrata.assembly.sketches import check_sketches, sketch_plan, theory_sketch
from fedstrata.budgets.protocol import FullCost
from fedstrata.config.load import Loaded
from fedstrata.costs.protocol import Facts, Pricing, Workload
from fedstrata.data.tensors import ClientRows
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.profile import StepProfile
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.selection import ClientProfile, check
from fedstrata.domain.stats import Statistic
from fedstrata.errors import BudgetError, ConfigError, FedstrataError
from fedstrata.reading.problems import Loc, Problem, config_error
from fedstrata.selectors.head_only import HeadOnly
from fedstrata.selectors.protocol import Selector
from fedstrata.server.method import Method, Setting
from fedstrata.wire.messages import ProbePlan, TrainPlan
from fedstrata.wire.sizes import Encoding

Measure = Callable[[Sequence[Workload]], tuple[StepProfile, ...]]
"""Measures the model's step for the batches of these workloads."""

NEW_HEAD = 10.0
"""How much faster a new head learns than pretrained layers, where ``train.always_lr`` is ``auto``."""
_AHEAD = 100
"""Rounds that are looked at for whether a selector ever probes a client."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A setting, and what has to be said of it before the run.

    Attributes:
        setting: Method, clients, plans.
        workloads: Each client's batches.
        probed: Clients that the selector ever probes.
        notes: One sentence each.
        refusals: Why a run would not start; only where that was not to be raised.
    """

    setting: Setting
    workloads: Mapping[ClientId, Workload]
    probed: frozenset[ClientId]
    notes: tuple[str, ...]
    refusals: tuple[str, ...] = ()

    def visit(self, client: ClientId) -> ClientRound:
        """Return the client's first round: it holds the checkpoint but for the ``always`` blocks."""
        always = self.setting.layers.bytes_of(frozenset())
        return ClientRound(int(client in self.probed), always)


def prepare_setting(
    loaded: Loaded,
    *,
    layers: LayerMap,
    clients: Mapping[ClientId, Workload | ClientRows],
    examples: Mapping[ClientId, int],
    measure: Measure,
    parameter_bytes: int,
    new_head: bool = False,
    declared: Declared = Declared(),  # noqa: B008  a value
    refuse: bool = True,
) -> Prepared:
    """Return a run's setting, after every check that needs no weights.

    Args:
        loaded: The configuration.
        layers: The model's blocks.
        clients: Each client's rows, or its batches.
        examples: Training rows of each client.
        measure: Measures the model's step.
        parameter_bytes: Bytes of the model, buffers included.
        new_head: Whether its head starts from random numbers.
        declared: What the sites say of themselves, where clients are sites.
        refuse: Whether budgets that cannot be spent or honoured are raised; if not, they are ``refusals``.

    Raises:
        ConfigError: Something that the configuration names does not fit; with file and line.
    """
    config, parts = loaded.config, loaded.components
    seeds, names = Seeds(config.seed), list(clients)
    train, probe = train_plan(loaded, new_head=new_head), probe_plan(loaded)
    workloads = {
        c: w if isinstance(w, Workload) else workload(w, c, train=train, probe=probe, seeds=seeds)
        for c, w in clients.items()
    }
    _located(loaded, ("selector",), lambda: parts.selector.init(layers))
    _located(loaded, ("sampler",), lambda: parts.sampler.sample(names, seeds.generator(Phase.SAMPLE)))
    notes: list[str] = []
    known = [*names, *declared.absent]
    devices = load_devices(loaded, known)
    facts = Facts(
        layers=layers,
        train=train,
        probe=probe,
        workloads=workloads,
        devices=devices,
        profiles=cache(lambda: _measured(measure, list(workloads.values()), notes)),
        parameter_bytes=parameter_bytes,
    )
    pricing: Pricing = _located(loaded, ("cost",), lambda: parts.cost.bind(facts))
    probed = _ever_probed(parts.selector, names, layers, config.train.rounds)
    if probed:
        _located(loaded, ("probe",), lambda: _check_probe(probe))

    if config.theory == "sketch":
        _located(loaded, ("theory",), lambda: check_sketches(method_name(parts.selector), probed))

    def of_full(client: ClientId) -> Cost:
        return pricing.prices(client, ClientRound()).of(layers.everything) if client in workloads else Cost()

    budgets = _located(loaded, ("budget",), lambda: parts.budget.assign(known, seeds, FullCost(of_full, devices)))
    _located(loaded, ("flower", "sites"), lambda: notes.extend(declared.notes(layers)))

    def profile(client: ClientId) -> ClientProfile:
        held_out = declared.sites[client].held_out if client in declared.sites else _held_out(clients[client])
        return ClientProfile(examples[client], declared.budget(client, budgets[client], layers), held_out)

    setting = Setting(
        name=config.name or method_name(parts.selector),
        layers=layers,
        method=Method(parts.score, declared.priced(pricing, layers), parts.selector, parts.aggregator),
        profiles={c: profile(c) for c in names},
        sampler=parts.sampler,
        seeds=seeds,
        probe=probe,
        piggyback=config.probe.piggyback,
        train=train,
        lr_decay=config.train.lr_decay,
        rules=rules_of(loaded),
        sketch=theory_sketch(loaded),
    )
    _located(loaded, ("round", "quorum"), lambda: check_quorum(setting, "quorum"))
    _located(loaded, ("round", "layer_quorum"), lambda: check_quorum(setting, "layer_quorum"))
    prepared = Prepared(setting, workloads, probed, ())
    advise = Fitting(parts.cost, facts, config.model.adapter is not None, config.model.units)
    refusals: list[str] = []
    for loc, work in (
        (("budget",), lambda: check_units(setting, probed, advise)),
        (("budget",), lambda: notes.extend(_poor(prepared, config.below_budget, declared.idle(layers), advise))),
        (("selector",), lambda: _rehearse(prepared, declared)),
    ):
        try:
            _located(loaded, loc, work)
        except ConfigError as error:
            if refuse:
                raise
            refusals.append(str(error))
            break
    return replace(prepared, notes=tuple(notes), refusals=tuple(refusals))


def _held_out(client: Workload | ClientRows) -> int | None:
    """Return how many rows a client holds out; ``None`` where its rows are not at hand."""
    return None if isinstance(client, Workload) else len(client.held_out)


def train_plan(loaded: Loaded, *, new_head: bool = False) -> TrainPlan:
    """Return how clients train.

    Args:
        loaded: The configuration.
        new_head: Whether the head starts from random numbers. With ``always_lr: auto`` it then learns ``NEW_HEAD``
            times faster under AdamW, whose steps have the size of the rate; those of SGD grow with the gradient.
    """
    t = loaded.config.train
    faster = t.lr * NEW_HEAD if new_head and t.optimizer == "adamw" else None
    always_lr = faster if t.always_lr == "auto" else t.always_lr
    return TrainPlan(
        steps=t.steps,
        epochs=(t.epochs or 1) if t.steps is None else None,
        batch_size=t.batch_size,
        optimizer=t.optimizer,
        lr=t.lr,
        always_lr=always_lr,
        momentum=t.momentum,
        weight_decay=t.weight_decay,
        clip_norm=t.clip_norm,
        precision=t.precision,
        encoding=Encoding(loaded.config.upload.encoding),
    )


def probe_plan(loaded: Loaded) -> ProbePlan:
    """Return how clients measure, with what the score, the selector and the record of the error need."""
    probe, parts = loaded.config.probe, loaded.components
    return ProbePlan(probe.batches, probe.batch_size, parts.score.needs, sketch_plan(loaded))


def _check_probe(probe: ProbePlan) -> None:
    """Refuse a probe of one row where the score compares rows.

    Raises:
        ConfigError: It is one row.
    """
    if probe.batches * probe.batch_size == 1 and not probe.statistics <= {Statistic.NORM}:
        raise ConfigError(
            "the score compares rows, so a probe needs at least 2; raise probe.batches or probe.batch_size"
        )


def _measured(measure: Measure, workloads: Sequence[Workload], notes: list[str]) -> tuple[StepProfile, ...]:
    """Measure the model's step; where that cannot be done, layers and bytes alone are priced, and it is said."""
    try:
        return measure(workloads)
    except FedstrataError as error:
        notes.append(f"FLOPs, memory and seconds are not priced: {error}")
        return ()


def _ever_probed(selector: Selector, clients: Sequence[ClientId], layers: LayerMap, rounds: int) -> frozenset[ClientId]:
    state = selector.init(layers)
    return frozenset(c for r in range(min(rounds, _AHEAD)) for c in selector.probes(r, clients, state))


def _poor(prepared: Prepared, below: str, idle: frozenset[ClientId], advise: Advise) -> list[str]:
    """Say which clients can pay for no layer, or refuse them; of those that want none, it has been said.

    Raises:
        BudgetError: No client can pay for a layer, or one cannot and the configuration makes that an error.
    """
    setting = prepared.setting
    if isinstance(setting.method.selector, HeadOnly) or not len(setting.layers):
        return []
    limited = [c for c, profile in setting.profiles.items() if profile.budget.limited() and c not in idle]
    poor = [c for c in limited if cheapest(prepared, c) is None]
    if not poor:
        return []
    first, budget = poor[0], setting.profiles[poor[0]].budget
    asked = _least_asked(prepared, first)
    single = [frozenset({layer}) for layer in range(len(setting.layers))]
    fitting = advise(first, budget, prepared.visit(first), single)
    if len(poor) == len(setting.profiles):
        raise BudgetError(
            f"no client can pay for a single layer: client {first}'s budget is {budget} and the cheapest layer needs"
            f" {asked}; raise it, or choose selector head-only{fitting}"
        )
    sentence = f"{len(poor)} of {len(setting.profiles)} clients cannot pay for a single layer, the first is {first}:"
    sentence += f" its budget is {budget} and the cheapest layer needs {asked}"
    if below == "error":
        raise BudgetError(f"{sentence}; raise it, or set below_budget: head-only{fitting}")
    return [f"{sentence}; they train what everyone trains, and no layer (below_budget: head-only){fitting}"]


def cheapest(prepared: Prepared, client: ClientId) -> int | None:
    """Return the first affordable layer from the output down, or ``None``."""
    setting = prepared.setting
    prices, budget = setting.method.cost.prices(client, prepared.visit(client)), setting.profiles[client].budget
    masks = (index for index in reversed(range(len(setting.layers))) if prices.of(frozenset({index})).fits(budget))
    return next(masks, None)


def _least_asked(prepared: Prepared, client: ClientId) -> Cost:
    """Return what the mask that exceeds the fewest limits asks in the units that it exceeds."""
    setting = prepared.setting
    prices, budget = setting.method.cost.prices(client, prepared.visit(client)), setting.profiles[client].budget
    asked = [prices.of(frozenset({index})) for index in reversed(range(len(setting.layers)))]
    least = min(asked, key=lambda price: max(_excess(price, budget)))
    return least.only(*least.over(budget))


def _excess(price: Cost, budget: Cost) -> list[float]:
    limits = dict(budget.items())
    return [value / max(limits[unit], 1e-300) for unit, value in price.items() if unit in price.over(budget)]


def _rehearse(prepared: Prepared, declared: Declared) -> None:
    """Let a selector that needs no scores select once, so that what it cannot honour is said before the run.

    Raises:
        BudgetError: A client cannot pay for what it is to train, or refuses it.
    """
    setting = prepared.setting
    selector = setting.method.selector
    state = selector.init(setting.layers)
    if selector.probes(0, list(setting.profiles), state):
        return
    problem = setting.problem(0, {c: replace(prepared.visit(c), probes=0) for c in setting.profiles}, None)
    try:
        check(selector.select(problem, state)[0], problem)
    except BudgetError as error:
        raise BudgetError("; ".join([str(error), *declared.notes(setting.layers)])) from error


def _located(loaded: Loaded, loc: Loc, work: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever the work returns
    """Do a piece of work; what it says is wrong gets the place in the file."""
    try:
        return work()
    except ConfigError as error:
        raise config_error([Problem(loc, str(error))], loaded.marks) from error
