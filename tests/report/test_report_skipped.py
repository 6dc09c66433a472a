"""Rounds that were given up: counted as played, never as trained, and every section says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.comparison.grouping import group
from fedstrata.domain.records import RoundRecord
from fedstrata.errors import CheckpointError
from fedstrata.report.blocks import Note, Pictures, Table, Text
from fedstrata.report.sections.costs import costs
from fedstrata.report.sections.curves import curves
from fedstrata.report.sections.identity import identity, state
from fedstrata.report.sections.proof_of_training import passed, proof
from fedstrata.report.sections.selection import selection
from fedstrata.report.sections.verdict import verdict
from fedstrata.report.write_report import write_report
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.synthetic_run import below_quorum, given_up, lost_attempt, write_run


def second_given_up(record: RoundRecord) -> RoundRecord:
    return given_up(record) if record.round == 2 else record


def skipping(folder: Path, **options: object) -> Run:
    """Two rounds, of which the second was given up after two attempts."""
    attempts = (lost_attempt(2), lost_attempt(2, attempt=1))
    return read_run(write_run(folder, rounds=2, abandoned=attempts, change=second_given_up, **options))  # type: ignore[arg-type]


def test_log_gives_back_attempts_rounds_and_losses(tmp_path: Path) -> None:
    log = skipping(tmp_path / "a", before={"LATE": 1}).log
    assert log.abandoned == (lost_attempt(2), lost_attempt(2, attempt=1))
    assert [(r.round, r.committed) for r in log.rounds] == [(1, True), (2, False)]
    assert (log.skipped, len(log.committed)) == ((2,), 1)
    assert log.baseline_losses == {"LATE": 1}
    assert log.header.run == "5f0c2ab1d4e39a77"


def test_an_abandoned_event_that_is_wrong_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", rounds=1, abandoned=(lost_attempt(1),)) / "events.jsonl"
    path.write_text(path.read_text().replace('"answered": 3', '"answered": "three"'))
    with pytest.raises(CheckpointError, match=r"events.jsonl:3: answered: has to be a whole number"):
        read_run(path.parent)


def test_verdict_counts_a_round_that_was_given_up_as_such(tmp_path: Path) -> None:
    assert "in 2 rounds (1 of them given up), with" in verdict(group([skipping(tmp_path / "a")])[0])[0]


def test_verdict_of_a_run_without_a_round_that_counted_says_so(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", rounds=2, change=given_up))
    said = verdict(group([run])[0])[0]
    assert said == "Every round of consensus was given up (2 of 2), so nothing was trained."


def test_verdict_of_several_methods_says_whose_rounds_were_given_up(tmp_path: Path) -> None:
    runs = [skipping(tmp_path / "a"), read_run(write_run(tmp_path / "b", method="top", rounds=2))]
    assert verdict(group(runs)[0])[-1] == "Rounds that were given up, and so trained nothing: consensus 1 of 2."


def test_state_and_identity_name_attempts_and_skipped_rounds(tmp_path: Path) -> None:
    run = skipping(tmp_path / "a")
    assert state(run) == "finished, 2 of 2 rounds, 1 of them skipped"
    rows = {row[0]: row[1] for row in next(b for b in identity([run]) if isinstance(b, Table)).rows}
    assert rows["Abandoned"] == "2 attempts, at round 2 (2 times); see Failures"
    assert rows["Run ID, repeated in its messages"] == "5f0c2ab1d4e39a77"


def test_costs_are_per_round_that_counted_and_say_what_they_leave_out(tmp_path: Path) -> None:
    run = skipping(tmp_path / "a")
    blocks = costs(run)
    rows = {row[0]: row[1] for row in next(b for b in blocks if isinstance(b, Table)).rows}
    up = sum(r.bytes_up for r in run.log.spent) / 1e6
    assert rows["Uploaded by all clients"] == f"{up:.2f} MB ({up:.2f} MB per round)"
    assert rows["Clients per round, on average"] == "10"
    (note,) = [b.text for b in blocks if isinstance(b, Note) and "abandoned" in b.text]
    assert note == "Of these sums, 2.40 MB up and 5.0 s went into 2 abandoned attempts."


def test_curves_say_where_the_weights_stood_still(tmp_path: Path) -> None:
    (pictures,) = [b for b in curves(group([skipping(tmp_path / "a")])[0]) if isinstance(b, Pictures)]
    assert pictures.items[0].caption.endswith("The weights stand still over 1 round that was skipped.")


def test_proof_holds_where_a_skipped_round_moved_nothing(tmp_path: Path) -> None:
    run = skipping(tmp_path / "a")
    assert passed(run)
    first = proof(run)[0]
    assert "stayed exactly as they were, those of 1 skipped round included:" in getattr(first, "text", "")


def test_proof_that_a_skipped_round_moved_a_layer_is_an_alarm(tmp_path: Path) -> None:
    def moved(record: RoundRecord) -> RoundRecord:
        record = given_up(record)
        return replace(record, layers=(replace(record.layers[0], update_norm=0.5), *record.layers[1:]))

    assert not passed(read_run(write_run(tmp_path / "a", rounds=1, change=moved)))


def test_proof_says_that_too_few_trained_a_layer(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", rounds=1, change=below_quorum))
    blocks = proof(run)
    assert passed(run)
    assert getattr(blocks[0], "text", "").startswith("Layers that nobody or too few trained stayed exactly")
    picture = next(str(p.svg) for b in blocks if isinstance(b, Pictures) for p in b.items)
    assert "vit.encoder.layer.4, round 1: norm 0, trained by 1 client, below its quorum<" in picture


def test_proof_that_a_layer_below_quorum_moved_is_an_alarm(tmp_path: Path) -> None:
    def moved(record: RoundRecord) -> RoundRecord:
        record = below_quorum(record)
        return replace(record, layers=(*record.layers[:4], replace(record.layers[4], update_norm=1.0)))

    text = getattr(proof(read_run(write_run(tmp_path / "a", rounds=1, change=moved)))[0], "text", "")
    assert text.startswith("ALARM: 1 layer moved though nobody or too few trained it: vit.encoder.layer.4 in round 1")


def test_selection_of_a_run_whose_rounds_were_all_skipped_is_a_sentence(tmp_path: Path) -> None:
    (only,) = selection(read_run(write_run(tmp_path / "a", rounds=2, change=given_up)))
    assert isinstance(only, Text)
    assert only.text.startswith("Every round was skipped")


@pytest.mark.parametrize("rounds", [0, 2])
def test_page_of_a_run_in_which_no_round_counted_is_written(tmp_path: Path, rounds: int) -> None:
    attempts = tuple(lost_attempt(r) for r in range(1, rounds + 2))
    folder = write_run(tmp_path / "a", rounds=rounds, planned=3, end="failed", abandoned=attempts, change=given_up)
    page = write_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "attempts were abandoned" in page or "attempt was abandoned" in page


def test_summary_that_counts_other_attempts_than_the_log_is_noted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=1, abandoned=(lost_attempt(1),))
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "abandoned": 4, "skipped": 0}))
    assert "summary.json says abandoned 4, but the event log adds up to 1." in read_run(folder).notes
