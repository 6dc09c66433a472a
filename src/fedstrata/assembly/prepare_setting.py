"""From checked components, blocks and rows to a run's setting: prices, budgets, plans, each held against the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from fedstrata.assembly.affordable import Prepared, poor
from fedstrata.assembly.budget_advice import Fitting
from fedstrata.assembly.client_plans import probe_plan, probed_clients, theory_sketch, train_plan
from fedstrata.assembly.declared import Declared
from fedstrata.assembly.device_profiles import load_devices
from fedstrata.assembly.method_name import method_name
from fedstrata.assembly.panel import draw_panel
from fedstrata.assembly.pricing import check_units, workload
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
from fedstrata.errors import BudgetError, ConfigError, FedstrataError
from fedstrata.server.setting import Method, Setting

Measure = Callable[[Sequence[Workload]], tuple[StepProfile, ...]]
"""Measures the model's step for the batches of these workloads."""


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
    names, notes, parts = list(clients), list[str](), loaded.components
    facts = _facts(loaded, layers, clients, measure, notes, parameter_bytes, declared, new_head=new_head)
    loaded.at(("selector",), lambda: parts.selector.init(layers))
    loaded.at(("sampler",), lambda: parts.sampler.sample(names, Seeds(loaded.config.seed).generator(Phase.SAMPLE)))
    pricing = loaded.at(("cost",), lambda: parts.cost.bind(facts))
    budgets = _budgets(loaded, facts, pricing, declared)
    loaded.at(("flower", "sites"), lambda: notes.extend(declared.notes(layers)))
    profiles = {c: _profile(c, clients[c], examples[c], budgets[c], declared, layers) for c in names}
    setting = _setting(loaded, facts, pricing, profiles, declared)
    prepared = Prepared(setting, facts.workloads, probed_clients(loaded, names, layers, facts.probe), ())
    refusals = _check(loaded, prepared, declared, facts, notes, refuse=refuse)
    return replace(prepared, notes=tuple(notes), refusals=refusals)


def _facts(
    loaded: Loaded,
    layers: LayerMap,
    clients: Mapping[ClientId, Workload | ClientRows],
    measure: Measure,
    notes: list[str],
    parameter_bytes: int,
    declared: Declared,
    *,
    new_head: bool,
) -> Facts:
    """Return what costs are made of: plans, each client's batches, devices, and the step, measured when asked for."""
    seeds, train, probe = Seeds(loaded.config.seed), train_plan(loaded, new_head=new_head), probe_plan(loaded)
    workloads = {
        c: w if isinstance(w, Workload) else workload(w, c, train=train, probe=probe, seeds=seeds)
        for c, w in clients.items()
    }
    return Facts(
        layers=layers,
        train=train,
        probe=probe,
        workloads=workloads,
        devices=load_devices(loaded, [*clients, *declared.absent]),
        profiles=cache(lambda: _measured(measure, list(workloads.values()), notes)),
        parameter_bytes=parameter_bytes,
        trainer=loaded.at(("trainer",), lambda: loaded.components.trainer.cost(train)),
    )


def _budgets(loaded: Loaded, facts: Facts, pricing: Pricing, declared: Declared) -> Mapping[ClientId, Cost]:
    """Return what the configuration lets each client spend, those that are absent among them."""

    def of_full(client: ClientId) -> Cost:
        known = client in facts.workloads
        return pricing.prices(client, ClientRound()).of(facts.layers.everything) if known else Cost()

    known, full = [*facts.workloads, *declared.absent], FullCost(of_full, facts.devices)
    seeds = Seeds(loaded.config.seed)
    budgets: Mapping[ClientId, Cost] = loaded.at(
        ("budget",), lambda: loaded.components.budget.assign(known, seeds, full)
    )
    return budgets


def _profile(
    name: ClientId,
    client: Workload | ClientRows,
    examples: int,
    budget: Cost,
    declared: Declared,
    layers: LayerMap,
) -> ClientProfile:
    """Return what the server knows of a client: what its site declares comes before what the configuration says."""
    held_out = declared.sites[name].held_out if name in declared.sites else _held_out(client)
    return ClientProfile(examples, declared.budget(name, budget, layers), held_out)


def _setting(
    loaded: Loaded,
    facts: Facts,
    pricing: Pricing,
    profiles: Mapping[ClientId, ClientProfile],
    declared: Declared,
) -> Setting:
    """Return the setting, whose quorums the clients can reach."""
    config, parts, layers = loaded.config, loaded.components, facts.layers
    setting = Setting(
        name=config.name or method_name(parts.selector),
        layers=layers,
        method=Method(parts.score, declared.priced(pricing, layers), parts.selector, parts.aggregator),
        profiles=profiles,
        sampler=parts.sampler,
        seeds=Seeds(config.seed),
        probe=facts.probe,
        piggyback=config.probe.piggyback,
        train=facts.train,
        lr_decay=config.train.lr_decay,
        max_norm=config.upload.max_norm,
        rules=config.round,
        sketch=theory_sketch(loaded),
        trainer=facts.trainer,
        panel=loaded.at(
            ("evaluate", "clients"), lambda: draw_panel(config.evaluate.clients, profiles, Seeds(config.seed))
        ),
    )
    loaded.at(("round", "quorum"), lambda: _check_quorum(setting, "quorum"))
    loaded.at(("round", "layer_quorum"), lambda: _check_quorum(setting, "layer_quorum"))
    return setting


def _check(
    loaded: Loaded, prepared: Prepared, declared: Declared, facts: Facts, notes: list[str], *, refuse: bool
) -> tuple[str, ...]:
    """Hold budgets and selector against each other, and return the first refusal that is not to be raised.

    Raises:
        ConfigError: A budget cannot be spent or honoured, and ``refuse`` says to raise it; with file and line.
    """
    config, setting = loaded.config, prepared.setting
    advise = Fitting(loaded.components.cost, facts, config.model.adapter is not None, config.model.units)
    idle = declared.idle(setting.layers)
    for loc, work in (
        (("budget",), lambda: check_units(setting, prepared.probed, advise)),
        (("budget",), lambda: notes.extend(poor(prepared, config.below_budget, idle, advise))),
        (("selector",), lambda: _rehearse(prepared, declared)),
    ):
        try:
            loaded.at(loc, work)
        except ConfigError as error:
            if refuse:
                raise
            return (str(error),)
    return ()


def _check_quorum(setting: Setting, name: str) -> None:
    """Refuse a quorum (``quorum`` or ``layer_quorum``) that no cohort can reach.

    Raises:
        ConfigError: It is larger than the first round's cohort.
    """
    cohort, rules = len(setting.cohort(0, 0)), setting.rules
    needed = rules.needed(cohort) if name == "quorum" else rules.layer_quorum
    if needed > cohort:
        people = "1 client takes" if cohort == 1 else f"{cohort} clients take"
        raise ConfigError(f"{needed} clients are needed, but {people} part in a round; use {cohort} at most")


def _held_out(client: Workload | ClientRows) -> int | None:
    """Return how many rows a client holds out; ``None`` where its rows are not at hand."""
    return None if isinstance(client, Workload) else len(client.held_out)


def _measured(measure: Measure, workloads: Sequence[Workload], notes: list[str]) -> tuple[StepProfile, ...]:
    """Measure the model's step; where that cannot be done, layers and bytes alone are priced, and it is said."""
    try:
        return measure(workloads)
    except FedstrataError as error:
        notes.append(f"FLOPs, memory and seconds are not priced: {error}")
        return ()


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
