"""The plan of a run: what its blocks cost, what its clients can pay for, what its selectors will ask of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from fedstrata.assembly.method_name import method_name
from fedstrata.config.catalog import BuildError, build
from fedstrata.config.load import Loaded
from fedstrata.costs.scaling import weights
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.prices import Prices
from fedstrata.errors import ConfigError
from fedstrata.planning.forecast import Bounds, Forecast, Reference, forecast
from fedstrata.planning.masks import Affordable
from fedstrata.planning.subject import Assumed, Subject, subject
from fedstrata.selectors.masks import candidates
from fedstrata.selectors.protocol import Selector
from fedstrata.wire.sizes import update_bytes


@dataclass(frozen=True, slots=True)
class Block:
    """What a block costs one client in one round, the reference client's; operations without the probe.

    Attributes:
        name: The block's; work outside every block stands under ``(between blocks)``.
        role: ``layer``, ``always``, ``never`` or ``between``.
        index: Of a selectable layer.
        parameters: Number of its parameters.
        bytes_up: Bytes that a client sends if it trains the block.
        forward: Operations of its forward passes; ``None`` if not measured.
        weight: Operations of its weight gradients where it is trained; ``None`` if not measured.
        alone: Price of a round that trains this layer and ``always``; ``None`` for other blocks.
    """

    name: LayerName
    role: str
    index: int | None
    parameters: int
    bytes_up: int
    forward: float | None
    weight: float | None
    alone: Cost | None = None


@dataclass(frozen=True, slots=True)
class Means:
    """What a client can pay for in its first round, the selector's probe included.

    Attributes:
        client: Its name.
        examples: Training rows.
        budget: Its budget.
        masks: The masks that it could be given.
        nothing: Price of the empty mask.
        everything: Price of the mask with every selectable layer.
    """

    client: ClientId
    examples: int
    budget: Cost
    masks: Affordable
    nothing: Cost
    everything: Cost


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A whole plan.

    Attributes:
        subject: The run that is planned.
        reference: The client whose round the blocks are priced for: the median one by the price of everything.
        blocks: ``never``, layers, ``always``, and what lies between, in this order.
        nothing: Price of the reference client's round that trains ``always`` alone, without probe.
        everything: Price of its full fine-tuning, without probe.
        probe: What a probe adds to its round, ``bytes_peak`` being the probe's own.
        clients: Every client.
        selectors: The configuration's, those inside it, and those asked for besides.
        full: What full fine-tuning of every client costs.
        head_only: What training ``always`` alone costs.
    """

    subject: Subject
    reference: ClientId
    blocks: tuple[Block, ...]
    nothing: Cost
    everything: Cost
    probe: Cost
    clients: tuple[Means, ...]
    selectors: tuple[Forecast, ...]
    full: Forecast
    head_only: Forecast


def make_plan(loaded: Loaded, *, assumed: Assumed | None = None, selectors: Sequence[str] = ()) -> Plan:
    """Return the plan of a run; nothing is trained and no weight is read.

    Args:
        loaded: The configuration.
        assumed: Clients to plan for without data; ``None`` reads the configuration's data.
        selectors: Kinds of selectors to compare besides.

    Raises:
        ConfigError: What a run would refuse too, or an unknown kind; with file and line. Budgets that cannot be spent
            are planned, and stand in ``subject.prepared.refusals``.
        DataError: The data cannot be read.

    Example:
        >>> from fedstrata.config.load import check_config
        >>> digits = {"kind": "digits", "partition": {"kind": "iid", "clients": 2}}
        >>> loaded = check_config({"model": {"path": "embedded:vit-digits"}, "data": digits, "budget": 1})
        >>> plan = make_plan(loaded, selectors=["top"])
        >>> [(f.name, f.ranged) for f in plan.selectors], plan.clients[0].masks.singles
        ([('consensus', True), ('top', False)], (0, 1, 2, 3, 4, 5))
    """
    others = [_built(kind) for kind in selectors]
    about = subject(loaded, assumed)
    prepared, rounds = about.prepared, loaded.config.train.rounds
    setting, bounds = prepared.setting, Bounds(prepared.setting)
    reference = _median_client(about)
    prices = setting.method.cost.prices(reference, ClientRound())
    everything = frozenset(candidates(setting.layers))
    clients = tuple(_means(about, bounds, client) for client in setting.profiles)
    methods = {_name(s, depth): s for depth, s in enumerate(_nested(loaded.components.selector))}
    methods |= {method_name(s): s for s in others if method_name(s) not in methods}
    found = [forecast(prepared, s, bounds, name=name, rounds=rounds) for name, s in methods.items()]
    full, head_only = (
        forecast(prepared, Reference(mask), bounds, name=name, rounds=rounds)
        for name, mask in (("full", everything), ("head-only", frozenset()))
    )
    return Plan(
        subject=about,
        reference=reference,
        blocks=tuple(_blocks(about, reference, prices)),
        nothing=prices.of(frozenset()),
        everything=prices.of(everything),
        probe=_probe(setting.method.cost.prices(reference, ClientRound(probes=1)), prices),
        clients=clients,
        selectors=tuple(found),
        full=full,
        head_only=head_only,
    )


