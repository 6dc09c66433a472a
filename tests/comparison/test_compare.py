"""Comparisons: who is compared with whom, over which seeds, and what is said where no claim can be made."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fedstrata.comparison.compare import compare
from fedstrata.comparison.methods import Contest, Line, Rules
from fedstrata.comparison.results import CurvePoint, Outcome
from fedstrata.errors import ConfigError
from report.made_outcomes import outcome, several

SIX = [0.5, 0.51, 0.52, 0.53, 0.54, 0.55]


def the(outcomes: Sequence[Outcome], **rules: object) -> Contest:
    (contest,) = compare(outcomes, Rules(**rules))  # type: ignore[arg-type]
    return contest


def line(contest: Contest, label: str) -> Line:
    return next(found for found in contest.lines if found.label == label)


def test_consensus_is_the_reference_unless_another_is_named() -> None:
    both = [*several("top", SIX), *several("consensus", SIX)]
    assert the(both).reference == "consensus"
    assert the(both, reference="top").reference == "top"
    assert the([*several("top", SIX), *several("full", SIX)]).reference == "top"


def test_a_difference_is_paired_by_seed() -> None:
    top = [outcome("top", 0.25 + 0.125 * s, seed=s) for s in (1, 2, 3)]
    consensus = [outcome("consensus", 0.125 * s, seed=s) for s in (0, 1, 2)]
    pair = line(the([*top, *consensus]), "top").against
    assert pair is not None
    assert pair.seeds == (1, 2)
    assert (pair.difference.mean, pair.difference.kind) == (0.25, "equal")


def test_rows_sizes_and_budgets_are_not_compared_with_one_another() -> None:
    outcomes = [
        outcome("a"),
        outcome("a", budget="R2"),
        outcome("a", size="full"),
        outcome("a", row="cifar10"),
        outcome("b", row="cifar10"),
    ]
    contests = compare(outcomes, Rules())
    assert [c.title for c in contests] == [
        "digits, small, budget R1",
        "digits, small, budget R2",
        "digits, full, budget R1",
        "cifar10, small, budget R1",
    ]
    assert [len(c.lines) for c in contests] == [1, 1, 1, 2]
    assert [c.title for c in compare(outcomes, Rules(budgets=("R2",)))] == ["digits, small, budget R2"]


def test_six_seeds_have_p_and_holm_over_the_methods_of_the_table() -> None:
    better, same = [a + 0.1 + a / 10 for a in SIX], [a + (0.01 if i % 2 else -0.01) for i, a in enumerate(SIX)]
    contest = the([*several("consensus", SIX), *several("better", better), *several("same", same)])
    found = line(contest, "better")
    assert found.against is not None
    assert (found.against.p, found.adjusted) == (0.03125, 0.0625)
    assert line(contest, "consensus").adjusted is None
    assert any("Holm over 2 methods makes 0.06" in note and "7 seeds would allow it" in note for note in contest.notes)
    alone = the([*several("consensus", SIX), *several("better", better)])
    assert not any("Holm" in note for note in alone.notes)


def test_five_seeds_make_no_claim_and_say_why() -> None:
    contest = the([*several("consensus", SIX[:5]), *several("top", [a + 0.2 + a / 10 for a in SIX[:5]])])
    found = line(contest, "top")
    assert found.against is not None
    assert (found.against.p, found.adjusted, found.against.difference.kind) == (None, None, "range")
    (note,) = contest.notes
    assert "cannot go below p = 0.0625, so no significance is claimed" in note


def test_the_best_layer_by_mean_becomes_the_oracle() -> None:
    outcomes = [
        *several("consensus", SIX),
        *several("layer 0", [0.1] * 6),
        *several("layer 3", [0.6] * 6),
        *several("layer 1", [0.5, 0.9, 0.1, 0.1, 0.1, 0.1]),
    ]
    contest = the(outcomes, oracle="layer *")
    assert [x.label for x in contest.lines] == ["consensus", "oracle (layer 3)"]
    assert [x.label for x in contest.candidates] == ["layer 0", "layer 3", "layer 1"]
    to_oracle = line(contest, "consensus").to_oracle
    assert to_oracle is not None
    assert to_oracle.difference.mean == pytest.approx(0.525 - 0.6)
    assert any("flatters itself" in note for note in contest.notes)
    assert the(outcomes, oracle="layer *", reference="oracle").reference == "oracle (layer 3)"
    assert the(outcomes, oracle="layer *", reference="layer 3").reference == "oracle (layer 3)"


def test_the_oracle_is_chosen_for_each_budget() -> None:
    outcomes = [
        outcome(m, a, budget=b)
        for b, shares in (("R1", (0.2, 0.4)), ("R2", (0.4, 0.2)))
        for m, a in zip(("layer 0", "layer 1"), shares, strict=True)
    ]
    labels = [c.lines[0].label for c in compare(outcomes, Rules(oracle="layer *"))]
    assert labels == ["oracle (layer 1)", "oracle (layer 0)"]


def test_full_is_taken_from_the_budget_that_it_ran_under() -> None:
    outcomes = [*several("full", [0.75] * 6), *several("top", SIX), *several("top", SIX, budget="R2")]
    first, second = compare(outcomes, Rules())
    pair = line(second, "top").to_full
    assert pair is not None
    assert pair.difference.mean == pytest.approx(0.525 - 0.75)
    assert any("full ran under budget R1 only" in note for note in second.notes)
    assert not any("ran under" in note for note in first.notes)
    assert [x.label for x in second.lines] == ["top"]
    assert compare(outcomes, Rules(reference="full"))[1].reference == "full"


def test_the_target_is_reached_at_the_first_evaluated_round_at_or_above_it() -> None:
    curve = [
        CurvePoint(0, 0.1, 0, 0.0),
        CurvePoint(2, 0.4, 100, 5.0),
        CurvePoint(4, 0.3, 200, 10.0),
        CurvePoint(6, 0.6, 300, 15.0),
    ]
    late = [CurvePoint(0, 0.1, 0, 0.0), CurvePoint(2, 0.4, 300, 7.0)]
    never = [CurvePoint(0, 0.1, 0, 0.0), CurvePoint(2, 0.39, 500, 9.0)]
    outcomes = [outcome(seed=s, curve=c) for s, c in enumerate((curve, late, never))]
    reached = the(outcomes, target=0.4).lines[0].reached
    assert reached is not None
    assert (reached.seeds, reached.bytes_up, reached.flops) == (2, 200.0, 6.0)
    beyond = the(outcomes, target=0.9).lines[0].reached
    assert beyond is not None
    assert (beyond.seeds, beyond.bytes_up, beyond.flops) == (0, None, None)
    assert the(outcomes).lines[0].reached is None


def test_methods_stand_as_they_came_or_by_mean() -> None:
    outcomes = [outcome("low", 0.1), outcome("none", None), outcome("high", 0.9)]
    assert [x.label for x in the(outcomes).lines] == ["low", "none", "high"]
    assert [x.label for x in the(outcomes, by_mean=True).lines] == ["high", "low", "none"]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"reference": "consenus"}, "--reference 'consenus' is none of the methods; did you mean 'consensus'?"),
        ({"reference": "oracle"}, "--reference 'oracle' is none of the methods"),
        ({"budgets": ("R11",)}, "--budget 'R11' is none of the budgets; did you mean 'R1'?"),
        ({"oracle": "layers *"}, "--oracle 'layers *' fits no method"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_the_nearest(rules: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        the([outcome("consensus"), outcome("top")], **rules)
    assert said in str(error.value)


def test_nothing_is_nothing_to_compare() -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([], Rules())


def test_a_reference_that_did_not_run_under_a_budget_is_told() -> None:
    first, second = compare([outcome("top"), outcome("a"), outcome("a", budget="R2")], Rules(reference="top"))
    assert (first.reference, second.reference) == ("top", None)
    assert "top did not run here, so there are no differences to it." in second.notes
    assert second.lines[0].against is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (outcome("top", rounds=5), "differ in length, from 2 rounds to 5 rounds"),
        (outcome("top", None), "Not every seed was evaluated on the server's test rows: top"),
        (outcome("top", baseline=0.25), "with seed 0 they begin at 12.5%, 25.0%"),
        (outcome("top", seed=3), "for want of a seed evaluated in both: top"),
    ],
)
def test_what_does_not_compare_like_with_like_is_told(other: Outcome, said: str) -> None:
    assert any(said in note for note in the([outcome("consensus"), other]).notes)
