"""Limits as people write them, in any units at once: ``{layers: 2, bytes_peak: 25%, seconds: 90 s}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.units import Amount, amount, check_unit
from fedstrata.errors import BudgetError

Limit = int | float | str
"""A number, or a number with a unit or a percent sign."""


def parse(limits: Mapping[str, Limit | None], where: str) -> Mapping[str, Amount]:
    """Return the amounts of the limits that are given.

    Args:
        limits: Unit to limit; ``None`` for no limit.
        where: What they are options of, for the message.

    Raises:
        BudgetError: An unknown unit, or a limit that is no amount of it.

    Example:
        >>> parse({"layers": 2, "flops": None}, "budget")
        {'layers': Amount(value=2.0, share=False)}
    """
    for unit in limits:
        check_unit(unit, where)
    return {unit: amount(unit, limit, where) for unit, limit in limits.items() if limit is not None}


def budget(amounts: Mapping[str, Amount], client: ClientId, full: Callable[[ClientId], Cost]) -> Cost:
    """Return a client's budget; full fine-tuning is priced only where a share of it is asked for.

    Raises:
        BudgetError: A share of something that was not measured.
    """
    shares = any(limit.share for limit in amounts.values())
    whole = dict(full(client).items()) if shares else dict.fromkeys(amounts, 0.0)
    for unit, limit in amounts.items():
        if limit.share and isnan(whole[unit]):
            raise BudgetError(
                f"the budget gives client '{client}' {100 * limit.value:g}% of the {unit} of full fine-tuning, which"
                f" {_unmeasured(unit)}; give a number instead of a share"
            )
    return Cost.limits(**{unit: limit.of(whole[unit]) for unit, limit in amounts.items()})


def _unmeasured(unit: str) -> str:
    if unit == "seconds":
        return "are not known without the client's device profile ('fedstrata bench client' writes one)"
    return "the cost model does not price"
