"""A plan as tables: what is planned, blocks, single layers, clients, selectors, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isclose, isnan

from rich.console import Console

from fedstrata.cli.plan_clients import client_rows
from fedstrata.cli.terminal import say
from fedstrata.config.schema import ModelSection
from fedstrata.domain.cost import Cost, spread
from fedstrata.domain.formatting import plural
from fedstrata.domain.units import UNITS, shown
from fedstrata.planning.forecast import Forecast
from fedstrata.planning.plan import Block, Plan
from fedstrata.planning.plan_json import cohort, kept_bytes
from fedstrata.planning.spans import Span
from fedstrata.planning.warnings import plan_warnings
from fedstrata.tables.table import Table
from fedstrata.tables.terminal import Terminal

SHOWN = 9
"""Layers of a deep model that are shown in the table of single layers."""


def show(plan: Plan, name: str, console: Console) -> None:
    """Print a plan.

    Args:
        plan: What to print.
        name: The configuration's file.
        console: Where to print it.
    """
    for line in _about(plan, name):
        say(console, line)
    for table in (_blocks(plan), _alone(plan), _clients(plan), _round(plan), _run(plan)):
        console.print()
        console.print(Terminal(table))
    console.print()
    for line in (*_legend(plan), *(f"warning: {warning}" for warning in plan_warnings(plan))):
        say(console, line)


def _about(plan: Plan, name: str) -> Iterator[str]:
    about = plan.subject
    config, setting = about.loaded.config, about.prepared.setting
    parameters = sum(block.parameters for block in plan.blocks)
    yield f"plan of {name}: nothing is trained, no weights are read, no folder is made"
    yield (
        f"model    {config.model.path}, {about.task}: {len(setting.layers)} layers to choose from,"
        f" {parameters:,} parameters, {plain('bytes_peak', about.parameter_bytes)}"
    )
    if made := _layers_of(config.model):
        yield f"layers   {made}"
    yield f"data     {about.source}"
    kinds = {family: getattr(config, family) for family in ("score", "cost")}
    words = ", ".join(f"{key} {value if isinstance(value, str) else value['kind']}" for key, value in kinds.items())
    yield f"method   {setting.name}, {words}; budget {spread(p.budget for p in setting.profiles.values())} per client"
    if kept := kept_bytes(plan):
        said = (
            f"{plain('bytes_peak', kept)} between rounds at most, in up to 4 versions on its disk; none of it is sent"
        )
        yield f"state    each client keeps {said}"
    yield f"a round  {cohort(plan)} of {len(setting.profiles)} clients, {_batches(plan)}; {config.train.rounds} rounds"


def _layers_of(model: ModelSection) -> str:
    """Return what a layer is, where it is not a block's weights."""
    said = ["attention and MLP halves of blocks"] if model.units == "halves" else []
    if model.adapter is not None:
        given = model.adapter
        targets = "" if given.targets == "auto" else f" on {', '.join(given.targets)}"
        said.append(f"{given.kind} of rank {given.rank}, alpha {given.alpha:g}{targets}; the weights are frozen")
    return "; ".join(said)


def _batches(plan: Plan) -> str:
    about = plan.subject
    train, probe = about.loaded.config.train, about.loaded.config.probe
    loads = list(about.prepared.workloads.values())
    steps = sorted({len(w.train) for w in loads})
    longest = max((w.longest or 0 for w in loads), default=0)
    tokens = f" of up to {longest} tokens" if longest else ""
    count = plural(steps[0], "local step") if len(steps) == 1 else f"{steps[0]} to {steps[-1]} local steps"
    rows = max(rows for w in loads for rows, _ in w.train)
    local = f"{count} with {train.optimizer} on batches of up to {rows} rows{tokens}"
    if not about.prepared.probed:
        return f"no probe, {local}"
    batches = "all rows" if not probe.batches else plural(probe.batches, "batch")
    return f"probe on {batches} of up to {probe.batch_size} rows, {local}"


