"""Layer selection: how many clients trained each layer in each round, and how often each client trained it."""

from __future__ import annotations

from collections.abc import Sequence

from fedstrata.domain.formatting import plural, short_names
from fedstrata.domain.records import RoundRecord
from fedstrata.report.blocks import Block, Picture, Pictures, Text
from fedstrata.report.figures.grid import Cell, Grid, binned, counted, draw
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


def rounds_drawn(run: Run) -> list[tuple[str, Sequence[RoundRecord]]]:
    """Return the rounds of each column of a heatmap with its label: one each, unless there are too many."""
    return binned(run.log.rounds, limit=_MOST_ROUNDS, name=lambda record: str(record.round))


def _by_round(run: Run) -> Picture:
    header, names = run.log.header, short_names(run.log.header.layers)
    columns = [(label, [c.mask for record in part for c in record.clients]) for label, part in rounds_drawn(run)]
    cells = [
        [_cell(i, masks, f"{name}, round {label}", "client") for label, masks in columns]
        for i, name in enumerate(names)
    ]
    grid = Grid(names, [label for label, _ in columns], cells, ("layer", "round"), "nobody", "of the cohort, to 100%")
    title = f"{header.method}: share of the cohort that trained each layer in each round"
    drawn = draw(grid, title=title, description=_summary(run))
    return Picture(drawn, "How many of the cohort trained each layer, by round.", wide=True)


def _by_client(run: Run) -> Picture:
    header, turns = run.log.header, dict[str, list[tuple[int, ...]]]()
    for record in run.log.rounds:
        for client in record.clients:
            turns.setdefault(client.client, []).append(client.mask)
    parts = binned(sorted(turns), limit=_MOST_CLIENTS, to=" – ")
    rows = [(label, [mask for name in part for mask in turns[name]]) for label, part in parts]
    cells = [
        [_cell(i, masks, f"{label}, {name}", "round") for i, name in enumerate(short_names(header.layers))]
        for label, masks in rows
    ]
    layers = short_names(header.layers, bare=True)
    grid = Grid([label for label, _ in rows], layers, cells, ("client", "layer"), "never", "of its rounds, to 100%")
    title = f"{header.method}: share of its rounds in which each client trained each layer"
    drawn = draw(grid, title=title, description=_summary(run))
    return Picture(drawn, "In how many of its rounds each client trained each layer.", wide=True)


def _cell(layer: int, masks: Sequence[tuple[int, ...]], where: str, noun: str) -> Cell:
    if not masks:
        return Cell(None, f"{where}: no client's answer counted")
    count, total = sum(layer in mask for mask in masks), len(masks)
    tip = f"{where}: {count} of {plural(total, noun)}" + (f" ({100 * count / total:.0f}%)" if total > 20 else "")
    return counted(count, total, tip)


def _summary(run: Run) -> str:
    """Return how often each layer was chosen as text, for screen readers."""
    masks = [c.mask for r in run.log.rounds for c in r.clients]
    shares = [sum(i in m for m in masks) / len(masks) if masks else 0.0 for i in range(len(run.log.header.layers))]
    names = short_names(run.log.header.layers)
    return "Over all: " + ", ".join(f"{n} {100 * s:.0f}%" for n, s in zip(names, shares, strict=True))
