"""Curves drawn by matplotlib, without any global state, as inline SVG that follows the page's theme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import isfinite
from typing import Literal

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from fedstrata.report.figures import svg

_INK, _GRID = "#010203", "#010204"
_SERIES = tuple(f"#0102{0x10 + i:02x}" for i in range(8))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
_DASHES = ("-", (0, (6, 2)), (0, (2, 2)), (0, (7, 2, 2, 2)))
_COLORS = {
    _INK: "currentColor",
    _GRID: "var(--line)",
    **{color: f"var(--s{i})" for i, color in enumerate(_SERIES)},
}
_STYLE = {"svg.fonttype": "none", "path.simplify": False, "text.parse_math": False, "axes.unicode_minus": True}
_WIDTH, _HEIGHT = 440, 290
_MOST_MARKERS = 40
Axis = Literal["share", "number", "log"]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        label: Name for hover texts.
        x: Ascending.
        y: Same length as ``x``; may hold NaN.
        style: Index that chooses colour, marker and dashes, the same for a method everywhere in the page.
        tips: Hover text of each point.
        low: Lower edge of the band, or empty for none.
        high: Upper edge of the band.
        dots: Whether its points stand alone, with no line between them; ``x`` need not ascend then.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: int
    tips: Sequence[str]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: bool = False


def line_chart(
    lines: Sequence[Line],
    *,
    key: str,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    whole_x: bool = False,
    log_x: bool = False,
    y: Axis = "share",
) -> Markup:
    """Return curves over ``x`` as inline SVG.

    Args:
        lines: At least one, each with at least one finite point.
        key: Unique in the page; it salts the ids, so the same input gives the same bytes.
        title: Accessible name.
        description: What the curves show, in words.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        whole_x: Whether ``x`` counts things, so that ticks fall on whole numbers only.
        log_x: Whether the horizontal axis is logarithmic; every ``x`` must then be above 0.
        y: Whether the curves are shares in [0, 1], any numbers, or numbers above 0 on a logarithmic axis.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": key}):
        figure = Figure(figsize=(_WIDTH / 72, _HEIGHT / 72))
        axes = figure.add_axes((0.125, 0.155, 0.855, 0.815))
        tips = {f"line-{i}": _plot(axes, line, f"line-{i}") for i, line in enumerate(lines)}
        _dress(axes, lines, x_label=x_label, y_label=y_label, whole_x=whole_x, log_x=log_x, y=y)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return svg.adopt(buffer.getvalue(), key=key, title=title, description=description, colors=_COLORS, tips=tips)


def _plot(axes: Axes, line: Line, gid: str) -> Sequence[str]:
    """Draw one curve and return the hover texts of the markers that it shows."""
    color = _SERIES[line.style % len(_SERIES)]
    shown = [i for i, y in enumerate(line.y) if isfinite(y)]
    step = 1 if line.dots else max(1, -(-len(shown) // _MOST_MARKERS))
    marked = [i for i in shown if (len(line.y) - 1 - i) % step == 0]
    if line.low:
        axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.16, linewidth=0)
    if not line.dots:
        axes.plot(line.x, line.y, color=color, linewidth=1.7, linestyle=_DASHES[line.style % len(_DASHES)])
    axes.plot(
        [line.x[i] for i in marked],
        [line.y[i] for i in marked],
        linestyle="none",
        marker=_MARKERS[line.style % len(_MARKERS)],
        color=color,
        markersize=5,
        markeredgewidth=0,
        gid=gid,
    )
    return [line.tips[i] for i in marked]


def _upright(axes: Axes, lines: Sequence[Line], y: Axis) -> None:
    """Scale and label the vertical axis."""
    edges = [v for line in lines for v in (*line.y, *line.low, *line.high) if isfinite(v)]
    low, high = min(edges), max(edges)
    if y == "log":
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 1.5)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0), numticks=7))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        return
    axes.yaxis.set_major_locator(MaxNLocator(6, min_n_ticks=3))
    if y == "number":
        margin = max(0.06 * (high - low), 0.02 * max(abs(low), abs(high)), 1e-12)  # closer up, noise looks large
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
        return
    margin = max(0.06 * (high - low), 0.015)
    axes.set_ylim(max(-0.005, low - margin), min(1.005, high + margin))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g}%"))


def _dress(
    axes: Axes, lines: Sequence[Line], *, x_label: str, y_label: str, whole_x: bool, log_x: bool, y: Axis
) -> None:
    _upright(axes, lines, y)
    axes.set_xlabel(x_label, color=_INK, fontsize=11)
    axes.set_ylabel(y_label, color=_INK, fontsize=11)
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole_x, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.tick_params(colors=_INK, labelsize=10, length=3, width=0.7)
    axes.grid(color=_GRID, linewidth=0.7, clip_on=False)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_INK)
        axes.spines[side].set_linewidth(0.7)