@dataclass(frozen=True, slots=True)
class _Size:
    """What makes neighbouring blocks alike."""

    role: str
    parameters: int
    forward: float | None
    weight: float | None


def _blocks(plan: Plan) -> Table:
    title = f"Blocks: operations in the local steps of one round of {plan.reference}, without probe"
    head = ("block", "trained by", "# parameters", "# bytes up", "# FLOPs forward", "# FLOPs weight gradient")
    return Table(title, head, tuple(_block_rows(plan)))


def _block_rows(plan: Plan) -> Iterator[tuple[str, ...]]:
    trained = {"never": "nobody", "layer": "masks", "always": "everyone", "between": "-"}

    def size(block: Block) -> _Size:
        return _Size(block.role, block.parameters, block.forward, block.weight)

    for alike, group in groupby(plan.blocks, key=size):
        blocks = list(group)
        if alike.role == "between" and not alike.forward:
            continue
        alone = blocks[0]
        name = alone.name if len(blocks) == 1 else f"{alone.name} to {blocks[-1].name} ({len(blocks)} layers), each"
        yield (
            name,
            trained[alike.role],
            f"{alike.parameters:,}" if alike.parameters else "-",
            plain("bytes_up", alone.bytes_up) if alone.bytes_up else "-",
            _operations(alike.forward),
            _operations(alike.weight) if alike.role in ("layer", "always") else "-",
        )


def _operations(value: float | None) -> str:
    return "-" if value is None else plain("flops", value)


def _alone(plan: Plan) -> Table:
    """Return what training one layer costs: the lower it lies, the further gradients are carried."""
    title = f"One layer alone: a round of {plan.reference} that trains it and what everyone trains, without probe"
    head = ("trained", "# FLOPs, of full", "# peak memory, of full", "# seconds, of full", "# bytes up")
    layers = [block for block in plan.blocks if block.alone is not None]
    step = 1 if len(layers) <= SHOWN + 3 else (len(layers) - 1) / (SHOWN - 1)
    chosen = sorted({round(i * step) for i in range(SHOWN if step > 1 else len(layers))})
    rows = [
        (f"{block.index}  {block.name}", *_shares(block.alone, plan.everything))
        for block in (layers[at] for at in chosen)
        if block.alone is not None
    ]
    ends = [
        ("no layer (head-only)", *_shares(plan.nothing, plan.everything)),
        ("all layers (full)", *_shares(plan.everything, plan.everything)),
    ]
    if plan.subject.prepared.probed:
        ends.append(("the probe adds", *_shares(plan.probe, plan.everything)))
    if len(chosen) < len(layers):
        title += f"; {len(chosen)} of {len(layers)} layers, --json has all"
    return Table(title, head, (*rows, *ends), ruled=frozenset({len(rows)}))


def _shares(cost: Cost, full: Cost) -> tuple[str, ...]:
    found: list[str] = []
    for unit in ("flops", "bytes_peak", "seconds"):
        value, whole = dict(cost.items())[unit], dict(full.items())[unit]
        found.append("-" if isnan(value) else f"{plain(unit, value)} {share(value, whole):>4}")
    return (*found, plain("bytes_up", cost.bytes_up))


def _clients(plan: Plan) -> Table:
    title = "Clients: the masks that their budgets pay for"
    needs = ("needed: head only", "needed: all layers", "layers it can train alone")
    head = ("client", "budget", *needs, "# deepest", "# from output", "# most layers")
    return Table(title, head, tuple(client_rows(plan.clients)))


_UNITS = ("flops", "seconds", "bytes_up", "bytes_peak")


def _round(plan: Plan) -> Table:
    columns = ("# FLOPs", "# seconds", "# bytes up", "# peak memory", "# bytes down: first", "# later")
    return Table("Selectors: one client in one round", ("selector", *columns), tuple(_round_rows(plan, len(columns))))


