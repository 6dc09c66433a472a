"""Layer selection: how many clients trained each layer in each round, and how often each client trained it."""

from __future__ import annotations

from collections.abc import Sequence

from fedstrata.domain.formatting import plural, short_names
from fedstrata.domain.records import RoundRecord
from fedstrata.report.blocks import Block, Picture, Pictures, Text
from fedstrata.report.figures.grid import Cell, Grid, bins, draw, level_of_share
from fedstrata.runs.records import Run

_MOST_ROUNDS = 60
_MOST_CLIENTS = 120


def selection(run: Run) -> tuple[Block, ...]:
    """Return both heatmaps and a sentence on the layers chosen most."""
    if not run.log.rounds or not run.log.header.layers:
        return (Text("No round was completed, so no layer was selected."),)
    if not run.log.committed:
        return (Text("Every round was skipped, so no layer was trained."),)
    picks = [sum(i in c.mask for r in run.log.rounds for c in r.clients) for i in range(len(run.log.header.layers))]
    turns = sum(len(r.clients) for r in run.log.rounds)
    top = max(range(len(picks)), key=lambda i: picks[i])
    if not sum(picks):
        return (Text("No client was asked to train a selectable layer: only what everyone trains was trained."),)
    text = (
        f"{sum(picks) / turns:.2f} of {plural(len(picks), 'layer')} per client and round on average; "
        f"the one chosen most is {run.log.header.layers[top]}, by {picks[top]:,} of {turns:,} client-rounds. "
        "Layers run from input to output."
    )
    return (Text(text + _stale(run)), Pictures((_by_round(run), _by_client(run))))


def _stale(run: Run) -> str:
    """Return a sentence on the scores that were measured a round before they were used; empty where none was."""
    ages = [r.round - c.probe_round for r in run.log.rounds for c in r.clients if c.probe_round is not None]
    early = sum(age > 0 for age in ages)
    if not early:
        return ""
    return f" The scores of {early:,} of {len(ages):,} client-rounds were measured one round earlier (probe.piggyback)."


def round_labels(rounds: Sequence[RoundRecord], parts: Sequence[range]) -> tuple[str, ...]:
    """Return the numbers of the rounds in each part, as ``3`` or ``4–7``."""
    firsts = [(rounds[p[0]].round, rounds[p[-1]].round) for p in parts]
    return tuple(str(a) if a == b else f"{a}–{b}" for a, b in firsts)


def parts_of(run: Run) -> list[range]:
    """Return the rounds that share a column of a heatmap: one each, unless there are too many."""
    return bins(len(run.log.rounds), limit=_MOST_ROUNDS)


def _by_round(run: Run) -> Picture:
    header, rounds, parts = run.log.header, run.log.rounds, parts_of(run)
    labels = round_labels(rounds, parts)
    cells = []
    for i, name in enumerate(short_names(header.layers)):
        row = []
        for label, part in zip(labels, parts, strict=True):
            clients = [c for k in part for c in rounds[k].clients]
            row.append(_cell(sum(i in c.mask for c in clients), len(clients), f"{name}, round {label}"))
        cells.append(row)
    grid = Grid(short_names(header.layers), labels, cells, ("layer", "round"), "nobody", "of the cohort, to 100%")
    title = f"{header.method}: share of the cohort that trained each layer in each round"
    return Picture(
        draw(grid, title=title, description=_summary(run)),
        "How many of the cohort trained each layer, by round.",
        wide=True,
    )


def _cell(count: int, total: int, where: str) -> Cell:
    if not total:
        return Cell(None, f"{where}: no client's answer counted")
    tip = f"{where}: {count} of {plural(total, 'client')}{_percent(count, total)}"
    return Cell(level_of_share(count / total), tip, str(count) if count else "")


def _percent(count: int, total: int) -> str:
    return f" ({100 * count / total:.0f}%)" if total > 20 else ""


def _by_client(run: Run) -> Picture:
    header = run.log.header
    turns: dict[str, list[tuple[int, ...]]] = {}
    for record in run.log.rounds:
        for client in record.clients:
            turns.setdefault(client.client, []).append(client.mask)
    names = sorted(turns)
    parts = bins(len(names), limit=_MOST_CLIENTS)
    rows = tuple(names[p[0]] if len(p) == 1 else f"{names[p[0]]} – {names[p[-1]]}" for p in parts)
    cells = []
    for row, part in zip(rows, parts, strict=True):
        masks = [m for k in part for m in turns[names[k]]]
        cells.append(
            [
                _turn(sum(i in m for m in masks), len(masks), f"{row}, {n}")
                for i, n in enumerate(short_names(header.layers))
            ]
        )
    grid = Grid(
        rows, short_names(header.layers, bare=True), cells, ("client", "layer"), "never", "of its rounds, to 100%"
    )
    title = f"{header.method}: share of its rounds in which each client trained each layer"
    return Picture(
        draw(grid, title=title, description=_summary(run)),
        "In how many of its rounds each client trained each layer.",
        wide=True,
    )


def _turn(count: int, total: int, where: str) -> Cell:
    tip = f"{where}: {count} of {plural(total, 'round')}{_percent(count, total)}"
    return Cell(level_of_share(count / total), tip, str(count) if count else "")


def _summary(run: Run) -> str:
    """Return how often each layer was chosen as text, for screen readers."""
    masks = [c.mask for r in run.log.rounds for c in r.clients]
    shares = [sum(i in m for m in masks) / len(masks) if masks else 0.0 for i in range(len(run.log.header.layers))]
    names = short_names(run.log.header.layers)
    return "Over all: " + ", ".join(f"{n} {100 * s:.0f}%" for n, s in zip(names, shares, strict=True))
