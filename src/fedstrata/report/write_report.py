"""One self-contained page from run folders: no script, no request, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedstrata.comparison.grouping import Group, group
from fedstrata.domain.card import DataCard
from fedstrata.domain.formatting import listing, plural
from fedstrata.errors import ConfigError
from fedstrata.files import write_atomic
from fedstrata.report.blocks import Block, Fold, Note, Section, Text
from fedstrata.report.figures.svg import SWATCHES
from fedstrata.report.run_sections import run_part, run_sections
from fedstrata.report.sections.comparison import comparison
from fedstrata.report.sections.curves import curves
from fedstrata.report.sections.data import data
from fedstrata.report.sections.frontier import costs_and_accuracy
from fedstrata.report.sections.identity import identity
from fedstrata.report.sections.predicted import predicted
from fedstrata.report.sections.proof_of_training import passed
from fedstrata.report.sections.verdict import verdict
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run


def write_report(
    runs: str | Path | Sequence[str | Path], out: str | Path | None = None, *, title: str | None = None
) -> Path:
    """Write one offline HTML file on one run or several, and return its path.

    Runs of one model and data setting are compared; runs of one method that differ in the seed alone are averaged.
    The same folders give the same bytes.

    Args:
        runs: Run folders; one that is named twice counts once.
        out: The file, or a folder that then gets ``report.html``; by default the run's folder, or the one around the
            folders of several. Parent folders are made.
        title: Heading of the page.

    Raises:
        ConfigError: ``runs`` is empty.
        CheckpointError: A folder is no run folder, or its event log cannot be read.
    """
    folders = list({folder.resolve(): folder for folder in paths(runs)}.values())
    if not folders:
        raise ConfigError("no run folder is given; name at least one run folder, which `fedstrata run` wrote")
    page = render([read_run(folder) for folder in folders], title=title)
    usual = folders[0] if len(folders) == 1 else folders[0].parent
    target = usual if out is None else Path(out)
    target = target / "report.html" if target.is_dir() else target
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, page.encode(errors="replace").decode(), shared=True)
    return target


def paths(runs: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return one path or several as a list.

    Example:
        >>> [path.name for path in paths("runs/a")]
        ['a']
    """
    return [Path(runs)] if isinstance(runs, str | Path) else [Path(one) for one in runs]


def render(runs: Sequence[Run], *, title: str | None = None) -> str:
    """Return the page as text."""
    groups = group(runs)
    sections = _single(groups[0]) if len(runs) == 1 else _several(runs, groups)
    return page(title or _title(runs), sections)


def page(title: str, sections: Sequence[Section]) -> str:
    """Return a self-contained page of sections; see ``tests/report/test_write_report.py``."""
    environment = Environment(
        loader=PackageLoader("fedstrata.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(title=title, sections=sections, swatches=SWATCHES)


def _title(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        head = runs[0].log.header
        return f"{head.method} on {head.data}, seed {head.seed}"
    methods = tuple(dict.fromkeys(run.log.header.method for run in runs))
    return f"{plural(len(runs), 'run')}: {listing(methods, limit=7)}"


def _single(only: Group) -> tuple[Section, ...]:
    run = only.runs[0]
    head = tuple(Text(s, lead=True) for s in verdict(only))
    return (
        Section("verdict", "Verdict", (*head, *identity([run]))),
        Section("curves", "Accuracy", curves(only)),
        *run_sections(run),
    )


def _several(runs: Sequence[Run], groups: Sequence[Group]) -> tuple[Section, ...]:
    sentences: list[Block] = []
    for one in groups:
        lead = f"{one.label}: " if len(groups) > 1 else ""
        first, *rest = verdict(one)
        sentences += [Text(lead + first, lead=True), *(Text(s) for s in rest)]
    alarms = [
        Note(f"{run.name}: a check of the proof of training does not hold; see its part below.")
        for run in runs
        if run.log.rounds and not passed(run)
    ]
    tables = tuple(block for one in groups for block in comparison(one))
    charts = tuple(block for one in groups for block in (Text(one.label, title=True), *curves(one)))
    tradeoffs = _tradeoffs(groups)
    return (
        Section("verdict", "Verdict", (*sentences, *alarms)),
        Section("comparison", "Comparison", (*tables, *identity(runs))),
        Section("curves", "Accuracy", charts),
        *((Section("frontier", "Cost and accuracy", tradeoffs),) if tradeoffs else ()),
        Section("predicted", "Predicted and measured", predicted(runs)),
        Section("data", "Data per client", _cards(runs)),
        Section("runs", "Run by run", (), tuple(run_part(run, k) for k, run in enumerate(runs))),
    )


def _tradeoffs(groups: Sequence[Group]) -> tuple[Block, ...]:
    """Return the plots of cost and accuracy of each group that compares methods, and how to read them."""
    drawn = [(one.label, found) for one in groups if (found := costs_and_accuracy(one))]
    if not drawn:
        return ()
    lead = Text(
        "Final accuracy against what it cost all clients in all rounds. The dashed line is the frontier: "
        "a method on it is beaten by none that costs no more."
    )
    return (lead, *(block for label, found in drawn for block in (Text(label, title=True), *found)))


def _cards(runs: Sequence[Run]) -> tuple[Block, ...]:
    """Return each distinct data card once, with the runs that share it."""
    cards: list[tuple[DataCard | None, list[Run]]] = []
    for run in runs:
        found = next((members for card, members in cards if card == run.data_card), None)
        if found is None:
            cards.append((run.data_card, [run]))
        else:
            found.append(run)
    if len(cards) == 1:
        return (Text(f"The same in all {len(runs)} runs."), *data(cards[0][0]))
    folds = []
    for card, members in cards:
        names = listing([run.name for run in members], limit=4)
        folds.append(Fold(f"Data of {plural(len(members), 'run')}: {names}", data(card)))
    return (Text(f"The runs have {len(cards)} different divisions of data to clients."), *folds)
