"""Sections of one run: those of its own page, and of its part of a page of several."""

from __future__ import annotations

from fedstrata.comparison.grouping import final_accuracy
from fedstrata.domain.formatting import percent
from fedstrata.report.blocks import Block, RunPart, Section
from fedstrata.report.sections.certificates import certificates
from fedstrata.report.sections.classes import classes
from fedstrata.report.sections.costs import costs
from fedstrata.report.sections.data import data
from fedstrata.report.sections.failures import failures
from fedstrata.report.sections.fairness import fairness
from fedstrata.report.sections.identity import config, state
from fedstrata.report.sections.predicted import predicted, predicted_in_words
from fedstrata.report.sections.proof_of_training import proof
from fedstrata.report.sections.selection import selection
from fedstrata.report.sections.theory import theory
from fedstrata.runs.records import Run


def run_part(run: Run, place: int) -> RunPart:
    """Return the folded part of a run that shares its page with others; ``place`` keeps anchors apart."""
    head = run.log.header
    accuracy = percent(final_accuracy(run))
    title = f"{head.method} on {head.data}, seed {head.seed}: {accuracy}, {state(run)}"
    return RunPart(f"run-{place}", title, run_sections(run, prefix=f"r{place}-"))


def run_sections(run: Run, *, prefix: str = "") -> tuple[Section, ...]:
    """Return the sections of a run; with a prefix of their anchors, less what its page says of all its runs."""
    alone = not prefix
    parts: tuple[tuple[str, str, tuple[Block, ...]], ...] = (
        ("classes", "Classes: F1 and mistakes", classes(run)),
        ("selection", "Which layers were trained", selection(run)),
        ("costs", "Costs", costs(run)),
        ("predicted", "Predicted and measured", predicted([run]) if alone else predicted_in_words(run)),
        ("fairness", "Clients: accuracy of each, and who stands out", fairness(run)),
        ("proof", "Proof of training", proof(run)),
        ("data", "Data per client", data(run.data_card) if alone else ()),
        ("theory", "Error of each round, and its bound", theory(run)),
        ("solver", "How near the masks are to the optimum", certificates(run)),
        ("failures", "Failures", failures(run)),
        ("config", "Configuration", config(run)),
    )
    return tuple(Section(f"{prefix}{key}", heading, blocks) for key, heading, blocks in parts if blocks)
