"""The units of costs and budgets, and amounts in them as people write and read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite, isinf, isnan

from fedstrata.errors import BudgetError, nearest

UNITS = ("layers", "flops", "bytes_up", "bytes_down", "bytes_peak", "seconds")
"""Every unit of a cost."""
BUDGET_UNITS = ("layers", "bytes_up", "flops", "bytes_peak", "seconds")
"""The units that a budget may limit; what a client is sent does not depend on its mask."""

PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
"""What large amounts are counted in, from the largest."""

_BYTES = {"": 1.0, "b": 1.0} | {
    f"{prefix}{tail}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for tail, base in (("b", 1000.0), ("ib", 1024.0))
}
_FLOPS = {"": 1.0} | {
    f"{prefix}{tail}": 1000.0**power
    for power, prefix in enumerate(("", "k", "m", "g", "t", "p"))
    for tail in ("flop", "flops")
}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
_SUFFIXES = {
    "layers": {"": 1.0, "layer": 1.0, "layers": 1.0},
    "flops": _FLOPS,
    "bytes_up": _BYTES,
    "bytes_down": _BYTES,
    "bytes_peak": _BYTES,
    "seconds": _SECONDS,
}
_WRITTEN = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z%]*)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Amount:
    """A number in some unit, or a share of what full fine-tuning costs.

    Attributes:
        value: The number; for a share, 0.25 means a quarter.
        share: Whether it is a share.
    """

    value: float
    share: bool = False

    def of(self, full: float) -> float:
        """Return the number, given what full fine-tuning costs."""
        return self.value * full if self.share else self.value


def amount(unit: str, written: float | str, where: str) -> Amount:
    """Return what a number such as ``2``, ``'25%'``, ``'1.5 GB'``, ``'3 TFLOP'`` or ``'2 min'`` says.

    Args:
        unit: One of ``BUDGET_UNITS``.
        written: The number.
        where: What it is an option of, for the message.

    Raises:
        BudgetError: Not a number of this unit, or negative.

    Example:
        >>> amount("bytes_up", "1.5 MB", "budget"), amount("flops", "25%", "budget")
        (Amount(value=1500000.0, share=False), Amount(value=0.25, share=True))
    """
    if isinstance(written, str):
        found = _WRITTEN.fullmatch(written)
        number, suffix = (found[1], found[2].lower()) if found else ("", "")
        try:
            value = float(number)
        except ValueError:
            raise BudgetError(f"{where} has {unit}: '{written}', which is not a number; {_examples(unit)}") from None
        if suffix == "%":
            return Amount(_checked(unit, value, where) / 100, share=True)
        if suffix not in _SUFFIXES[unit]:
            raise BudgetError(
                f"{where} has {unit}: '{written}', and '{found and found[2]}' is no unit of it; {_examples(unit)}"
            )
        return Amount(_checked(unit, value * _SUFFIXES[unit][suffix], where))
    return Amount(_checked(unit, float(written), where))


def check_unit(unit: str, where: str) -> None:
    """Refuse what a budget cannot limit.

    Raises:
        BudgetError: With the nearest unit.
    """
    if unit not in BUDGET_UNITS:
        raise BudgetError(f"{where} limits '{unit}', which is no unit of a budget; {nearest(unit, BUDGET_UNITS)}")


def shown(unit: str, value: float) -> str:
    """Return a value as people read it.

    Example:
        >>> shown("layers", 1.0), shown("bytes_peak", 2.5e9), shown("flops", 3e12), shown("seconds", 90)
        ('1 layer', '2.50 GB peak', '3.00 TFLOP', '90.0 s')
    """
    if isinf(value):
        return "no limit"
    if isnan(value):
        return "-"
    if unit == "layers":
        return f"{value:g} layer{'' if value == 1 else 's'}"
    if unit == "seconds":
        return f"{value:.3g} s" if value < 10 else f"{value:,.1f} s"
    if unit == "flops":
        return f"{scaled(value)}FLOP"
    return f"{scaled(value)}B {unit.removeprefix('bytes_')}"


def scaled(value: float, *, digits: int = 2) -> str:
    """Return a number with so many decimals, a blank and a decimal prefix, to which a unit is added.

    Example:
        >>> scaled(90_857_472, digits=1), scaled(512), scaled(999_996)
        ('90.9 M', '512 ', '1.00 M')
    """
    for size, prefix in PREFIXES:
        if value >= (1 - 0.0005 / 10**digits) * size:  # what rounds to 1000.00 of the smaller is 1.00 of this
            return f"{value / size:.{digits}f} {prefix}"
    return f"{value:g} "


def _checked(unit: str, value: float, where: str) -> float:
    if not (isfinite(value) and value >= 0):
        raise BudgetError(f"{where} has {unit}: {value:g}; it must be 0 or more")
    return value


def _examples(unit: str) -> str:
    own = {"layers": "2", "flops": "3 TFLOP", "seconds": "90 s"}.get(unit, "1.5 GB")
    return f"write a number such as {own}, or a share of full fine-tuning such as 25%"
