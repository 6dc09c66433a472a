"""Sections: each says what the records say, and says aloud what must not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fedstrata.comparison.grouping import group
from fedstrata.domain.card import ClientData, DataCard
from fedstrata.domain.records import Metrics, RoundRecord
from fedstrata.report.blocks import Block, Check, Fold, Meter, Pictures, Table, Text
from fedstrata.report.sections.certificates import certificates
from fedstrata.report.sections.comparison import comparison
from fedstrata.report.sections.costs import costs
from fedstrata.report.sections.curves import curves
from fedstrata.report.sections.data import data
from fedstrata.report.sections.fairness import fairness
from fedstrata.report.sections.identity import config
from fedstrata.report.sections.selection import selection
from fedstrata.report.sections.verdict import verdict
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.synthetic_run import write_run


def made(folder: Path, **options: object) -> Run:
    return read_run(write_run(folder, **options))  # type: ignore[arg-type]


def checks(blocks: tuple[Block, ...]) -> list[Check]:
    return [b for b in blocks if isinstance(b, Check)]


def tables(blocks: tuple[Block, ...]) -> list[Table]:
    inner = [x for b in blocks if isinstance(b, Fold) for x in b.blocks]
    return [b for b in (*blocks, *inner) if isinstance(b, Table)]


def totals(run: Run) -> dict[object, object]:
    return {row[0]: row[1] for row in tables(costs(run))[0].rows}


def svg_of(blocks: tuple[Block, ...], place: int = 0) -> str:
    return str([p for b in blocks if isinstance(b, Pictures) for p in b.items][place].svg)


def accuracies(*values: float) -> Callable[[RoundRecord], RoundRecord]:
    return lambda r: replace(
        r, test=Metrics(values[r.round - 1], 1.0, 400), validation=Metrics(0.5 + r.round / 10, 1.0, 100)
    )


def text_of(blocks: tuple[Block, ...]) -> str:
    return " ".join(b.text for b in blocks if isinstance(b, Text))


def test_scores_that_are_a_round_old_are_said_to_be_and_others_are_not_mentioned(tmp_path: Path) -> None:
    def piggybacked(r: RoundRecord) -> RoundRecord:
        return replace(r, clients=tuple(replace(c, probe_round=max(r.round - 1, 1)) for c in r.clients))

    plain, piggybacking = made(tmp_path / "a", rounds=3), made(tmp_path / "b", rounds=3, change=piggybacked)
    assert "probe.piggyback" not in text_of(selection(plain))
    sentence = "The scores of 20 of 30 client-rounds were measured one round earlier (probe.piggyback)."
    assert text_of(selection(piggybacking)).endswith(sentence)


def test_verdict_of_one_run_says_gain_upload_and_that_it_is_one_seed(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=2, start=0.25, change=accuracies(0.5, 0.75))
    first, second = verdict(group([run])[0])
    upload = sum(r.bytes_up for r in run.log.rounds) / 1e6
    assert first == (
        "consensus raised test accuracy from 25.0% to 75.0% (+50.0 points) in 2 rounds, "
        f"with {upload:.2f} MB uploaded by the clients in all."
    )
    assert second.startswith("This is one seed (7);")
    assert "400 rows" in second
    assert "±4.2 points" in second


def test_verdict_of_a_run_that_lost_says_so(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=1, start=0.5, change=accuracies(0.25))
    assert "lowered test accuracy from 50.0% to 25.0% (-25.0 points)" in verdict(group([run])[0])[0]


def test_verdict_without_a_starting_point_says_so(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=1, start=None, change=accuracies(0.25))
    assert "reached 25.0% test accuracy" in verdict(group([run])[0])[0]
    assert "starting point was not recorded" in verdict(group([run])[0])[0]


def test_verdict_of_several_methods_names_the_winner_the_lead_and_the_price(tmp_path: Path) -> None:
    runs = [
        made(tmp_path / "full", method="full", rounds=1, per_client=6, change=accuracies(0.75)),
        made(tmp_path / "top", method="top", rounds=1, change=accuracies(0.5)),
    ]
    first, second = verdict(group(runs)[0])
    assert first.startswith("full ended highest at 75.0% test accuracy, with 8.01 MB uploaded; top came second, ")
    assert "25.0 points lower, with 1.36 MB (5.9 times less)" in first
    assert second.startswith("One seed per method")


def test_verdict_of_a_tie_names_no_winner(tmp_path: Path) -> None:
    runs = [made(tmp_path / m, method=m, rounds=1, change=accuracies(0.5)) for m in ("a", "b")]
    assert verdict(group(runs)[0])[0] == ("a, b ended level at 50.0% test accuracy; uploaded: a 1.36 MB, b 1.36 MB.")
    assert tables(comparison(group(runs)[0]))[0].strong == {0, 1}


def test_curves_that_coincide_are_named(tmp_path: Path) -> None:
    runs = [
        made(tmp_path / m, method=m, rounds=1, change=accuracies(a)) for m, a in (("a", 0.5), ("b", 0.5), ("c", 0.4))
    ]
    said = [b.text for b in curves(group(runs)[0]) if isinstance(b, Text)]
    assert said == ["These curves coincide and hide one another: a, b."]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        ((0.4, 0.5), (0.6, 0.7), "Every one of high's 2 runs ended above every one of low's 2."),
        ((0.4, 0.65), (0.6, 0.7), "so their order may be chance."),
    ],
)
def test_verdict_over_seeds_says_whether_they_overlap(
    tmp_path: Path, low: tuple[float, ...], high: tuple[float, ...], said: str
) -> None:
    runs = [
        made(tmp_path / f"{m}{s}", method=m, seed=s, rounds=1, change=accuracies(values[s]))
        for m, values in (("low", low), ("high", high))
        for s in (0, 1)
    ]
    assert verdict(group(runs)[0])[1].endswith(said)


def test_comparison_puts_the_best_first_with_its_numbers(tmp_path: Path) -> None:
    runs = [made(tmp_path / m, method=m, rounds=2, change=accuracies(0.1, a)) for m, a in (("low", 0.2), ("high", 0.4))]
    (table,) = tables(comparison(group(runs)[0]))
    assert [row[0] for row in table.rows] == ["high", "low"]
    assert isinstance(table.rows[0][1], Meter)
    assert table.rows[0][1].text == "40.0%"
    assert table.rows[0][5] == f"{sum(r.bytes_up for r in runs[1].log.rounds) / 1e6:.2f}"


def test_comparison_holds_mean_operations_and_the_largest_peak_over_seeds(tmp_path: Path) -> None:
    def fixed(record: RoundRecord, *, seed: int) -> RoundRecord:
        price = {"flops": 1e9 * (1 + seed)}
        clients = (replace(c, predicted=price, peak_bytes=5_000_000 + 1_000_000 * seed) for c in record.clients)
        return replace(record, clients=tuple(clients))

    runs = [made(tmp_path / str(s), seed=s, rounds=2, change=partial(fixed, seed=s)) for s in (0, 1)]
    (table,) = tables(comparison(group(runs)[0]))
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert row["# client FLOPs, predicted"] == "30.00 GFLOP"
    assert row["# largest client peak"] == "6.00 MB"


def test_comparison_without_prices_or_peaks_shows_none(tmp_path: Path) -> None:
    (table,) = tables(comparison(group([made(tmp_path / "a", rounds=1, priced=False)])[0]))
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert (row["# client FLOPs, predicted"], row["# largest client peak"]) == ("–", "–")


def test_comparison_of_runs_of_different_length_warns(tmp_path: Path) -> None:
    runs = [made(tmp_path / str(n), method=f"m{n}", rounds=n) for n in (1, 3)]
    assert "differ in length, from 1 round to 3 rounds" in getattr(comparison(group(runs)[0])[1], "text", "")


def test_curves_hold_every_point_and_the_range_over_seeds(tmp_path: Path) -> None:
    runs = [made(tmp_path / str(s), seed=s, rounds=2, change=accuracies(0.3, 0.4 + s / 10)) for s in (0, 1)]
    picture = svg_of(curves(group(runs)[0]))
    assert "consensus, 2 rounds, 2.71 MB up: 45.0% (runs: 40.0%, 50.0%)" in picture


def test_curves_use_a_log_scale_where_uploads_are_far_apart(tmp_path: Path) -> None:
    runs = [made(tmp_path / f"m{n}", method=f"m{n}", rounds=2, per_client=n) for n in (1, 6)]
    (pictures,) = [b for b in curves(group(runs)[0]) if isinstance(b, Pictures)]
    assert "Log scale, without the starting point." in pictures.items[1].caption


def test_selection_counts_are_those_of_the_masks(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=2)
    by_round, by_client = svg_of(selection(run)), svg_of(selection(run), 1)
    for record in run.log.rounds:
        count = sum(0 in c.mask for c in record.clients)
        assert f"layer.0, round {record.round}: {count} of 10 clients<" in by_round
    own = [c.mask for r in run.log.rounds for c in r.clients if c.client == "client-03"]
    assert f"client-03, layer.1: {sum(1 in m for m in own)} of 2 rounds<" in by_client


def test_selection_of_many_rounds_is_binned(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=130, names=("a", "b"))
    count = sum(0 in c.mask for r in run.log.rounds[:3] for c in r.clients)
    assert f"layer.0, round 1–3: {count} of 6 clients<" in svg_of(selection(run))


def test_head_only_run_has_no_heatmap_but_a_sentence(tmp_path: Path) -> None:
    (only,) = selection(made(tmp_path / "a", per_client=0))
    assert isinstance(only, Text)
    assert "No client was asked to train a selectable layer" in only.text


def test_costs_add_up_per_client(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=3, per_client=2)
    table = tables(costs(run))[1]
    own = [c for r in run.log.rounds for c in r.clients if c.client == "client-05"]
    row = dict(zip(table.head, next(row for row in table.rows if row[0] == "client-05"), strict=True))
    assert row["# rounds"] == "3"
    assert row["# layers per round"] == "2"
    assert row["# budget"] == "2 layers, 40.00 MB peak"
    assert row["# MB up"] == f"{sum(c.bytes_up for c in own) / 1e6:.2f}"
    assert row["# peak"] == f"{max(c.peak_bytes or 0 for c in own) / 1e6:.2f} MB"


def test_totals_hold_the_predicted_operations_of_all_clients(tmp_path: Path) -> None:
    def fixed(record: RoundRecord) -> RoundRecord:
        return replace(record, clients=tuple(replace(c, predicted={"flops": 2e9}) for c in record.clients))

    rows = totals(made(tmp_path / "a", rounds=3, change=fixed))
    assert rows["Compute of all clients, predicted"] == "60.00 GFLOP (20.00 GFLOP per round)"


def test_totals_say_how_many_client_rounds_were_priced(tmp_path: Path) -> None:
    def half(record: RoundRecord) -> RoundRecord:
        odd = (replace(c, predicted={"flops": 2e9} if i < 5 else {}) for i, c in enumerate(record.clients))
        return replace(record, clients=tuple(odd))

    rows = totals(made(tmp_path / "a", rounds=2, change=half))
    assert str(rows["Compute of all clients, predicted"]).endswith("of 10 of 20 client-rounds")


def test_totals_without_prices_or_peaks_show_none(tmp_path: Path) -> None:
    rows = totals(made(tmp_path / "a", rounds=2, priced=False))
    assert rows["Compute of all clients, predicted"] == "– (the run's cost model does not price it)"
    assert rows["Largest peak memory of a client, measured"] == "–"


def test_fairness_is_of_the_last_round(tmp_path: Path) -> None:
    def fixed(record: RoundRecord) -> RoundRecord:
        return replace(record, client_accuracy={"a": 0.1 + record.round / 10, "b": 0.5, "c": 0.9})

    blocks = fairness(made(tmp_path / "a", rounds=2, change=fixed))
    assert isinstance(blocks[0], Text)
    assert "After round 2 the worst of 3 clients has 30.0%, the median 50.0%, the best 90.0%" in blocks[0].text
    assert "worst client, 1 round: 20.0%" in svg_of(blocks)


def test_fairness_shows_on_how_many_rows_it_stands(tmp_path: Path) -> None:
    (table,) = tables(fairness(made(tmp_path / "a", rounds=1)))
    assert table.head[-1] == "# held-out rows"
    assert {row[-1] for row in table.rows} == {"10"}


def test_data_are_shown_as_bars_where_they_are_few_and_as_a_heatmap_where_many(tmp_path: Path) -> None:
    few, many = made(tmp_path / "few"), made(tmp_path / "many", labels=35)
    assert few.data_card is not None
    counts = few.data_card.clients["client-00"].labels
    label = max(counts, key=lambda k: int(counts[k]))
    assert f"client-00, label {label}: {counts[label]}<" in svg_of(data(few.data_card))
    assert "6 others" in svg_of(data(many.data_card))


def test_every_row_of_the_data_is_in_the_table(tmp_path: Path) -> None:
    card = made(tmp_path / "a").data_card
    assert card is not None
    (table,) = tables(data(card))
    for row in table.rows:
        assert sum(int(str(n)) for n in row[3:]) == 60


def test_rows_whose_labels_are_not_known_are_shown_without_labels(tmp_path: Path) -> None:
    card = DataCard(clients={"north": ClientData(9, 1), "south": ClientData(20)}, rows_kept=30)
    blocks = data(card)
    assert not [block for block in blocks if isinstance(block, Pictures)]
    (table,) = tables(blocks)
    assert (table.head, table.rows) == (
        ("client", "# train", "# held out"),
        (("north", "9", "1"), ("south", "20", "0")),
    )


def test_certificates_are_summed_up_by_rule(tmp_path: Path) -> None:
    blocks = certificates(made(tmp_path / "a", rounds=3))
    assert isinstance(blocks[0], Text)
    assert blocks[0].text.startswith("milp chose the masks of 3 rounds, at most 0.2% below the optimum in 3.")
    assert tables(blocks)[0].rows[0] == ("1", "milp", "5", "5.01", "0.2%")


def test_config_comes_with_the_command_that_repeats_the_run(tmp_path: Path) -> None:
    run = made(tmp_path / "my run")
    assert getattr(config(run)[0], "text", "") == (
        "fedstrata run 'my run/config.resolved.yaml' --set 'output=my run-again'"
    )
