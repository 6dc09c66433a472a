"""Failures: every loss by its reason, what it stands for, and nothing said that did not happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.domain.reasons import Reason
from fedstrata.domain.records import RoundRecord
from fedstrata.report.blocks import Block, Check, Fold, Note, Pictures, Table, Text
from fedstrata.report.losses import BEFORE, losses_by_round, tally, turns_asked
from fedstrata.report.sections.failures import MEANING, failures
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.synthetic_run import below_quorum, given_up, lost_attempt, write_run


def made(folder: Path, **options: object) -> Run:
    return read_run(write_run(folder, **options))  # type: ignore[arg-type]


def in_round(number: int, change: Callable[[RoundRecord], RoundRecord]) -> Callable[[RoundRecord], RoundRecord]:
    return lambda record: change(record) if record.round == number else record


def checks(blocks: tuple[Block, ...]) -> list[tuple[bool, str]]:
    return [(b.passed, b.text) for b in blocks if isinstance(b, Check)]


def notes(blocks: tuple[Block, ...]) -> list[str]:
    return [b.text for b in blocks if isinstance(b, Note)]


def texts(blocks: tuple[Block, ...]) -> list[str]:
    return [b.text for b in blocks if isinstance(b, Text)]


def table(blocks: tuple[Block, ...], caption: str) -> Table:
    inner = [x for b in blocks if isinstance(b, Fold) for x in b.blocks]
    return next(b for b in (*blocks, *inner) if isinstance(b, Table) and b.caption == caption)


def strip_of(blocks: tuple[Block, ...]) -> str:
    return next(str(p.svg) for b in blocks if isinstance(b, Pictures) for p in b.items)


def lost_and_given_up(folder: Path) -> Run:
    """Four rounds: 2 comes about in its second attempt, 3 is given up after its second, 4 has a layer of one client."""
    attempts = (lost_attempt(2), lost_attempt(3), lost_attempt(3, attempt=1))
    changes = {
        2: lambda r: replace(r, attempt=1),
        3: given_up,
        4: below_quorum,
    }
    return made(folder, rounds=4, abandoned=attempts, change=lambda r: changes.get(r.round, lambda x: x)(r))


def test_every_reason_has_plain_words() -> None:
    assert set(MEANING) == set(Reason)


def test_run_in_which_everything_counted_says_so_once(tmp_path: Path) -> None:
    (only,) = failures(made(tmp_path / "a", rounds=3))
    assert isinstance(only, Check)
    assert only.passed
    assert only.text.startswith("Every answer counted (30 client-rounds: one client in one round): no client was lost")


def test_lost_clients_are_counted_by_reason_with_their_messages(tmp_path: Path) -> None:
    blocks = failures(made(tmp_path / "a", rounds=3, failing="client-04"))
    assert checks(blocks) == [(False, "3 of 30 client-rounds were lost, of 1 client; the rounds went on without them.")]
    assert table(blocks, "What did not count, by reason").rows == (
        ("NONFINITE", "3", "", "", "", "it holds a value that is not finite"),
    )
    assert table(blocks, "Lost clients, the most often lost first").rows == (("client-04", "3", "NONFINITE 3"),)
    assert table(blocks, "Every lost client").rows[1] == (
        "2",
        "1",
        "client-04",
        "NONFINITE",
        "the loss became NaN in step 3; lower lr",
    )


def test_duplicates_alone_are_no_failures_of_clients(tmp_path: Path) -> None:
    blocks = failures(made(tmp_path / "a", rounds=2, change=lambda r: replace(r, losses={"DUPLICATE": 2, "STALE": 1})))
    assert checks(blocks) == [(True, "No client was lost in 20 client-rounds (one client in one round).")]
    assert texts(blocks)[0].startswith("6 messages besides did not count (DUPLICATE 4, STALE 2)")
    assert notes(blocks) == []


def test_abandoned_attempts_and_a_round_that_was_given_up_are_told_apart(tmp_path: Path) -> None:
    blocks = failures(lost_and_given_up(tmp_path / "a"))
    assert checks(blocks) == [
        (False, "21 of 60 client-rounds were lost, of 7 clients."),
        (False, "Round 3 of 4 was given up; the weights stayed as they were."),
    ]
    assert notes(blocks)[0] == (
        "3 attempts were abandoned, because too few clients were left; 1 of 2 rounds succeeded in a later attempt."
    )
    rows = table(blocks, "Every abandoned attempt").rows
    assert [row[:4] for row in rows] == [
        ("2", "1", "probe", "3 of 5"),
        ("3", "1", "probe", "3 of 5"),
        ("3", "2", "probe", "3 of 5"),
    ]
    assert rows[0][4] == "round 2 is abandoned: 3 of 10 clients are left after the probe, 5 are needed"


def test_layers_below_quorum_are_named_with_their_rounds(tmp_path: Path) -> None:
    blocks = failures(made(tmp_path / "a", rounds=3, change=in_round(2, below_quorum)))
    assert checks(blocks) == [(True, "No client was lost in 30 client-rounds (one client in one round).")]
    assert notes(blocks)[0].startswith("1 layer in 1 round kept their weights")
    assert table(blocks, "Layers below quorum").rows == (("vit.encoder.layer.4", "1", "2 (1)"),)


def test_a_skipped_round_does_not_count_the_losses_of_its_last_attempt_twice(tmp_path: Path) -> None:
    log = lost_and_given_up(tmp_path / "a").log
    assert losses_by_round(log)[3] == {"BELOW_QUORUM": 2, "DUPLICATE": 4, "LATE": 14}
    assert turns_asked(log) == 60
    found = {t.reason: (len(t.clients), t.layers, t.attempts, t.elsewhere) for t in tally(log)}
    assert found == {"LATE": (21, 0, 0, 0), "DUPLICATE": (0, 0, 0, 6), "BELOW_QUORUM": (0, 1, 3, 0)}


def test_losses_of_an_evaluation_are_kept_apart_from_those_of_the_round(tmp_path: Path) -> None:
    def silent(record: RoundRecord) -> RoundRecord:
        return replace(record, losses={"LATE": 2})

    run = made(tmp_path / "a", rounds=2, before={"LATE": 3}, change=silent)
    assert losses_by_round(run.log)[BEFORE] == {"LATE": 3}
    (late,) = tally(run.log)
    assert (late.clients, late.elsewhere) == ((), 7)
    assert checks(failures(run))[0][0]


def test_losses_are_drawn_by_round_and_reason(tmp_path: Path) -> None:
    picture = strip_of(failures(lost_and_given_up(tmp_path / "a")))
    assert "LATE, round 2: 7<" in picture
    assert "DUPLICATE, round 1: 0<" in picture
    assert "round 2: 1 attempt abandoned<" in picture
    assert "round 3: 2 attempts abandoned, then given up<" in picture
    assert picture.count('class="alarm"') == 1


def test_losses_of_many_rounds_share_columns(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=130, names=("a", "b"), change=lambda r: replace(r, losses={"LATE": 1}))
    assert "LATE, round 1–3: 3<" in strip_of(failures(run))


def test_run_that_never_completed_a_round_still_shows_its_attempts(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=0, planned=3, end="failed", abandoned=(lost_attempt(1), lost_attempt(1, 1)))
    blocks = failures(run)
    assert "0 of 1 round succeeded" in notes(blocks)[0]
    assert "round 1: 2 attempts abandoned<" in strip_of(blocks)


@pytest.mark.parametrize("reason", ["COFFEE", "LATE"])
def test_reason_of_another_version_is_shown_without_words(tmp_path: Path, reason: str) -> None:
    blocks = failures(made(tmp_path / "a", rounds=1, change=lambda r: replace(r, losses={reason: 1})))
    (row,) = table(blocks, "What did not count, by reason").rows
    assert row[-1] == {"COFFEE": "–", "LATE": "no sound answer came in time"}[reason]
