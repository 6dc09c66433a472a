"""Comparison: one row per method, the best accuracy first."""

from __future__ import annotations

from fedstrata.comparison.compare import compare
from fedstrata.comparison.grouping import Group, Series, final_accuracy
from fedstrata.comparison.methods import Rules
from fedstrata.comparison.outcome import outcome_of
from fedstrata.domain.formatting import NOTHING, duration, megabytes, percent, plural, quantity
from fedstrata.report.blocks import Block, Meter, Note, Table, TableCell
from fedstrata.report.sections.paired import difference_blocks
from fedstrata.report.sections.verdict import measured_on
from fedstrata.runs.records import Run
from fedstrata.runs.statistics import layers_chosen, spread

_HEAD = (
    "method",
    "# accuracy",
    "# seeds",
    "# chosen round",
    "# worst client",
    "# MB up",
    "# MB down",
    "# time",
    "# client FLOPs, predicted",
    "# largest client peak",
    "layers chosen",
)


def comparison(group: Group) -> tuple[Block, ...]:
    """Return the table of a group's series, and a warning where it does not compare like with like."""
    ranked = sorted(group.series, key=lambda s: (s.accuracy is None, -(s.accuracy or 0.0), s.bytes_up))
    top = max((s.accuracy or 0.0 for s in ranked), default=0.0) or 1.0
    rows = tuple(_row(series, top) for series in ranked)
    leaders = sum(s.accuracy is not None and s.accuracy == ranked[0].accuracy for s in ranked)
    caption = f"{group.label}: {measured_on(group)} after the last round, and of the round that held-out rows choose"
    table = Table(caption, _HEAD, rows, strong=frozenset(range(leaders)))
    done = sorted({len(run.log.rounds) for run in group.runs})
    if len(done) < 2:
        return (table, *_paired(group))
    return (
        table,
        *_paired(group),
        Note(f"These runs differ in length, from {plural(done[0], 'round')} to {plural(done[-1], 'round')}."),
    )


def _paired(group: Group) -> tuple[Block, ...]:
    """Return the differences to one method over the seeds that it shares with others, where seeds are several."""
    if max(len(series.seeds) for series in group.series) < 2 or len(group.series) < 2:
        return ()
    outcomes = [
        outcome_of(run, row=group.label, size="", method=series.label, budget="")
        for series in group.series
        for run in series.runs
    ]
    (contest,) = compare(outcomes, Rules())
    few = tuple(Note(note) for note in contest.notes if note.startswith("Fewer"))
    return (*difference_blocks(contest), *few)


def _row(series: Series, top: float) -> tuple[TableCell, ...]:
    finals = [a for run in series.runs if (a := final_accuracy(run)) is not None]
    text = percent(series.accuracy)
    if len(finals) > 1:
        text += f" ({100 * min(finals):.1f}–{100 * max(finals):.1f})"
    worst = series.mean(_worst(run) for run in series.runs)
    down = series.mean(sum(r.bytes_down for r in run.log.rounds) for run in series.runs)
    return (
        series.label,
        Meter(text, (series.accuracy or 0.0) / top),
        str(len(series.seeds)),
        percent(series.chosen),
        percent(worst),
        megabytes(series.bytes_up),
        NOTHING if down is None else megabytes(down),
        duration(series.seconds),
        NOTHING if series.flops is None else quantity("flops", series.flops),
        NOTHING if series.peak is None else quantity("bytes_peak", series.peak),
        layers_chosen(series.runs),
    )


def _worst(run: Run) -> float | None:
    found = spread(run)
    return None if found is None else found.worst
