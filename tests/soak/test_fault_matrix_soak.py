"""The fault matrix with all its seeds; the figures are printed as they come (``-s``)."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest

from fault_matrix import DAMAGES, LOSSES, Seeded, accepted_once, as_if_lost, lost_in, one_thread, same_as_calm, vanish
from fedstrata.testing.faults import Faults, Kind
from fedstrata.wire.messages import PhaseName
from matrix import CLIENTS, Outcome, play

SEEDS = range(20)
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module", autouse=True)
def _threads() -> None:
    one_thread()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    return {seed: play(tmp_path_factory.mktemp("calm"), seed=seed) for seed in SEEDS}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    return play(tmp_path_factory.mktemp("short"), rounds=3).hash


@pytest.mark.parametrize(("name", "kind", "phase"), LOSSES, ids=[name for name, _, _ in LOSSES])
def test_a_third_of_the_clients_lost_keeps_95_percent_of_the_gain(
    tmp_path: Path,
    calm: dict[int, Outcome],
    capsys: pytest.CaptureFixture[str],
    name: str,
    kind: Kind,
    phase: PhaseName,
) -> None:
    losses = [vanish(tmp_path / str(seed), kind, phase, seed, calm[seed]) for seed in SEEDS]
    ratios = [loss.gain / loss.calm_gain for loss in losses]
    with capsys.disabled():
        print(
            f"\n30 % lost, {name}: {len(losses)} runs, {sum(x.lost for x in losses)} messages lost, slowest round "
            f"{max(x.slowest_round for x in losses):.1f} virtual s, gain kept: mean {mean(ratios):.3f}, "
            f"least {min(ratios):.3f}"
        )
    assert mean(ratios) >= 0.95


@pytest.mark.parametrize("frames", [False, True])
def test_duplicates_one_to_five_times_over_200_seeds(
    tmp_path: Path, frames: bool, short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    total = 0
    for seed in range(100 * frames, 100 * frames + 100):
        faults = Seeded(Faults(duplicate=1.0, copies=seed % 5), seed)
        run = play(tmp_path / str(seed), faults, rounds=3, frames=frames)
        assert run.hash == short
        assert accepted_once(tmp_path / str(seed)) == 3 * 2 * CLIENTS
        total += run.losses.get("DUPLICATE", 0)
    with capsys.disabled():
        print(f"\nduplicates: 100 runs, {total} dropped, the same bits each time")


def test_100_orders_of_arrival(tmp_path: Path, short: str) -> None:
    for seed in range(100):
        run = play(tmp_path / str(seed), Seeded(Faults(reorder=1.0), seed), rounds=3, frames=seed % 2 == 0)
        assert run.hash == short


@pytest.mark.parametrize("fault", ["conflict", "stale"])
def test_50_runs_of_contradictions_and_leftovers(tmp_path: Path, short: str, fault: str) -> None:
    for seed in range(50):
        plan = Seeded(Faults(**{fault: 0.5}), seed)  # type: ignore[arg-type]
        same_as_calm(tmp_path / str(seed), plan, short, seed=0, frames=seed % 2 == 0)


@pytest.mark.parametrize("kind", DAMAGES)
def test_worthless_answers_over_20_seeds(tmp_path: Path, kind: Kind) -> None:
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        as_if_lost(folder / "spoilt", kind, "train", seed, lost_in(folder / "lost", "train", seed))
