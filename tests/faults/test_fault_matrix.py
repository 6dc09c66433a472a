"""Rows of the fault matrix, a few seeds each; ``make soak`` plays all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from fault_matrix import DAMAGES, LOSSES, accepted_once, as_if_lost, lost_in, one_thread, same_as_calm, vanish
from fedstrata.errors import TrainingError
from fedstrata.server.rules import Rules
from fedstrata.testing.faults import EVERY_PHASE, Fault, Faults, Kind, Share
from fedstrata.wire.messages import PhaseName
from matrix import CLIENTS, DEADLINE, Outcome, hash_of, play, prepare
from small_runs import events

ROUNDS = 2
LONGER = 8
"""Rounds in which the network learns."""
DEADLINES: dict[PhaseName, float] = dict.fromkeys(EVERY_PHASE, DEADLINE)


@pytest.fixture(scope="module", autouse=True)
def _threads() -> None:
    one_thread()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return play(tmp_path_factory.mktemp("calm"), rounds=LONGER)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    return play(tmp_path_factory.mktemp("short"), rounds=ROUNDS, steps=1).hash


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Callable[[PhaseName], Outcome]:
    """Return a function that plays without three of the answers of a phase, once."""
    return cache(lambda phase: lost_in(tmp_path_factory.mktemp("lost"), phase, 0, rounds=ROUNDS, steps=1))


@pytest.mark.parametrize(("kind", "phase"), [(k, p) for _, k, p in LOSSES], ids=[name for name, _, _ in LOSSES])
def test_a_third_of_the_clients_lost_ends_in_time_and_costs_little(
    tmp_path: Path, calm: Outcome, kind: Kind, phase: PhaseName
) -> None:
    loss = vanish(tmp_path, kind, phase, 0, calm)
    assert loss.gain >= 0.9 * loss.calm_gain


@pytest.mark.parametrize("phase", ["probe", "train"])
def test_all_clients_lost_is_abandoned_and_the_model_is_untouched(tmp_path: Path, phase: PhaseName) -> None:
    run, weights, engine, _, _ = prepare(
        tmp_path, Share(1.0, Fault(Kind.LOSE_REPLY), frozenset({phase})), rules=Rules(deadline=DEADLINES, retries=2)
    )
    before = hash_of(weights)
    with pytest.raises(TrainingError, match=r"0 of 10 clients are left.*given up after 3 attempts; see to the clients"):
        run.start(weights)
    assert len(events(tmp_path, "abandoned")) == 3
    assert engine.clock.now() <= 1 + 3 * 2 * DEADLINE
    calm, _, _, _, _ = prepare(tmp_path, rounds=0)
    assert hash_of(calm.resume(weights).weights) == before


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("frames", [False, True])
def test_duplicates_count_once(tmp_path: Path, seed: int, frames: bool, short: str) -> None:
    faults = Faults(duplicate=0.7, copies=seed + 1)
    run = play(tmp_path, faults, rounds=ROUNDS, steps=1, frames=frames)
    assert run.hash == short
    assert run.losses["DUPLICATE"] == run.counts["duplicate"] > 0
    assert accepted_once(tmp_path) == ROUNDS * 2 * CLIENTS


@pytest.mark.parametrize("frames", [False, True])
def test_the_order_of_arrival_does_not_matter(tmp_path: Path, frames: bool, short: str) -> None:
    run = same_as_calm(tmp_path, Faults(reorder=1.0), short, seed=0, frames=frames, rounds=ROUNDS, steps=1)
    assert run.counts["reorder"] > 0
    assert not run.losses


@pytest.mark.parametrize(("fault", "reason"), [("conflict", "CONFLICT"), ("stale", "STALE")])
@pytest.mark.parametrize("frames", [False, True])
def test_contradictions_and_leftovers_are_flagged_and_change_nothing(
    tmp_path: Path, fault: str, reason: str, frames: bool, short: str
) -> None:
    faults = Faults(**{fault: 0.7})  # type: ignore[arg-type]
    run = same_as_calm(tmp_path, faults, short, seed=0, frames=frames, rounds=ROUNDS, steps=1)
    assert run.losses == {reason: run.counts[fault]}
    assert run.counts[fault] > 0


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0, 100.0])
def test_an_update_that_is_too_late_never_counts_and_delays_nobody(tmp_path: Path, times: float, short: str) -> None:
    """One second of latency and nine of delay are the last that are in time."""
    share = Share(0.3, Fault(Kind.DELAY, times * (DEADLINE - 1)), frozenset({"train"}))
    run = play(tmp_path, share, rounds=ROUNDS, steps=1)
    late, lost = times > 1, 3 * ROUNDS
    assert (run.hash == short) is not late
    assert run.counts.get("late", 0) == (lost if late else 0)
    assert run.clocked.ends[-1] <= 1 + ROUNDS * 3 * DEADLINE
    assert run.losses == ({"LATE": lost, "STALE": lost} if late else {})
    assert accepted_once(tmp_path) == ROUNDS * 2 * CLIENTS - (lost if late else 0)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_worthless_update_is_as_good_as_none(
    tmp_path: Path, kind: Kind, lost: Callable[[PhaseName], Outcome]
) -> None:
    spoilt = as_if_lost(tmp_path, kind, "train", 0, lost("train"), steps=1)
    assert sum(spoilt.losses.values()) >= lost("train").losses["LATE"]
    assert set(spoilt.losses) <= {"NONFINITE", "NORM", "SCHEMA", "SIZE", "AUTH"}


@pytest.mark.parametrize("kind", [Kind.NONFINITE, Kind.WRONG_SHAPE, Kind.MISNAME, Kind.TRUNCATE, Kind.FLIP])
def test_worthless_statistics_are_as_good_as_none(
    tmp_path: Path, kind: Kind, lost: Callable[[PhaseName], Outcome]
) -> None:
    as_if_lost(tmp_path, kind, "probe", 0, lost("probe"), steps=1)


@pytest.mark.parametrize("quorum", [1, 6, 7, 8])
def test_below_its_quorum_a_round_is_abandoned(tmp_path: Path, quorum: int) -> None:
    share = Share(0.3, Fault(Kind.LOSE_REPLY), frozenset({"train"}))
    run, weights, _, _, _ = prepare(tmp_path, share, rounds=1, rules=Rules(quorum, deadline=DEADLINES, retries=0))
    if quorum <= 7:
        assert run.start(weights).state == "finished"
    else:
        with pytest.raises(TrainingError, match="7 of 10 clients are left after training, 8 are needed"):
            run.start(weights)


def test_everything_at_once_still_ends_and_counts_every_update_once(tmp_path: Path) -> None:
    faults = Faults(
        lose_request=0.1, lose_reply=0.1, crash=0.1, reorder=0.5, duplicate=0.3, conflict=0.2, stale=0.3,
        nonfinite=0.05, huge=0.05, wrong_shape=0.05, wrong_name=0.05, rows_lie=0.05, misname=0.1, truncate=0.1,
        flip=0.1, delay=2.0,
    )  # fmt: skip
    run = play(
        tmp_path, faults, rounds=LONGER, frames=True, rules=Rules(deadline=DEADLINES, retries=3, on_abandon="skip")
    )
    assert run.result.state == "finished"
    assert len(run.losses) >= 7
    assert run.watched.largest < 1e-6
    accepted_once(tmp_path)


def test_the_calm_run_has_no_losses(calm: Outcome) -> None:
    assert not calm.losses
    assert not any(calm.counts.values())
