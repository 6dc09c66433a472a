"""Make the tables and figures of ``docs/results`` and the headline from ``experiments/results``, and nothing else.

    python experiments/tables.py                                   # tables and figures, from the files that are stored
    python experiments/tables.py --stamp runs/sweeps/pacs-small    # and note how this sweep's runs were made
    python experiments/tables.py --theory runs/theory/pacs-small   # and keep what a sweep with theory: exact measured

Text outside the marks ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is left alone. Run it from the repository's
root.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

import yaml
from markupsafe import Markup

from fedstrata.comparison.compare import compare
from fedstrata.comparison.intervals import estimate
from fedstrata.comparison.methods import Rules
from fedstrata.comparison.outcome import Outcome
from fedstrata.comparison.results import read_outcomes
from fedstrata.files import write_atomic
from fedstrata.report.compare_views import markdown
from fedstrata.report.figures import svg
from fedstrata.report.figures.axes import COUNT, NUMBER, Axis
from fedstrata.report.figures.lines import Dot, Line, line_chart
from fedstrata.report.theory_table import (
    TheoryLine,
    correlation,
    read_theory,
    theory_lines,
    within_rounds,
    write_theory,
)
from fedstrata.runs.reading import read_run

HERE = Path("experiments")
PAGES = Path("docs/results")
HEADLINES = (Path("docs/results.md"), Path("README.md"))
"""Where the table of all rows stands."""
HEADLINE = ("oracle", "head only", "full", "lora (bytes)", "lisa", "random", "independent", "consensus", "bound")
EQUAL = "R1"
"""The budget of the headline: one layer per client and round."""
FIGURES = Path("docs/figures")
STYLE = (files("fedstrata.report") / "templates" / "figures.css").read_text(encoding="utf-8")
ROWS = ("cifar10", "pacs", "ag_news", "banking77", "sib200", "masakhanews", "qa")
VERSIONS = ("fedstrata", "torch", "transformers", "numpy", "scipy")
ORACLE = "layer *"
KNOB = re.compile(r"knob rho=(?P<rho>\S+)")
"""Methods of the signed-knob curve; ``consensus`` and ``diversity`` are its points 1 and -1."""
SAME = {"consensus": 1.0, "diversity": -1.0}


def sweep_file(row: str, size: str) -> dict[str, Any]:
    """Return the keys of a row's sweep file."""
    found: dict[str, Any] = yaml.safe_load((HERE / size / f"{row}.yaml").read_text())
    return found


def outcomes_of(row: str) -> tuple[Outcome, ...]:
    """Return the stored results of a row; empty where it has not been run."""
    path = HERE / "results" / f"{row}.csv"
    return read_outcomes(path) if path.exists() else ()


def stamp(folder: Path) -> None:
    """Note with which versions, seeds and when the runs of a sweep's output were made."""
    last = max(folder.glob("**/env.json"), key=lambda path: path.stat().st_mtime)
    facts = json.loads(last.read_text())
    first = read_outcomes(folder / "results.csv")
    row, size = first[0].row, first[0].size
    made = {
        "command": f"fedstrata sweep experiments/{size}/{row}.yaml",
        "seeds": sorted({o.seed for o in first}),
        "runs": len(first),
        "date": date.fromtimestamp(last.stat().st_mtime).isoformat(),
        "versions": {name: facts["packages"][name] for name in VERSIONS},
        "python": facts["python"],
        "threads": facts["threads"],
    }
    write_atomic(HERE / "results" / f"{row}.made.json", json.dumps(made, indent=1) + "\n")


def notes_of(row: str) -> list[str]:
    """Return a line that says how a row's results were made."""
    path = HERE / "results" / f"{row}.made.json"
    if not path.exists():
        return []
    made = json.loads(path.read_text())
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    seeds = ", ".join(map(str, made["seeds"]))
    return [f"{made['command']}; seeds {seeds}; {versions}, Python {made['python']}; {made['date']}"]


def tables(row: str) -> str:
    """Return the tables of a row as Markdown."""
    outcomes = [o for o in outcomes_of(row) if not KNOB.fullmatch(o.method)]
    if not outcomes:
        return "Not run yet."
    sweep = sweep_file(row, outcomes[0].size)
    names = {o.method for o in outcomes}
    oracle = ORACLE if any(name.startswith(ORACLE[:-1]) for name in names) else None
    reference = sweep.get("reference", "consensus")
    rules = Rules(reference=reference if reference in names else None, target=sweep.get("target"), oracle=oracle)
    text = markdown(compare(outcomes, rules), notes=notes_of(row)).strip()
    return re.sub("^### ", "## ", text, flags=re.MULTILINE)


def headline() -> str:
    """Return accuracy and loss of the methods that matter most, a column per row that has been run."""
    cells = {row: means(row) for row in ROWS}
    rows = [row for row in ROWS if cells[row]]
    lines = [f"| method | {' | '.join(rows)} |", f"|---|{'---:|' * len(rows)}"]
    for method in HEADLINE:
        told = (f"{100 * accuracy:.1f} / {loss:.3f}" for accuracy, loss in (cells[row][method] for row in rows))
        lines.append(f"| {method} | {' | '.join(told)} |")
    return "\n".join(lines)