def _built(kind: str) -> Selector:
    try:
        selector: Selector = build("selector", kind, ("--selector",))
    except BuildError as error:
        advice = (
            "; name it in the configuration, or as an override (--set)" if "needs" in error.problems[0].message else ""
        )
        raise ConfigError(f"--selector {kind}: {error.problems[0].message}{advice}") from error
    return selector


def _nested(selector: Selector) -> Iterator[Selector]:
    """Yield a selector and those inside it."""
    inner: Any = selector
    while inner is not None:
        yield inner
        inner = getattr(inner, "inner", None)


def _name(selector: Selector, depth: int) -> str:
    return method_name(selector) if depth == 0 else f"{method_name(selector)} (inner)"


def _median_client(about: Subject) -> ClientId:
    """Return the client whose full fine-tuning is the median in price."""
    setting = about.prepared.setting

    def price(client: ClientId) -> tuple[float, ClientId]:
        flops = setting.method.cost.prices(client, ClientRound()).of(setting.layers.everything).flops
        return (0.0 if isnan(flops) else flops), client

    ordered = sorted(setting.profiles, key=price)
    return ordered[(len(ordered) - 1) // 2]


def _means(about: Subject, bounds: Bounds, client: ClientId) -> Means:
    prepared = about.prepared
    profile = prepared.setting.profiles[client]
    prices, masks = bounds.of(client, prepared.visit(client))
    everything = frozenset(candidates(prepared.setting.layers))
    return Means(client, profile.num_examples, profile.budget, masks, prices.of(frozenset()), prices.of(everything))


def _probe(probed: Prices, plain: Prices) -> Cost:
    """Return what a probe adds; of memory, its own peak where that is more than training nothing takes."""
    with_probe, without = probed.of(frozenset()), plain.of(frozenset())
    added = {unit: value - dict(without.items())[unit] for unit, value in with_probe.items()}
    return Cost(**{**added, "bytes_peak": with_probe.bytes_peak})


def _blocks(about: Subject, client: ClientId, prices: Prices) -> Iterator[Block]:
    """Yield every block, with its operations in the client's local steps."""
    setting = about.prepared.setting
    layers = setting.layers
    forward, weight = _operations(about, client)
    for block in (*layers.never, *layers.layers, *layers.always):
        index = layers.index(block.name) if block in layers.layers else None
        yield Block(
            name=block.name,
            role=str(block.role),
            index=index,
            parameters=block.parameters,
            bytes_up=0 if block in layers.never else update_bytes([block], setting.train.encoding),
            forward=forward.pop(block.name, None),
            weight=weight.pop(block.name, None),
            alone=None if index is None else prices.of(frozenset({index})),
        )
    for name, operations in forward.items():
        yield Block(name, "between", None, 0, 0, operations, weight[name])


def _operations(about: Subject, client: ClientId) -> tuple[dict[LayerName, float], dict[LayerName, float]]:
    """Return forward and weight-gradient operations by block, over the client's local steps."""
    if not about.profiles:
        return {}, {}
    part = weights(about.profiles, about.prepared.workloads[client].train)
    names = about.profiles[0].blocks
    tables = [np.array([getattr(p, what) for p in about.profiles], dtype=np.float64) for what in ("forward", "weight")]
    forward, weight = (dict(zip(names, (part @ table).tolist(), strict=True)) for table in tables)
    return forward, weight
