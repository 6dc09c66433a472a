"""Comparisons as one self-contained page: no script, no request, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedstrata.comparison.methods import Contest
from fedstrata.domain.formatting import clean, listing
from fedstrata.files import write_atomic
from fedstrata.report.blocks import Section, Text
from fedstrata.report.compare_tables import HOW
from fedstrata.report.sections.paired import paired_blocks
from fedstrata.report.write_report import page


def write_page(path: Path, contests: Sequence[Contest], *, notes: Sequence[str] = ()) -> None:
    """Write contests as one HTML file; see ``tests/report/test_report_compare_html.py``.

    Args:
        path: The file.
        contests: What is shown, a section each.
        notes: Lines about all of them, such as the command that was run.
    """
    titles = listing(tuple(dict.fromkeys(contest.row for contest in contests)))
    lead = tuple(Text(clean(note)) for note in notes)
    methods = dict.fromkeys(line.method for contest in contests for line in contest.lines)
    styles = {method: place for place, method in enumerate(methods)}
    sections = [
        Section(f"comparison-{place}", contest.title, paired_blocks(contest, styles))
        for place, contest in enumerate(contests)
    ]
    write_atomic(
        path,
        page(f"Comparison: {titles}", [*sections, Section("how", "How to read it", (Text(HOW), *lead))]),
        shared=True,
    )