def means(row: str) -> dict[str, tuple[float, float]]:
    """Return each method's mean accuracy and mean loss over seeds at the headline's budget, the oracle's too."""
    found: dict[str, list[Outcome]] = {}
    for o in outcomes_of(row):
        if o.budget == EQUAL:
            found.setdefault(o.method, []).append(o)
    every = {
        method: (fmean(o.accuracy for o in runs), fmean(o.loss for o in runs if o.loss is not None))
        for method, runs in found.items()
    }
    single = [pair for method, pair in every.items() if method.startswith(ORACLE[:-1])]
    return every | ({"oracle": max(single)} if single else {})


@dataclass(frozen=True, slots=True)
class Measure:
    """What the signed knob is judged by; a gain is better, so losses count down.

    Attributes:
        figure: Name of the figure.
        of: An outcome's value.
        scale: From a difference of values to a gain.
        gain: Name and unit of the gain.
        told: A value as text.
    """

    figure: str
    of: Callable[[Outcome], float | None]
    scale: float
    gain: str
    told: Callable[[float], str]


ACCURACY = Measure(
    "knob", lambda o: o.accuracy, 100.0, "accuracy gained over ρ = 0, points", lambda share: f"{100 * share:.1f} %"
)
LOSS = Measure("knob-loss", lambda o: o.loss, -1.0, "loss saved over ρ = 0, nats", lambda nats: f"{nats:.3f} nats")


def knob(outcomes: Sequence[Outcome], measure: Measure) -> dict[float, dict[int, float]]:
    """Return a measure by seed, by signed weight rho, under the budget of the knob."""
    first = next((o.budget for o in outcomes if KNOB.fullmatch(o.method)), None)
    found: dict[float, dict[int, float]] = {}
    for o in outcomes:
        hit = KNOB.fullmatch(o.method)
        rho = float(hit["rho"]) if hit else SAME.get(o.method)
        value = measure.of(o)
        if rho is not None and o.budget == first and value is not None:
            found.setdefault(rho, {})[o.seed] = value
    return dict(sorted(found.items()))


def in_all(curve: dict[float, dict[int, float]]) -> dict[float, dict[int, float]]:
    """Return a curve without the seeds that some of its points lack, as those of a sweep at its work do."""
    seeds = set.intersection(*map(set, curve.values())) if curve else set()
    return {rho: {seed: by_seed[seed] for seed in sorted(seeds)} for rho, by_seed in curve.items()}


def draw_knob(rows: Sequence[str], measure: Measure) -> Iterator[str]:
    """Draw what the signed knob gains over rho = 0, a panel per row; yield the rows drawn.

    Differences are paired by seed, since seeds differ by more than methods do.
    """
    curves = {row: whole for row in rows if (whole := in_all(knob(outcomes_of(row), measure))).get(0.0)}
    if not curves:
        return
    drawn = []
    for row, curve in curves.items():
        plain, names = curve[0.0], tuple("∞" if rho == inf else f"{rho:g}".replace("-", "−") for rho in curve)
        gains = [[measure.scale * (by_seed[seed] - plain[seed]) for seed in plain] for by_seed in curve.values()]
        dots = []
        for place, (name, values, one) in enumerate(zip(names, gains, map(estimate, gains), strict=True)):
            mean = fmean(values)
            low, high = (mean if end is None else end for end in (one.low, one.high))
            dots.append(Dot(place, mean, f"ρ = {name}: {mean:+.3g} ({low:+.3g} to {high:+.3g})", (low, high)))
        title = f"{row} (ρ = 0: {measure.told(fmean(plain.values()))})"
        x, y = Axis("ρ: diversity < 0 < consensus", COUNT, names=names), Axis(measure.gain, NUMBER)
        drawn.append((title, line_chart([Line(row, 0, dots)], x=x, y=y, title=title, description=measure.gain)))
        yield row
    save(drawn, measure.figure)


