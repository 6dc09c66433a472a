"""The solvers against brute force, on all the instances of which the suite solves a tenth."""

from __future__ import annotations

from typing import Any

import pytest

from solvers import test_agree, test_decomposition, test_priced, test_solve

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("block", range(10))
@pytest.mark.parametrize(
    "play",
    [
        test_agree.test_no_bound_is_below_the_optimum_on_tiny_instances,
        test_agree.test_no_dual_is_below_the_optimum_at_any_prices,
        test_decomposition.test_the_bound_is_never_below_the_optimum_on_tiny_instances,
        test_solve.test_no_budget_violation_and_optimal_on_instances_of_every_kind,
        test_priced.test_small_instances_are_proven_and_equal_to_brute_force,
    ],
)
def test_ten_blocks_of_instances(play: Any, block: int) -> None:  # noqa: ANN401  a test
    play(block)


@pytest.mark.parametrize("block", range(5))
@pytest.mark.parametrize(
    "play",
    [
        test_agree.test_what_highs_proves_is_what_every_mask_says,
        test_agree.test_a_float32_descent_still_ends_in_a_float64_bound,
        test_priced.test_the_search_without_tables_is_exact_too,
    ],
)
def test_five_blocks_of_instances_solved_in_another_way(
    play: Any,  # noqa: ANN401  a test
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play(block, monkeypatch)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("tabled", [True, False])
def test_descents(seed: int, tabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    test_decomposition.test_descents_stay_above_the_optimum_and_below_their_start(seed, tabled, monkeypatch)