def _round_rows(plan: Plan, columns: int) -> Iterator[tuple[str, ...]]:
    for found in _methods(plan):
        if found.mean is None or found.dearest is None or plan.full.mean is None or plan.full.dearest is None:
            yield (f"{found.name}: see warnings", *[""] * columns)
            continue
        down = (plain("bytes_down", found.down_first), plain("bytes_down", found.down_later))
        full = plan.full.mean.high
        for number, (label, cost, loose) in enumerate(_ends(found.name, found.mean)):
            yield (label, *_cells(cost, full, loose, _UNITS), *(down if not number else ("", "")))
        if not _same(found.mean, found.dearest):
            yield ("  costliest client", *_cells(found.dearest.high, full, found.dearest.loose, _UNITS), "", "")


def _same(mean: Span, dearest: Span) -> bool:
    ends = zip(mean.high.only(*_UNITS).items(), dearest.high.only(*_UNITS).items(), strict=True)
    return all(isnan(one) or isclose(one, other) for (_, one), (_, other) in ends)


def _run(plan: Plan) -> Table:
    units = ("flops", "seconds", "bytes_up", "bytes_down")
    rounds = plan.subject.loaded.config.train.rounds
    title = f"Selectors: the run, {plural(rounds, 'round')} of {plural(cohort(plan), 'client')}"
    rows = tuple(
        (label, *_cells(cost, plan.full.run.high, loose, units))
        for found in _methods(plan)
        if found.run is not None and plan.full.run is not None
        for label, cost, loose in _ends(found.name, found.run)
    )
    return Table(title, ("selector", "# FLOPs", "# client-seconds", "# bytes up", "# bytes down"), rows)


def _methods(plan: Plan) -> Iterator[Forecast]:
    yield plan.full
    yield plan.head_only
    yield from (found for found in plan.selectors if found.name not in ("full", "head-only") or found.problem)


def _ends(name: str, span: Span) -> Iterable[tuple[str, Cost, Sequence[str]]]:
    """Return the rows of a range: label, cost, and the units in which it is only a bound."""
    if span.known:
        return [(name, span.high, ())]
    return [(f"{name}: at least", span.low, ()), ("  at most", span.high, span.loose)]


def _cells(cost: Cost, full: Cost, loose: Sequence[str], units: Sequence[str]) -> list[str]:
    values, whole = dict(cost.items()), dict(full.items())
    return [
        "-"
        if isnan(values[unit])
        else f"{'<' * (unit in loose)}{plain(unit, values[unit])} {share(values[unit], whole[unit])}"
        for unit in units
    ]


def _legend(plan: Plan) -> Iterator[str]:
    yield "Shares are of full fine-tuning. Bytes down: the most for one client, in the first and in a later round."
    ranged = [found.name for found in plan.selectors if found.ranged]
    if ranged:
        yield (
            f"{', '.join(ranged)}: which layers it trains depends on scores, which only a run has; the two rows are"
            " the cheapest and the costliest mask of at least one layer that each client can pay for, with the probe."
        )
    loose = sorted({unit for f in plan.selectors if f.run for unit in f.run.loose}, key=UNITS.index)
    if loose:
        yield f"<: an upper bound in {', '.join(loose)}; the other numbers are exact."


def plain(unit: str, value: float) -> str:
    """Return a value as people read it, without the words that a heading has said.

    Example:
        >>> plain("flops", 1.5e9), plain("bytes_up", 133_888), plain("seconds", float("nan"))
        ('1.50 G', '133.89 kB', '-')
    """
    text = shown(unit, value)
    for word in (" up", " down", " peak"):
        text = text.removesuffix(word)
    return text.removesuffix("FLOP").rstrip()


def share(value: float, whole: float) -> str:
    """Return a share in percent.

    Example:
        >>> share(1.0, 4.0), share(1.0, float("nan"))
        ('25%', '-')
    """
    return "-" if isnan(value) or isnan(whole) or not whole else f"{100 * value / whole:.0f}%"