def save(panels: Sequence[tuple[str, Markup]], name: str, key: Sequence[str] = ()) -> None:
    """Write titled panels as one SVG file, two in a row, with the names of the marks below.

    The file brings the style of the report's figures, so that it is readable in the light and in the dark.
    """
    width, height, down = 450, 316, -(-len(panels) // 2)
    sheet = svg.root(2 * width, down * height + (24 if key else 0), title=name, description=f"{len(panels)} panels")
    sheet.set("xmlns", "http://www.w3.org/2000/svg")
    svg.add(sheet, "style", f"{STYLE}svg {{ color: var(--ink); background: var(--page); }}")
    for i, (title, panel) in enumerate(panels):
        place = svg.add(sheet, "g", transform=f"translate({i % 2 * width},{i // 2 * height})")
        svg.add(place, "text", title, x=55, y=14, class_="title")
        svg.add(place, "g", transform="translate(0,20)").append(ElementTree.fromstring(panel))
    for i, label in enumerate(key):
        svg.mark(sheet, i, x=60 + 110 * i, y=down * height + 8, tip=label)
        svg.add(sheet, "text", label, x=70 + 110 * i, y=down * height + 12)
    FIGURES.mkdir(exist_ok=True)
    write_atomic(FIGURES / f"{name}.svg", svg.markup(sheet) + "\n", shared=True)


def keep_theory(folder: Path) -> None:
    """Keep the measured rounds of a sweep's output, one line per round, under ``results/theory``."""
    first = read_outcomes(folder / "results.csv")[0]
    lines: list[TheoryLine] = []
    for place in sorted(folder.glob("*/*/s*/events.jsonl")):
        run = read_run(place.parent)
        budget, method = place.parts[-3], run.log.header.method
        lines += theory_lines(run, row=first.row, method=method, budget=budget, seed=run.log.header.seed)
    target = HERE / "results" / "theory" / f"{first.row}.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_theory(target, lines)


def theory_of(row: str) -> tuple[TheoryLine, ...]:
    """Return the measured rounds of a row; empty where none were."""
    path = HERE / "results" / "theory" / f"{row}.csv"
    return tuple(read_theory(path)) if path.exists() else ()


def theory_table(row: str) -> str:
    """Return what the rounds of a row say of the bound, by method, as Markdown."""
    lines = theory_of(row)
    if not lines:
        return "Not measured yet."
    head = (
        "| method | rounds | E_t / (E_t1 + E_t2), mean | largest | E_t1, mean | E_t2, mean "
        "| decrease with E_t | with the bound | within rounds: with E_t | with the bound |"
    )
    methods = dict.fromkeys(line.method for line in lines)
    rows = [_theory_row(method, [line for line in lines if line.method == method]) for method in methods]
    return "\n".join([head, "|---|" + "---:|" * 9, *rows, _theory_row("all", lines)])


def _theory_row(name: str, lines: Sequence[TheoryLine]) -> str:
    ratios = [line.error / line.bound for line in lines if line.bound > 0]
    measures: tuple[Callable[[TheoryLine], float], ...] = (lambda line: line.error, lambda line: line.bound)
    ranks = [correlation(lines, of).spearman for of in measures] + [within_rounds(lines, of) for of in measures]
    told = " | ".join("–" if rank is None else f"{rank:+.2f}" for rank in ranks)
    mean, most = (f"{fmean(ratios):.2f}", f"{max(ratios):.3f}") if ratios else ("–", "–")
    missing, wrong = (fmean(getattr(line, name) for line in lines) for name in ("missing_layers", "wrong_weights"))
    return f"| {name} | {len(lines)} | {mean} | {most} | {missing:.3g} | {wrong:.3g} | {told} |"


def draw_theory(rows: Sequence[str]) -> Iterator[str]:
    """Draw error and bound of all measured rounds, one panel per row that has them; yield the rows drawn."""
    measured = {row: lines for row in rows if (lines := theory_of(row))}
    if not measured:
        return
    drawn = []
    methods = list(dict.fromkeys(line.method for lines in measured.values() for line in lines))
    for row, lines in measured.items():
        curves = []
        for style, method in enumerate(methods):
            own = [line for line in lines if line.method == method and line.error > 0]
            dots = [Dot(x.bound, x.error, f"{method}, round {x.round}: {x.error:.3g} of {x.bound:.3g}") for x in own]
            curves += [Line(method, style, dots, joined=False)] if dots else []
        ends = [value for line in lines for value in (line.bound, line.error) if value > 0]
        curves.append(Line("equality", 7, [Dot(value, value, "") for value in (min(ends), max(ends))]))
        x, y = Axis("bound, E_t1 + E_t2", NUMBER, log=True), Axis("error, E_t", NUMBER, log=True)
        drawn.append((row, line_chart(curves, x=x, y=y, title=row, description="error against bound by round")))
        yield row
    save(drawn, "theory", methods)


def fill(page: str, name: str, content: str) -> str:
    """Return the page with what stands between a name's marks replaced."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if begin not in page:
        return page
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def main() -> None:
    """Stamp a sweep if asked, and make everything anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamp", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--theory", type=Path, action="append", default=[], metavar="FOLDER")
    chosen = parser.parse_args()
    for folder in chosen.stamp:
        stamp(folder)
    for folder in chosen.theory:
        keep_theory(folder)
    for row in ROWS:
        path = PAGES / f"{row}.md"
        page = fill(path.read_text(encoding="utf-8"), row, tables(row))
        write_atomic(path, fill(page, f"{row} theory", theory_table(row)))
    for path in HEADLINES:
        write_atomic(path, fill(path.read_text(encoding="utf-8"), "headline", headline()))
    drawn, _ = (list(draw_knob(ROWS, measure)) for measure in (ACCURACY, LOSS))
    measured = list(draw_theory(ROWS))
    print(f"{PAGES}; signed knob of {', '.join(drawn) or 'no row'}; theory of {', '.join(measured) or 'no row'}")


if __name__ == "__main__":
    main()
