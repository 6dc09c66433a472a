"""What a run's prices depend on: every client's batches, the model's measured step, the clients' machines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fedstrata.assembly.budget_advice import Advise, nothing
from fedstrata.client.train import batches
from fedstrata.costs.protocol import Batch, Workload
from fedstrata.data.tensors import ATTENTION, ClientRows, TensorRows
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId
from fedstrata.domain.profile import StepProfile
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.stats import Statistic
from fedstrata.errors import BudgetError
from fedstrata.models.profiling.step import Network, measure_step
from fedstrata.server.setting import Setting
from fedstrata.wire.messages import ProbePlan, TrainPlan


def workload(data: ClientRows, client: ClientId, *, train: TrainPlan, probe: ProbePlan, seeds: Seeds) -> Workload:
    """Return a client's batches in round 0; other rounds shuffle the same rows."""
    lengths = _lengths(data.rows, data.train)
    shuffle = seeds.generator(Phase.TRAIN, round=0, client=client)
    shuffle.integers(2**63)  # as local training draws its own seed first
    drawn = seeds.generator(Phase.PROBE, round=0, client=client).permutation(len(data.train))
    at = {int(row): place for place, row in enumerate(data.train)} if lengths is not None else {}

    def shape(rows: Tensor) -> Batch:
        if lengths is None:
            return len(rows), None
        return len(rows), max(lengths[at[int(row)]] for row in rows)

    return Workload(
        train=tuple(shape(rows) for rows in batches(data.train, train, shuffle)),
        probe=tuple(shape(rows) for rows in probe_passes(data.train[torch.from_numpy(drawn)], probe)),
        longest=None if lengths is None else max(lengths),
    )


def _lengths(rows: TensorRows, indices: Tensor) -> list[int] | None:
    if ATTENTION not in rows.inputs:
        return None
    found: list[int] = rows.inputs[ATTENTION][indices].sum(dim=1).tolist()
    return found


def probe_passes(rows: Tensor, plan: ProbePlan) -> list[Tensor]:
    """Return the rows of each backward pass of a probe (``client/probe.py``), given the client's rows as drawn."""
    drawn = rows[: plan.batches * plan.batch_size] if plan.batches else rows
    passes: list[Tensor] = []
    if Statistic.HALVES in plan.statistics:
        half = len(drawn) // 2
        passes += [*drawn[:half].split(plan.batch_size), *drawn[half:].split(plan.batch_size)]
    elif plan.statistics <= {Statistic.NORM}:
        passes += drawn.split(plan.batch_size)
    if Statistic.SAMPLES in plan.statistics:
        passes += drawn.split(1)
    return passes


def lengths_of(workloads: Iterable[Workload]) -> tuple[int | None, ...]:
    """Return the lengths at which the model's step has to be measured: up to three, from the shortest batch on.

    Example:
        >>> lengths_of([Workload(((4, 10),), longest=40)]), lengths_of([Workload(((4, None),))])
        ((10, 25, 40), (None,))
    """
    seen = [(length, w.longest) for w in workloads for _, length in (*w.train, *w.probe)]
    if not seen or seen[0][0] is None:
        return (None,)
    low = min(length or 0 for length, _ in seen)
    high = max(longest or 0 for _, longest in seen)
    return tuple(sorted({low, (low + high) // 2, high}))


def measured(network: Network, sample: Mapping[str, Tensor], workloads: Sequence[Workload]) -> tuple[StepProfile, ...]:
    """Measure the model's step on the largest batch of local training, at the lengths that the workloads need.

    Args:
        network: The model, with or without weights.
        sample: Inputs of one row, as the objective takes them.
        workloads: Every client's batches.

    Raises:
        ModelError: The model's code cannot run on shapes alone.
    """
    rows = max(count for w in workloads for count, _ in w.train)

    def batch(length: int | None) -> dict[str, Tensor]:
        shapes = {name: _shape(t, rows, length) for name, t in sample.items()}
        return {name: torch.ones(shape, dtype=sample[name].dtype) for name, shape in shapes.items()}

    return tuple(
        replace(
            measure_step(
                network.model,
                network.layers,
                batch(length),
                network.objective,
                checkpointing=network.form.checkpointing,
            ),
            rows=rows,
            length=length,
        )
        for length in lengths_of(workloads)
    )


def _shape(of_one: Tensor, rows: int, length: int | None) -> tuple[int, ...]:
    """Return the shape of a batch's input, given one row's; a list of scored tokens has so many for every row."""
    if length is None:
        return (rows, *of_one.shape[1:])
    return (rows, length) if of_one.dim() == 2 else (rows * len(of_one),)


def check_units(setting: Setting, probed: Collection[ClientId], advise: Advise = nothing) -> None:
    """Refuse budgets in units that have no price, and budgets that do not even pay for the empty mask.

    Args:
        setting: Prices and budgets.
        probed: Clients that the selector ever probes.
        advise: Says what would fit.

    Raises:
        BudgetError: With the client, the price and the budget.
    """
    for client, profile in setting.profiles.items():
        if not profile.budget.limited():
            continue
        worst = ClientRound(int(client in probed), setting.layers.bytes_of(setting.layers.everything))
        prices = setting.method.cost.prices(client, worst)
        for unit in profile.budget.limited():
            if unit not in prices.units:
                raise BudgetError(f"client {client} has a budget in {unit}, which {_why(unit)}")
        least = prices.of(frozenset())
        if not least.fits(profile.budget):
            probing = ", the probe included," if client in probed else ""
            raise BudgetError(
                f"client {client} cannot take part: training no layer at all, only what everyone trains{probing} needs"
                f" {least.only(*least.over(profile.budget))}, and its budget is {profile.budget}; raise the"
                f" budget or leave the client out{advise(client, profile.budget, worst, [frozenset()])}"
            )


def _why(unit: str) -> str:
    if unit == "seconds":
        return "needs the client's machine: add its profile to devices ('fedstrata bench client' writes one)"
    return "has no price here: use cost: measured, with a model whose step can be measured"
