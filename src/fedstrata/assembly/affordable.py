"""Which layers clients can pay for, and the message about those that can pay for none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedstrata.assembly.budget_advice import Advise
from fedstrata.costs.protocol import Workload
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId
from fedstrata.errors import BudgetError
from fedstrata.selectors.protocol import chooses
from fedstrata.server.setting import Setting


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


def poor(prepared: Prepared, below: str, idle: frozenset[ClientId], advise: Advise) -> list[str]:
    """Say which clients can pay for no layer, or refuse them; of those that want none, it has been said.

    Raises:
        BudgetError: No client can pay for a layer, or one cannot and the configuration makes that an error.
    """
    setting = prepared.setting
    if chooses(setting.method.selector) == "none" or not len(setting.layers):
        return []
    limited = [c for c, profile in setting.profiles.items() if profile.budget.limited() and c not in idle]
    without = [c for c in limited if cheapest(prepared, c) is None]
    if not without:
        return []
    first, budget = without[0], setting.profiles[without[0]].budget
    asked = _least_asked(prepared, first)
    single = [frozenset({layer}) for layer in range(len(setting.layers))]
    fitting = advise(first, budget, prepared.visit(first), single)
    if len(without) == len(setting.profiles):
        raise BudgetError(
            f"no client can pay for a single layer: client {first}'s budget is {budget} and the cheapest layer needs"
            f" {asked}; raise it, or choose selector head-only{fitting}"
        )
    sentence = f"{len(without)} of {len(setting.profiles)} clients cannot pay for a single layer, the first is {first}:"
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
