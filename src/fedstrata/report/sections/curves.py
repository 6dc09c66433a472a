"""Curves: accuracy against rounds and against what the clients uploaded, and the loss against rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from statistics import fmean

from fedstrata.comparison.grouping import Group, Point, measure, trajectory
from fedstrata.domain.formatting import listing, megabytes, percent, plural
from fedstrata.report.blocks import Block, Key, Picture, Pictures, Text
from fedstrata.report.figures.axes import COUNT, NUMBER, SHARE, Axis
from fedstrata.report.figures.lines import Dot, Line, line_chart
from fedstrata.report.sections.verdict import measured_on
from fedstrata.runs.records import Run

Path = tuple[Point, ...]


def curves(group: Group) -> tuple[Block, ...]:
    """Return the charts of a group and their legend, or why there is none."""
    paths = [(s.label, s.style, [trajectory(run, measure(run)) for run in s.runs]) for s in group.series]
    name = measured_on(group)
    if len(group.runs) == 1 and _has_both(group.runs[0]):
        run = group.runs[0]
        paths = [
            ("test rows at the server", 0, [trajectory(run, "test")]),
            ("clients' held-out rows", 1, [trajectory(run, "validation")]),
        ]
        name = "accuracy"
    paths = [p for p in paths if _shared(p[2])]
    if not paths:
        return (Text("No round was evaluated, so there is no curve."),)
    legend = Key(tuple((label, style) for label, style, _ in paths))
    return (legend, *_coinciding(paths), _charts(paths, name=name, group=group))


def _coinciding(paths: Sequence[tuple[str, int, list[Path]]]) -> tuple[Block, ...]:
    """Say which curves lie on one another, so that a hidden one is not missed."""
    same: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for label, _, runs in paths:
        shape = tuple((p.rounds, p.metrics.accuracy) for path in runs for p in path)
        same.setdefault(shape, []).append(label)
    hidden = [listing(labels) for labels in same.values() if len(labels) > 1]
    return tuple(Text(f"These curves coincide and hide one another: {labels}.") for labels in hidden)


def _has_both(run: Run) -> bool:
    return measure(run) == "test" and any(p.rounds for p in trajectory(run, "validation"))


def _charts(paths: Sequence[tuple[str, int, list[Path]]], *, name: str, group: Group) -> Pictures:
    by_rounds = [_line(p, lambda point: float(point.rounds)) for p in paths]
    by_upload = [_line(p, lambda point: float(point.bytes_up)) for p in paths]
    losses = [_line(p, lambda point: float(point.rounds), lambda point: point.metrics.loss) for p in paths]
    losses = [line for line in losses if any(isfinite(dot.y) for dot in line.dots)]
    log = _far_apart(by_upload)
    if log:
        started = [replace(line, dots=[dot for dot in line.dots if dot.x > 0]) for line in by_upload]
        by_upload = [line for line in started if line.dots]
    scale = " Log scale, without the starting point." if log else ""
    seeds = " The band is the range over seeds." if any(len(p[2]) > 1 for p in paths) else ""
    start = " Round 0 is the starting point." if any(p[2][0][0].rounds == 0 for p in paths) else ""
    rounds, upload = Axis("rounds", COUNT), Axis("upload of all clients so far", "bytes_up", log)
    of_rounds = f"{name.capitalize()} against rounds.{start}{seeds}{_still(group)}"
    of_upload = f"{name.capitalize()} against upload: further left is cheaper.{scale}{seeds}"
    of_loss = "Loss (mean cross-entropy) on the same rows against rounds; less is better."
    return Pictures(
        (
            _chart(group, by_rounds, rounds, Axis(name, SHARE), of_rounds),
            _chart(group, by_upload, upload, Axis(name, SHARE), of_upload),
            *([_chart(group, losses, rounds, Axis("loss, nats", NUMBER), of_loss)] if losses else ()),
        )
    )


def _chart(group: Group, lines: Sequence[Line], x: Axis, y: Axis, caption: str) -> Picture:
    last = [(line.label, line.dots[-1].y) for line in lines]
    ends = "; ".join(f"{label} ends at {percent(v) if y.unit == SHARE else f'{v:.4g}'}" for label, v in last)
    title = f"{group.label}: {y.title} against {x.title}"
    return Picture(line_chart(lines, x=x, y=y, title=title, description=ends), caption)


def _accuracy_of(point: Point) -> float:
    return point.metrics.accuracy


def _still(group: Group) -> str:
    skipped = sum(len(run.log.skipped) for run in group.runs)
    was = "was" if skipped == 1 else "were"
    return f" The weights stand still over {plural(skipped, 'round')} that {was} skipped." if skipped else ""


def _far_apart(lines: Sequence[Line]) -> bool:
    """Return whether the uploads differ so much that a linear axis would press the cheap methods to its edge."""
    ends = [line.dots[-1].x for line in lines if line.dots[-1].x > 0]
    return len(ends) > 1 and max(ends) > 4 * min(ends)


def _shared(paths: list[Path]) -> list[int]:
    """Return the round counts at which every run was evaluated."""
    counts = [{p.rounds for p in path} for path in paths]
    return sorted(set.intersection(*counts)) if counts else []


def _line(
    path: tuple[str, int, list[Path]],
    where: Callable[[Point], float],
    height: Callable[[Point], float] = _accuracy_of,
) -> Line:
    label, style, runs = path
    dots = []
    for rounds in _shared(runs):
        here = [next(p for p in run if p.rounds == rounds) for run in runs]
        heights = [height(p) for p in here]
        ends = (min(heights), max(heights)) if len(runs) > 1 else None
        dots.append(Dot(fmean(where(p) for p in here), fmean(heights), _tip(label, here), ends))
    return Line(label, style, dots)


def _tip(label: str, here: list[Point]) -> str:
    accuracy = fmean(p.metrics.accuracy for p in here)
    upload = megabytes(fmean(p.bytes_up for p in here))
    text = f"{label}, {plural(here[0].rounds, 'round')}, {upload} MB up: {percent(accuracy)}"
    if len(here) == 1:
        return f"{text}, loss {here[0].metrics.loss:.4g}"
    return f"{text} (runs: {listing([percent(p.metrics.accuracy) for p in here])})"
