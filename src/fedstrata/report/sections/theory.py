"""The error of each round, its bound, and whether either tells how much the round gains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from statistics import median

from fedstrata.domain.formatting import NOTHING, number, plural
from fedstrata.report.blocks import Block, Key, Picture, Pictures, Table, Text, folded
from fedstrata.report.figures.axes import COUNT, NUMBER, Axis
from fedstrata.report.figures.lines import Dot, Line, line_chart
from fedstrata.report.theory_table import Correlation, TheoryLine, correlation, theory_lines
from fedstrata.runs.records import Run

_HEAD = ("# round", "# E", "# E1", "# E2", "# E / (E1 + E2)", "# f before", "# f after", "# decrease")


@dataclass(frozen=True, slots=True)
class _Term:
    label: str
    style: int
    of: Callable[[TheoryLine], float]


_TERMS = (
    _Term("E, the error", 0, lambda line: line.error),
    _Term("E1 + E2, its bound", 1, lambda line: line.bound),
    _Term("E1, layers that nobody trained", 2, lambda line: line.missing_layers),
    _Term("E2, layers that only some trained", 3, lambda line: line.wrong_weights),
)


def theory(run: Run) -> tuple[Block, ...]:
    """Return plots, words and a table of a run's measured errors; nothing where none was measured.

    Example:
        See ``tests/report/test_report_theory.py``.
    """
    head = run.log.header
    lines = theory_lines(run, "", head.method, "", head.seed)
    if not lines:
        return ()
    pictures = [*_terms(lines), *_gains(lines)]
    return (
        Text(_lead(lines)),
        *((Key(tuple((term.label, term.style) for term in _TERMS)),) if pictures else ()),
        *((Pictures(tuple(pictures)),) if pictures else ()),
        *(Text(sentence) for sentence in _verdicts(lines)),
        folded(Table("Error and bound by round", _HEAD, tuple(map(_row, lines))), limit=5),
    )


def _lead(lines: Sequence[TheoryLine]) -> str:
    exact = "from full gradients over all training rows of the clients whose updates counted"
    how = "estimated from sketches of the probes' gradients" if lines[0].estimated else exact
    ratios = [line.error / line.bound for line in lines if line.bound > 0 and isfinite(line.bound)]
    text = f"How far each round's direction was from the full gradient, squared, {how}."
    if not ratios:
        return f"{text} It is 0 in all of {plural(len(lines), 'round')}: everybody trained everything."
    return (
        f"{text} The error is {number(median(ratios))} of its bound in the median of {plural(len(ratios), 'round')}, "
        f"from {number(min(ratios))} to {number(max(ratios))}; it cannot be more than 1."
    )


def _verdicts(lines: Sequence[TheoryLine]) -> list[str]:
    found = [(name, correlation(lines, term.of)) for name, term in zip(("E", "E1 + E2"), _TERMS, strict=False)]
    if not found[0][1].rounds:
        return ["What the rounds gained was not measured (theory: exact does it)."]
    caveat = "Gradients shrink as training goes on, so all three fall together; compare methods before rounds."
    return [
        *(f"Decrease of the training loss f in a round against {name}: {_said(one)}." for name, one in found),
        caveat,
    ]


def _said(one: Correlation) -> str:
    if one.pearson is None or one.spearman is None:
        return f"{plural(one.rounds, 'round')} are too few, or too much alike, to tell"
    return f"correlation {number(one.pearson)}, of ranks {number(one.spearman)}, over {plural(one.rounds, 'round')}"


def _terms(lines: Sequence[TheoryLine]) -> list[Picture]:
    drawn, told = [], []
    for term in _TERMS:
        values = [(line.round, term.of(line)) for line in lines]
        known = [value for _, value in values if 0 < value < inf]
        if known:
            dots = [Dot(n, v if 0 < v < inf else nan, f"{term.label}, round {n}: {number(v)}") for n, v in values]
            drawn.append(Line(term.label, term.style, dots))
            told.append(f"{term.label}: from {number(known[0])} to {number(known[-1])}")
    if not drawn:
        return []
    chart = line_chart(
        drawn,
        title="Error and bound against rounds",
        description="; ".join(told),
        x=Axis("round", COUNT),
        y=Axis("squared norm", NUMBER, log=True),
    )
    return [Picture(chart, "Error and bound against rounds, on a logarithmic axis; what is 0 is left out.")]


def _gains(lines: Sequence[TheoryLine]) -> list[Picture]:
    drawn = []
    for term in reversed(_TERMS[:2]):  # the error on top, which is at most the bound
        dots = [
            Dot(x, line.decrease, f"round {line.round}: {term.label} {number(x)}, f falls by {number(line.decrease)}")
            for line in lines
            if line.decrease is not None and 0 < (x := term.of(line)) < inf
        ]
        drawn += [Line(term.label, term.style, dots, joined=False)] if dots else []
    if not drawn:
        return []
    chart = line_chart(
        drawn,
        title="Decrease of f against error and bound",
        description=f"{plural(len(lines), 'round')}, one dot each",
        x=Axis("squared norm", NUMBER, log=True),
        y=Axis("decrease of the training loss f", NUMBER),
    )
    caption = "What a round gained against its error and the bound; if they told, dots would fall to the right."
    return [Picture(chart, caption)]


def _row(line: TheoryLine) -> tuple[str, ...]:
    ratio = number(line.error / line.bound) if line.bound > 0 else NOTHING
    terms = (number(v) for v in (line.error, line.missing_layers, line.wrong_weights))
    losses = (number(v, digits=5) for v in (line.loss_before, line.loss_after))
    return (str(line.round), *terms, ratio, *losses, number(line.decrease))
