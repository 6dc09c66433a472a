"""Comparisons for people and programs: tables for a terminal (rich), for a document (Markdown), and JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from fedstrata.comparison.intervals import Paired
from fedstrata.comparison.methods import Contest, Line
from fedstrata.domain.formatting import clean
from fedstrata.report.compare_tables import HOW, layer_shares, sheets
from fedstrata.tables.table import escaped
from fedstrata.tables.table import markdown as table_markdown
from fedstrata.tables.terminal import Terminal


def terminal_views(contests: Sequence[Contest]) -> Iterator[Terminal | Text]:
    """Yield what a terminal shows of contests: per contest a title, tables and notes; text is never read as markup.

    Example:
        >>> list(terminal_views([]))
        []
    """
    for contest in contests:
        yield Text(clean(contest.title), style="bold")
        yield from map(Terminal, sheets(contest))
        for note in contest.notes:
            yield Text(f"! {clean(note)}")
    if contests:
        yield Text(HOW, style="dim")


def markdown(contests: Sequence[Contest], *, notes: Sequence[str] = ()) -> str:
    """Return contests as Markdown that ends with a newline; nothing is bold but the reference.

    Args:
        contests: What is shown.
        notes: Lines that go above all, such as the command that was run.
    """
    parts = [escaped(note) for note in notes]
    for contest in contests:
        parts.append(f"### {escaped(contest.title)}")
        for sheet in sheets(contest):
            parts += [f"{escaped(sheet.caption)}:", table_markdown(sheet)]
        parts += [escaped(note) for note in contest.notes]
    if contests:
        parts.append(HOW)
    return "\n\n".join(parts) + "\n"


def json_values(contests: Sequence[Contest], *, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return contests as JSON values: shares in [0, 1], bytes, operations; ``null`` for what is not known."""
    return {"how": HOW, "notes": list(notes), "comparisons": [_contest(contest) for contest in contests]}


def _contest(contest: Contest) -> dict[str, Any]:
    return {
        "row": contest.row,
        "size": contest.size,
        "budget": contest.budget,
        "reference": contest.reference,
        "target": contest.target,
        "notes": list(contest.notes),
        "methods": [_line(line) for line in contest.lines],
        "oracle_candidates": [_line(line) for line in contest.candidates],
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "label": line.label,
        "method": line.method,
        "seeds": list(line.seeds),
        "accuracy": None if line.accuracy is None else asdict(line.accuracy),
        "accuracies": {str(seed): share for seed, share in line.accuracies.items()},
        "loss": None if line.loss is None else asdict(line.loss),
        "losses": {str(seed): nats for seed, nats in line.losses.items()},
        "difference": _paired(line.against),
        "loss_difference": _paired(line.loss_against),
        "p_holm": line.adjusted,
        "to_oracle": _paired(line.to_oracle),
        "to_full": _paired(line.to_full),
        "worst_client": line.mean(lambda o: o.worst_client),
        "median_client": line.mean(lambda o: o.median_client),
        "best_client": line.mean(lambda o: o.best_client),
        "bytes_up": line.mean(lambda o: o.bytes_up),
        "bytes_down": line.mean(lambda o: o.bytes_down),
        "flops": line.mean(lambda o: o.flops),
        "seconds": line.mean(lambda o: o.seconds),
        "reached": None if line.reached is None else asdict(line.reached),
        "layers": layer_shares(line),
    }


def _paired(pair: Paired | None) -> dict[str, Any] | None:
    return None if pair is None else {**asdict(pair), "seeds": list(pair.seeds)}
