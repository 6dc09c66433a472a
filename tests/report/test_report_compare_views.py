"""Comparisons on a terminal, in Markdown and as JSON: the cells that a reader can check, and text that stays text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from io import StringIO

import pytest
from rich.console import Console

from fedstrata.comparison.compare import compare
from fedstrata.comparison.methods import Rules
from fedstrata.comparison.results import CurvePoint, Outcome
from fedstrata.report.compare_tables import sheets
from fedstrata.report.compare_views import json_values, markdown, terminal_views
from report.made_outcomes import outcome, several

CURVE = (CurvePoint(0, 0.125, 0, 0.0), CurvePoint(2, 0.5, 1_000_000, 2e9))


def cells(outcomes: Sequence[Outcome], sheet: int, rules: Rules | None = None) -> list[dict[str, str]]:
    (contest,) = compare(outcomes, rules or Rules())
    shown = sheets(contest)[sheet]
    return [dict(zip(shown.head, map(str, row), strict=True)) for row in shown.rows]


def printed(outcomes: Sequence[Outcome], rules: Rules | None = None) -> str:
    out = StringIO()
    console = Console(width=200, file=out)
    for view in terminal_views(compare(outcomes, rules or Rules())):
        console.print(view, markup=False, highlight=False)
    return out.getvalue()


def test_accuracies_have_ranges_and_differences_are_in_points() -> None:
    top, consensus = cells([*several("top", [0.25, 0.5, 0.75]), *several("consensus", [0.5, 0.5, 0.5])], 0)
    assert top == {
        "method": "top",
        "# seeds": "3",
        "# accuracy, %": "50.00 (25.00 to 75.00)",
        "# to consensus, points": "0.00 (-25.00 to +25.00)",
        "# d_z": "+0.00",
    }
    assert (consensus["method"], consensus["# accuracy, %"]) == ("consensus (reference)", "50.00 (all equal)")
    assert consensus["# to consensus, points"] == "–"


def test_six_seeds_have_intervals_and_p_and_never_a_star() -> None:
    shares = [0.5, 0.51, 0.52, 0.53, 0.54, 0.56]
    outcomes = [*several("top", shares), *several("consensus", [0.25] * 6)]
    top = cells(outcomes, 0)[0]
    assert (top["# p"], top["# p (Holm)"]) == ("0.031", "0.031")
    assert top["# to consensus, points"].startswith("+27.67 [+26.")
    text = printed(outcomes)
    assert "0.031" in text
    assert "*" not in text


def test_pairs_are_counted_where_not_all_seeds_are_shared() -> None:
    top = cells([outcome("top", seed=0), outcome("consensus", seed=0), outcome("consensus", seed=1)], 0)[0]
    assert (top["# seeds"], top["# pairs"]) == ("1", "1")


def test_costs_clients_and_the_target_are_means_over_seeds() -> None:
    outcomes = [
        outcome(seed=0, clients=(0.2, 0.5, 0.8), bytes_up=1_000_000, flops=1e9, curve=CURVE),
        outcome(seed=1, clients=(0.4, 0.7, 1.0), bytes_up=3_000_000, flops=4e9),
    ]
    (found,) = cells(outcomes, 1, Rules(target=0.5))
    assert found == {
        "method": "consensus (reference)",
        "# worst, %": "30.0",
        "# median, %": "60.0",
        "# best, %": "90.0",
        "# MB up": "2.00",
        "# MB down": "3.00",
        "# GFLOP": "2.5",
        "# seeds to 50%": "1 of 2",
        "# MB up to 50%": "1.00 (1 of 2 seeds)",
        "# GFLOP to 50%": "2 (1 of 2 seeds)",
    }


def test_what_was_not_measured_is_a_dash() -> None:
    (found,) = cells([outcome(clients=(None, None, None), flops=None)], 1)
    assert [found[key] for key in ("# worst, %", "# median, %", "# best, %", "# GFLOP")] == ["–"] * 4


def test_losses_are_paired_by_seed_and_less_is_better() -> None:
    given = {"top": (1.5, 1.0), "consensus": (1.0, 0.75), "late": (None, None)}
    outcomes = [outcome(name, seed=seed, loss=loss) for name, by in given.items() for seed, loss in enumerate(by)]
    top, consensus, late = cells(outcomes, 2)
    assert top == {
        "method": "top",
        "# loss, nats": "1.2500 (1.0000 to 1.5000)",
        "# to consensus, nats": "+0.3750 (+0.2500 to +0.5000)",
    }
    assert (consensus["# loss, nats"], consensus["# to consensus, nats"]) == ("0.8750 (0.7500 to 1.0000)", "–")
    assert (late["# loss, nats"], late["# to consensus, nats"]) == ("–", "–")


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_loss_that_is_no_number_leaves_no_mean_and_is_said(loss: float) -> None:
    outcomes = [*several("top", [0.25, 0.5]), *several("consensus", [0.5, 0.5])]
    outcomes[1] = outcome("top", 0.5, seed=1, loss=loss)
    top, consensus = cells(outcomes, 2)
    assert (top["# loss, nats"], consensus["# loss, nats"]) == ("–", "1.0000 (all equal)")
    (contest,) = compare(outcomes, Rules())
    assert contest.notes[-1] == "The loss of some seed is not a finite number, so no mean of losses is shown: top."


def test_without_losses_there_is_no_table_of_them() -> None:
    (contest,) = compare([outcome(loss=None)], Rules())
    assert [sheet.caption.split()[0] for sheet in sheets(contest)] == ["Accuracy", "Clients'", "Layers"]


def test_the_layers_of_the_oracle_have_losses_too() -> None:
    outcomes = [outcome("layer 0", 0.25, loss=2.0), outcome("layer 1", 0.5, loss=3.0), outcome("consensus")]
    found = cells(outcomes, 4, Rules(oracle="layer *"))
    assert [(row["method"], row["# loss, nats"]) for row in found] == [("layer 0", "2.0000"), ("layer 1", "3.0000")]


def test_layers_are_shares_of_client_rounds() -> None:
    outcomes = [outcome(seed=0, layers={"net.0": 10, "net.1": 0}), outcome(seed=1, layers={"net.0": 5, "net.1": 0})]
    (found,) = cells(outcomes, 3)
    assert found == {"method": "consensus (reference)", "# 0": "75", "# 1": "0"}


def test_methods_with_other_layers_stand_in_one_table() -> None:
    outcomes = [outcome("full", layers={"a": 10}), outcome("lora", layers={"a.lora": 1})]
    full, lora = cells(outcomes, 3)
    assert (full["# a"], full["# a.lora"], lora["# a"], lora["# a.lora"]) == ("100", "–", "–", "10")


def test_many_layers_are_several_tables() -> None:
    (contest,) = compare([outcome(layers={f"layer.{i}": 1 for i in range(20)})], Rules())
    first, second = sheets(contest)[3:]
    assert (len(first.head), len(second.head)) == (17, 5)
    assert second.caption.endswith("from 16 on")


def test_markdown_is_bold_for_the_reference_only_and_repeats_the_notes() -> None:
    text = markdown(compare([outcome("top"), outcome("consensus")], Rules()), notes=["seeds 0, numpy 2.0"])
    assert text.startswith("seeds 0, numpy 2.0\n\n### digits, small, budget R1\n")
    assert "| **consensus (reference)** | 1 | 50.00 | – |" in text
    assert text.count("**") == 2 * 4, "once in each of the four tables"
    assert "| top | 1 | 50.00 | 0.00 |" in text


def test_markdown_is_safe_from_names() -> None:
    text = markdown(compare([outcome("a|b *c* [d](e)", row="<x>")], Rules()))
    assert r"a\|b \*c\* \[d](e)" in text
    assert "### \\<x>" in text


def test_a_terminal_reads_no_markup_in_names() -> None:
    text = printed([outcome("[bold]x[/bold]"), outcome("consensus")])
    assert "[bold]x[/bold]" in text
    assert "digits, small, budget R1" in text


def test_json_says_everything_in_plain_units() -> None:
    values = json.loads(json.dumps(json_values(compare([outcome("top", 0.25), outcome("consensus")], Rules()))))
    (contest,) = values["comparisons"]
    top, consensus = contest["methods"]
    assert top["accuracy"] == {"mean": 0.25, "low": 0.25, "high": 0.25, "count": 1, "kind": "single"}
    assert top["difference"]["difference"]["mean"] == -0.25
    assert top["difference"]["p"] is None
    assert top["layers"] == {"layer.0": 0.4, "layer.1": 0.0, "layer.2": 0.6}
    assert (contest["reference"], consensus["difference"]) == ("consensus", None)
    assert top["loss"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "count": 1, "kind": "single"}
    assert (top["losses"], top["loss_difference"]["difference"]["mean"]) == ({"0": 1.0}, 0.0)
    assert top["bytes_up"] == pytest.approx(2e6)
