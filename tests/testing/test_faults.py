"""Plans of faults: drawn by seed, for each client apart from the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asking import TEN, ask
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError
from fedstrata.testing.faults import Fault, Faults, Kind, Share
from fedstrata.wire.messages import Origin

A, B, C = TEN[:3]
EVERYTHING = Faults(**{kind: 0.2 for kind in Kind if kind is not Kind.DELAY}, delay=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "asked", "hit"), [(0.3, 10, 3), (0.3, 9, 2), (0.29, 100, 29), (0.0, 10, 0), (1.0, 4, 4)]
)
def test_shares_are_rounded_down(share: float, asked: int, hit: int) -> None:
    requests = ask("train", *(ClientId(f"c{i:03d}") for i in range(asked)))
    assert len(Share(share, Fault(Kind.CRASH)).draw(requests, seed=1)) == hit


def test_another_attempt_of_a_round_has_other_faults() -> None:
    again = [replace(r, origin=Origin("run-1", 3, "b" * 64)) for r in ask("train", *TEN)]
    plan = Faults(lose_reply=0.5)
    assert plan.draw(ask("train", *TEN), seed=0).keys() != plan.draw(again, seed=0).keys()


def test_who_else_is_asked_changes_nothing_for_a_client() -> None:
    drawn = EVERYTHING.draw(ask("train", *TEN), seed=3)
    assert {c: f for c, f in drawn.items() if c in (A, C)} == EVERYTHING.draw(ask("train", C, A), seed=3)


def test_one_probability_does_not_move_the_draws_of_another() -> None:
    alone = Faults(crash=0.3).draw(ask("train", *TEN), seed=3)
    beside = Faults(crash=0.3, flip=0.5, delay=1.0).draw(ask("train", *TEN), seed=3)
    assert {c for c, faults in beside.items() if Fault(Kind.CRASH) in faults} == alone.keys()


def test_probabilities_are_met_on_average() -> None:
    """Of 4,000 draws at 0.25 about 1,000 hit, give or take 27; delays of mean 2 average 2 within 0.1."""
    clients = [ClientId(f"c{i}") for i in range(4000)]
    faults = Faults(flip=0.25, delay=2.0).draw(ask("train", *clients), seed=0)
    found = [fault for mine in faults.values() for fault in mine]
    assert 890 < sum(f.kind is Kind.FLIP for f in found) < 1110
    delays = [f.amount for f in found if f.kind is Kind.DELAY]
    assert sum(delays) / len(delays) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("bad", [{"crash": 1.1}, {"flip": -0.1}, {"lose_request": float("nan")}, {"delay": -1.0}])
def test_chances_are_between_nothing_and_certainty(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Faults(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [1.01, -0.01])
def test_shares_are_between_none_and_all(bad: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        Share(bad, Fault(Kind.CRASH))
