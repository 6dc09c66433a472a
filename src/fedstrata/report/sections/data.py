"""Data: which client holds how many rows of which label."""

from __future__ import annotations

from collections.abc import Mapping

from fedstrata.domain.card import ClientData, Count, DataCard
from fedstrata.domain.formatting import NOTHING, plural
from fedstrata.report.blocks import Block, Key, Note, Picture, Pictures, Table, Text, folded
from fedstrata.report.figures.bars import Segment, stacked
from fedstrata.report.figures.grid import Grid, binned, counted, draw

_MOST_PARTS = 10
_MOST_BARS = 40
_MOST_LABELS = 30
_MOST_ROWS = 120


def data(card: DataCard | None) -> tuple[Block, ...]:
    """Return the label histogram of every client as a picture and as a table; of unknown labels the rows alone."""
    if card is None or not card.clients:
        return (Text("The run folder holds no data card, so the clients' rows are not shown."),)
    labels = tuple(dict.fromkeys(label for c in card.clients.values() for label in c.labels))
    notes = tuple(Note(w) for w in card.warnings)
    picture = _picture(card, labels) if labels else ()
    return (Text(_summary(card)), *notes, *picture, _table(card, labels))


def magnitude(count: Count) -> int:
    """Return a count as a number; a hidden one counts as 0.

    Example:
        >>> magnitude(7), magnitude("<5")
        (7, 0)
    """
    return count if isinstance(count, int) else 0


def _shown(count: Count | None) -> str:
    return NOTHING if count is None else (f"{count:,}" if isinstance(count, int) else count)


def _summary(card: DataCard) -> str:
    parts = [plural(len(card.clients), "client")]
    if card.partition:
        parts.append(f"partition: {card.partition}")
    parts.append(f"{_shown(card.rows_kept)} rows kept")
    dropped = card.rows_dropped
    if isinstance(dropped, Mapping):
        parts.append("dropped: " + (", ".join(f"{_shown(n)} {why}" for why, n in dropped.items()) or "none"))
    else:
        parts.append(f"{_shown(dropped)} dropped")
    if card.rows_test is not None:
        parts.append(f"{_shown(card.rows_test)} test rows at the server")
    hidden = any(isinstance(n, str) for c in card.clients.values() for n in (c.train, c.held_out, *c.labels.values()))
    tail = " Small counts are hidden by the data card and drawn as 0." if hidden else ""
    return "; ".join(parts) + "." + tail


def _picture(card: DataCard, labels: tuple[str, ...]) -> tuple[Block, ...]:
    description = (
        f"{plural(len(card.clients), 'client')}, {plural(len(labels), 'label')}; the table below has the numbers"
    )
    if len(labels) > _MOST_PARTS or len(card.clients) > _MOST_BARS:
        return (Pictures((_heatmap(card, labels, description),)),)
    rows = []
    for name, client in card.clients.items():
        counts = [(k, label, magnitude(client.labels.get(label, 0))) for k, label in enumerate(labels)]
        rows.append((name, [Segment(k, n, label, f"{name}, label {label}: {n}") for k, label, n in counts if n]))
    bars = stacked(rows, unit="rows", title="Rows per client and label", description=description)
    return (
        Key(tuple((label, k) for k, label in enumerate(labels)), parts=True),
        Pictures((Picture(bars, "Rows per client, by label.", wide=True),)),
    )


def _heatmap(card: DataCard, labels: tuple[str, ...], description: str) -> Picture:
    totals = {label: sum(magnitude(c.labels.get(label, 0)) for c in card.clients.values()) for label in labels}
    kept = (
        labels if len(labels) <= _MOST_LABELS else tuple(sorted(labels, key=lambda x: -totals[x])[: _MOST_LABELS - 1])
    )
    others = tuple(label for label in labels if label not in set(kept))
    columns = kept + ((f"{len(others)} others",) if others else ())
    rows, cells = [], []
    for row, part in binned(list(card.clients), limit=_MOST_ROWS, to=" – "):
        members = [card.clients[name] for name in part]
        counts = [sum(magnitude(c.labels.get(x, 0)) for c in members) for x in kept]
        if others:
            counts.append(sum(magnitude(c.labels.get(x, 0)) for c in members for x in others))
        total = sum(counts) or 1
        rows.append(row)
        cells.append(
            [
                counted(n, total, f"{row}, label {x}: {plural(n, 'row')} ({100 * n / total:.0f}%)")
                for n, x in zip(counts, columns, strict=True)
            ]
        )
    grid = Grid(rows, columns, cells, ("client", "label"), "no row", "of its rows, to 100%")
    caption = "Share of each client's rows, by label." + (f" The {len(kept)} commonest labels." if others else "")
    return Picture(draw(grid, title="Rows per client and label", description=description), caption, wide=True)


def _table(card: DataCard, labels: tuple[str, ...]) -> Block:
    wide = labels if len(labels) <= 12 else ()
    many = ("# labels",) if labels and not wide else ()
    rows = tuple(_row(name, client, wide, many) for name, client in card.clients.items())
    head = ("client", "# train", "# held out", *(f"# {label}" for label in wide), *many)
    return folded(Table("Rows per client", head, rows))


def _row(name: str, client: ClientData, labels: tuple[str, ...], many: tuple[str, ...]) -> tuple[str, ...]:
    present = [str(sum(n != 0 for n in client.labels.values()))] * len(many)
    counts = [_shown(client.labels.get(label, 0)) for label in labels]
    return (name, _shown(client.train), _shown(client.held_out), *counts, *present)
