"""Certificates: how near to the best possible masks the solver proved its own to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from fedstrata.domain.formatting import NOTHING, number, plural
from fedstrata.report.blocks import Block, Table, Text, folded
from fedstrata.runs.records import Run

_ROUNDING = 1e-9
"""A gap that is nothing but rounding in the last digits."""


def certificates(run: Run) -> tuple[Block, ...]:
    """Return the rules that chose the masks with their gaps, and every round's certificate."""
    signed = [(r.round, r.certificate) for r in run.log.rounds if r.certificate]
    if not signed:
        return (Text("This method solves no optimisation problem, so its rounds carry no certificate."),)
    rules: dict[str, list[float]] = {}
    for _, certificate in signed:
        rules.setdefault(str(certificate.get("rule", NOTHING)), []).append(_gap(certificate))
    summary = "; ".join(
        f"{rule} chose the masks of {plural(len(gaps), 'round')}, {_proven(gaps)}" for rule, gaps in rules.items()
    )
    rows = tuple(
        (str(r), str(c.get("rule", NOTHING)), _value(c, "objective"), _value(c, "bound"), _percent(_gap(c)))
        for r, c in signed
    )
    table = Table("Certificates", ("# round", "rule", "# objective", "# bound", "# gap"), rows)
    text = (
        f"{summary}. The bound is a value that no masks within the budgets exceed; the gap is how far below it the "
        "chosen masks are."
    )
    return (Text(text), folded(table, limit=5))


def _gap(certificate: Mapping[str, float | str]) -> float:
    value = certificate.get("gap")
    return float(value) if isinstance(value, int | float) else float("nan")


def _proven(gaps: Sequence[float]) -> str:
    """Return how many of some masks are proven optimal, and how far the others may be from it."""
    best = sum(gap <= _ROUNDING for gap in gaps)
    if best == len(gaps):
        return "proven optimal"
    known = [gap for gap in gaps if gap > _ROUNDING and isfinite(gap)]
    unknown = len(gaps) - best - len(known)
    parts = [f"proven optimal in {best}"] if best else []
    parts += [f"at most {_percent(max(known))} below the optimum in {len(known)}"] if known else []
    parts += [f"without a bound in {unknown}"] if unknown else []
    return ", ".join(parts)


def _percent(gap: float) -> str:
    if not isfinite(gap):
        return NOTHING
    return "0" if gap <= _ROUNDING else f"{number(100 * gap)}%"


def _value(certificate: Mapping[str, float | str], name: str) -> str:
    value = certificate.get(name)
    return number(value, digits=6) if isinstance(value, int | float) else NOTHING
