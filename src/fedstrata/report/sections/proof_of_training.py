"""Proof of training: what moved, what must not have moved, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from fedstrata.domain.formatting import listing, number, plural, short_names
from fedstrata.domain.records import LayerRecord
from fedstrata.report.blocks import Block, Check, Picture, Pictures, Text
from fedstrata.report.figures.grid import Cell, Grid, draw, level_of_log
from fedstrata.report.sections.selection import rounds_drawn
from fedstrata.runs.records import Run


def proof(run: Run) -> tuple[Block, ...]:
    """Return the checks and the heatmap of update norms."""
    if not run.log.rounds:
        return (Text("No round was completed, so nothing moved."),)
    return (_frozen_layers(run), _trained_layers(run), _never(run), _masks(run), Pictures((_norms(run),)))


def passed(run: Run) -> bool:
    """Return whether every check holds."""
    return all(c.passed for c in (_frozen_layers(run), _trained_layers(run), _never(run), _masks(run)))


def _layers(run: Run) -> Iterator[tuple[int, LayerRecord]]:
    for record in run.log.rounds:
        for layer in record.layers:
            yield record.round, layer


def _place(number_: int, layer: LayerRecord) -> str:
    return f"{layer.name} in round {number_} (norm {number(layer.update_norm)})"


def _frozen_layers(run: Run) -> Check:
    """Layers that no client trained, or too few did, have to stay; so has every layer of a round that was skipped."""
    still = [(r, x) for r, x in _layers(run) if not x.contributors]
    moved = [_place(r, x) for r, x in still if x.update_norm != 0]
    if moved:
        few = " or too few" if any(x.below_quorum and x.update_norm for _, x in still) else ""
        what = f"{plural(len(moved), 'layer')} moved though nobody{few} trained it"
        return Check(False, f"ALARM: {what}: {listing(moved)}.")
    if not still:
        return Check(True, "Every layer was trained by someone in every round, so none had to stay still.")
    few = " or too few" if any(x.below_quorum for _, x in still) else ""
    skipped = f", those of {plural(len(run.log.skipped), 'skipped round')} included" if run.log.skipped else ""
    said = f"Layers that nobody{few} trained stayed exactly as they were"
    return Check(True, f"{said}{skipped}: {len(still)} of {len(still)} norms are 0.")


def _trained_layers(run: Run) -> Check:
    trained = [(r, x) for r, x in _layers(run) if x.contributors]
    stuck = [_place(r, x) for r, x in trained if not (x.update_norm > 0 and isfinite(x.update_norm))]
    if stuck:
        return Check(False, f"{plural(len(stuck), 'trained layer')} did not move by a finite amount: {listing(stuck)}.")
    if not trained:
        return Check(False, "No layer was trained by anyone in any round.")
    return Check(True, f"Layers that somebody trained did move: {len(trained)} of {len(trained)} norms are above 0.")


def _never(run: Run) -> Check:
    names = run.log.header.never
    norms = [(r.round, name, norm) for r in run.log.rounds for name, norm in r.frozen_norms.items()]
    moved = [f"{n} by round {r} (norm {number(v)})" for r, n, v in norms if v != 0]
    missing = sorted(set(names) - {n for _, n, _ in norms})
    if moved:
        return Check(False, f"ALARM: a frozen block moved: {listing(moved)}.")
    if missing:
        return Check(False, f"The log does not prove that {listing(missing)} stayed frozen: no norm was recorded.")
    if not names:
        return Check(True, "The model has no frozen blocks.")
    return Check(True, f"Frozen blocks ({listing(names, limit=4)}) are exactly as at the start, measured every round.")


def _masks(run: Run) -> Check:
    header = run.log.header
    odd, seen = [], 0
    for record in run.log.rounds:
        for client in record.clients:
            allowed = {header.layers[i] for i in client.mask if i < len(header.layers)}
            outside = [n for n in header.layers if n not in allowed and client.update_norms.get(n, 0.0) != 0]
            odd += [f"{client.client} sent {n} in round {record.round}" for n in outside]
            seen += bool(client.update_norms)
    if odd:
        return Check(False, f"ALARM: updates hold layers outside their masks: {listing(odd)}.")
    return Check(True, f"No client's update holds a layer outside its mask, in {plural(seen, 'update')}.")


def _norms(run: Run) -> Picture:
    header, columns = run.log.header, rounds_drawn(run)
    values = [x.update_norm for _, x in _layers(run) if x.update_norm > 0 and isfinite(x.update_norm)]
    low, high = min(values, default=1.0), max(values, default=1.0)
    names = list(dict.fromkeys(str(x.name) for _, x in _layers(run)))
    cells = []
    for name in names:
        found = [(label, [x for record in part for x in record.layers if x.name == name]) for label, part in columns]
        cells.append([_cell(own, f"{name}, round {label}", low=low, high=high) for label, own in found])
    for name in dict.fromkeys(n for r in run.log.rounds for n in r.frozen_norms):
        norms = [(label, max((r.frozen_norms.get(name, 0.0) for r in part), key=_size)) for label, part in columns]
        cells.append([_still(norm, f"{name} (frozen), round {label}") for label, norm in norms])
        names.append(f"{name} (frozen)")
    short = (*short_names(header.layers), *names[len(header.layers) :])
    shown = short if names[: len(header.layers)] == list(header.layers) else tuple(names)
    grid = Grid(
        shown,
        [label for label, _ in columns],
        cells,
        ("block", "round"),
        "exactly 0",
        f"norm {number(low)} to {number(high)}",
    )
    title = f"{header.method}: norm of the change of each block in each round"
    checks = ", ".join(
        "holds" if c.passed else "fails" for c in (_frozen_layers(run), _trained_layers(run), _never(run))
    )
    caption = "Norm of each block's change per round, on a log scale; a 0 stands for exactly 0."
    return Picture(draw(grid, title=title, description=f"Checks above: {checks}."), caption, wide=True)


def _size(value: float) -> float:
    return abs(value) if isfinite(value) else float("inf")


def _cell(found: list[LayerRecord], where: str, *, low: float, high: float) -> Cell:
    if not found:
        return Cell(None, f"{where}: not recorded")
    worst = next((x for x in found if _wrong(x)), None)
    if worst is not None:
        return Cell(None, f"{where}: norm {number(worst.update_norm)}, {_by(worst)}", alarm=True)
    norm, most = max(x.update_norm for x in found), max(found, key=lambda x: (x.contributors, x.below_quorum))
    tip = f"{where}: norm {number(norm, digits=4)}, {_by(most)}"
    return Cell(level_of_log(norm, low=low, high=high), tip, "0" if norm == 0 else "")


def _wrong(layer: LayerRecord) -> bool:
    return not isfinite(layer.update_norm) or (layer.update_norm != 0) != (layer.contributors > 0)


def _by(layer: LayerRecord) -> str:
    if layer.below_quorum:
        return f"trained by {plural(layer.below_quorum, 'client')}, below its quorum"
    return f"trained by {plural(layer.contributors, 'client')}" if layer.contributors else "trained by nobody"


def _still(norm: float, where: str) -> Cell:
    return Cell(0, f"{where}: norm {number(norm)} since the start", "0" if norm == 0 else "", alarm=norm != 0)
