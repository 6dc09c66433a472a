"""Certificates: how near to the best possible masks the solver proved its own to be."""

from __future__ import annotations

from collections.abc import Mapping

from fedstrata.report.blocks import Block, Table, Text, folded
from fedstrata.report.records import Run
from fedstrata.report.words import NOTHING, number, plural


def certificates(run: Run) -> tuple[Block, ...]:
    """Return the rules that chose the masks with their gaps, and every round's certificate."""
    signed = [(r.round, r.certificate) for r in run.log.rounds if r.certificate]
    if not signed:
        return (Text("This method solves no optimisation problem, so its rounds carry no certificate."),)
    rules: dict[str, list[float]] = {}
    for _, certificate in signed:
        rules.setdefault(str(certificate.get("rule", NOTHING)), []).append(_gap(certificate))
    summary = "; ".join(
        f"{rule} chose the masks of {plural(len(gaps), 'round')}, largest gap {_percent(max(gaps))}"
        for rule, gaps in rules.items()
    )
    rows = tuple(
        (str(r), str(c.get("rule", NOTHING)), _value(c, "objective"), _value(c, "bound"), _percent(_gap(c)))
        for r, c in signed
    )
    table = Table("Certificates", ("# round", "rule", "# objective", "# bound", "# gap"), rows)
    text = f"{summary}. No masks within the budgets are worth more than the bound; a gap of 0 proves the best."
    return (Text(text), folded(table, limit=5))


def _gap(certificate: Mapping[str, float | str]) -> float:
    value = certificate.get("gap")
    return float(value) if isinstance(value, int | float) else float("nan")


def _percent(gap: float) -> str:
    return f"{number(100 * gap)}%" if gap == gap else NOTHING


def _value(certificate: Mapping[str, float | str], name: str) -> str:
    value = certificate.get(name)
    return number(value, digits=6) if isinstance(value, int | float) else NOTHING
