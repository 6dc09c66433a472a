"""What has to be said of a plan, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fedstrata.domain.cost import ClientRound
from fedstrata.domain.formatting import plural
from fedstrata.domain.ids import ClientId
from fedstrata.domain.units import BUDGET_UNITS, shown
from fedstrata.planning.plan import Plan


def plan_warnings(plan: Plan) -> tuple[str, ...]:
    """Return the warnings of a plan: of data, prices, budgets and selectors."""
    about = plan.subject
    return (
        *about.notes,
        *about.prepared.notes,
        *_unpriced(plan),
        *_full(plan),
        *_probe(plan),
        *_later(plan),
        *_methods(plan),
    )


def _unpriced(plan: Plan) -> Iterator[str]:
    setting = plan.subject.prepared.setting
    priced = {c: setting.method.cost.prices(c, ClientRound()).units for c in setting.profiles}
    slow = [c for c, units in priced.items() if "seconds" not in units]
    missing = [u for u in BUDGET_UNITS if u != "seconds" and not any(u in units for units in priced.values())]
    if missing:
        yield f"not priced: {', '.join(missing)}; cost: measured prices them where the model's step can be measured"
    if slow:
        whose = "no client has one" if len(slow) == len(priced) else f"{_some(slow)} without"
        yield f"seconds need device profiles, {whose} (devices; 'fedstrata bench client' writes one)"


def _full(plan: Plan) -> Iterator[str]:
    over = [c.client for c in plan.clients if not c.everything.fits(c.budget)]
    if over:
        yield f"full fine-tuning is over the budget of {len(over)} of {len(plan.clients)} clients: {_some(over)}"


def _probe(plan: Plan) -> Iterator[str]:
    if not plan.subject.prepared.probed:
        return
    setting = plan.subject.prepared.setting
    rows = [count for count, _ in plan.subject.prepared.workloads[plan.reference].train]
    step = plan.everything.flops * max(rows) / sum(rows)
    if plan.probe.flops > step:
        yield (
            f"the probe of {plan.reference} takes {plan.probe.flops / step:.2f} times the FLOPs of one local step of"
            f" full fine-tuning ({shown('flops', plan.probe.flops)} against {shown('flops', step)}); it has"
            f" {_passes(plan)} of up to {setting.probe.batch_size} rows"
        )
    if plan.probe.bytes_peak > plan.everything.bytes_peak:
        yield (
            f"the probe of {plan.reference} needs more memory than full fine-tuning:"
            f" {shown('bytes_peak', plan.probe.bytes_peak)} against {shown('bytes_peak', plan.everything.bytes_peak)}"
        )


def _passes(plan: Plan) -> str:
    return plural(len(plan.subject.prepared.workloads[plan.reference].probe), "backward pass")


def _later(plan: Plan) -> Iterator[str]:
    """Say which clients can pay for less once the server has to send them what others trained."""
    prepared = plan.subject.prepared
    setting = prepared.setting
    down = setting.layers.bytes_of(setting.layers.everything)
    poorer = []
    for c in plan.clients:
        if "seconds" in c.budget.limited():
            prices = setting.method.cost.prices(c.client, replace(prepared.visit(c.client), bytes_down=down))
            if any(not prices.of(frozenset({i})).fits(c.budget) for i in c.masks.singles):
                poorer.append(c.client)
    if poorer:
        yield (
            f"{_some(poorer)} can pay for fewer layers in a round in which {shown('bytes_down', down)} have to be sent"
            " to them first; the masks shown are those of their first round"
        )


def _methods(plan: Plan) -> Iterator[str]:
    rounds = plan.subject.loaded.config.train.rounds
    for found in plan.selectors:
        if found.problem is not None:
            yield f"{found.name} cannot run here: {found.problem}"
        elif found.rounds < rounds:
            yield f"{found.name}: {found.rounds} of {rounds} rounds were simulated; the others count as alike"


def _some(clients: list[ClientId]) -> str:
    return ", ".join(clients[:3]) + (f", ... ({len(clients)} in all)" if len(clients) > 3 else "")
