"""Predicted and measured: verdicts that are true to the byte, and a sentence where there is nothing to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fedstrata.domain.records import ClientRecord, RoundRecord
from fedstrata.report.blocks import Block, Picture, Pictures, Text
from fedstrata.report.figures.agreement import Pair
from fedstrata.report.sections.predicted import compared, predicted, predicted_in_words
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.synthetic_run import write_run


def each(change: Callable[[ClientRecord], ClientRecord]) -> Callable[[RoundRecord], RoundRecord]:
    return lambda record: replace(record, clients=tuple(change(c) for c in record.clients))


def without(*units: str) -> Callable[[RoundRecord], RoundRecord]:
    def left(values: Mapping[str, float]) -> dict[str, float]:
        return {unit: value for unit, value in values.items() if unit not in units}

    return each(lambda c: replace(c, predicted=left(c.predicted)))


def made(folder: Path, **options: object) -> Run:
    return read_run(write_run(folder, **options))  # type: ignore[arg-type]


def pictures(blocks: tuple[Block, ...]) -> list[Picture]:
    return [picture for block in blocks if isinstance(block, Pictures) for picture in block.items]


def texts(blocks: tuple[Block, ...]) -> list[str]:
    return [block.text for block in blocks if isinstance(block, Text)]


def test_whole_run_has_four_plots_in_two_rows_with_their_verdicts(tmp_path: Path) -> None:
    blocks = predicted([made(tmp_path / "a", rounds=3)])
    assert [len(b.items) for b in blocks if isinstance(b, Pictures)] == [2, 2]
    up, down, peak, seconds = pictures(blocks)
    assert up.lead == "Bytes up: equal to the byte in 30 of 30 client-rounds."
    assert down.lead == "Bytes down: equal to the byte in 30 of 30 client-rounds."
    assert peak.lead.startswith("Peak memory: measured / predicted median 1.0")
    assert seconds.lead.startswith("Seconds: measured / predicted median 1.0")


def test_peak_verdict_has_median_range_and_how_many_are_near(tmp_path: Path) -> None:
    peaks = {"client-00": 90, "client-01": 104, "client-02": 120}

    def fixed(client: ClientRecord) -> ClientRecord:
        return replace(client, predicted={"bytes_peak": 100.0}, peak_bytes=peaks[client.client])

    run = made(tmp_path / "a", rounds=1, names=tuple(peaks), change=each(fixed))
    (picture,) = pictures(predicted([run]))
    assert picture.lead == (
        "Peak memory: measured / predicted median 1.04, from 0.9 to 1.2; 2 of 3 client-rounds are within 15%."
    )


def test_one_byte_too_many_is_not_equal(tmp_path: Path) -> None:
    def odd(client: ClientRecord) -> ClientRecord:
        return replace(client, bytes_up=client.bytes_up + (client.client == "client-03"))

    run = made(tmp_path / "a", rounds=2, change=each(odd))
    assert pictures(predicted([run]))[0].lead.startswith("Bytes up: equal to the byte in 18 of 20 client-rounds; ")


def test_measured_seconds_are_probe_and_training(tmp_path: Path) -> None:
    def fixed(client: ClientRecord) -> ClientRecord:
        return replace(client, predicted={"seconds": 2.0}, seconds_probe=0.5, seconds_train=1.75)

    run = made(tmp_path / "a", rounds=1, names=("solo",), change=each(fixed))
    (picture,) = pictures(predicted([run]))
    assert "solo, round 1: predicted 2 s, measured 2.25 s<" in picture.svg


def test_seconds_whose_sum_is_infinite_are_not_drawn(tmp_path: Path) -> None:
    def spoilt(client: ClientRecord) -> ClientRecord:
        return replace(client, predicted={"seconds": 2.0}, seconds_probe=1e308, seconds_train=1e308)

    run = made(tmp_path / "a", rounds=1, names=("solo",), change=each(spoilt))
    assert not pictures(predicted([run]))


def test_failed_clients_are_left_out_and_counted(tmp_path: Path) -> None:
    blocks = predicted([made(tmp_path / "a", rounds=3, failing="client-04")])
    assert texts(blocks)[0].endswith("3 of 30 client-rounds failed and are left out.")
    assert pictures(blocks)[0].lead == "Bytes up: equal to the byte in 27 of 27 client-rounds."


def test_run_that_prices_layers_alone_says_what_to_do(tmp_path: Path) -> None:
    blocks = predicted([made(tmp_path / "a", priced=False)])
    assert not pictures(blocks)
    assert texts(blocks) == [
        "Bytes up: no prediction in the log; the run's cost model does not price it; set cost: measured.",
        "Bytes down: no prediction in the log; the run's cost model does not price it; set cost: measured.",
        "Peak memory: no prediction in the log; the price needs cost: measured, "
        "and a model whose step can be measured.",
        "Seconds: no prediction in the log; give devices: a profile for each client "
        "(fedstrata bench client writes one).",
    ]


def test_run_without_device_profiles_has_three_plots_in_a_row(tmp_path: Path) -> None:
    blocks = predicted([made(tmp_path / "a", rounds=1, change=without("seconds"))])
    assert [len(b.items) for b in blocks if isinstance(b, Pictures)] == [3]
    assert texts(blocks)[-1].startswith("Seconds: no prediction in the log; give devices:")


def test_peak_that_was_never_measured_is_said(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=1, change=each(lambda c: replace(c, peak_bytes=None)))
    assert texts(predicted([run]))[-1].startswith("Peak memory: predicted but not measured; ")


def test_pairs_that_are_missing_are_counted() -> None:
    said = compared([Pair(10.0, 10.0, "a")], "bytes_up", of=4)
    assert (
        said
        == "Bytes up: equal to the byte in 1 of 1 client-round. In 3 of 4 client-rounds one of the two is not known."
    )


def test_prediction_of_zero_has_no_ratio() -> None:
    assert compared([Pair(0.0, 0.0, "a")], "bytes_down", of=1) == (
        "Bytes down: equal to the byte in 1 of 1 client-round."
    )
    assert compared([Pair(0.0, 5.0, "a")], "bytes_down", of=1) == (
        "Bytes down: equal to the byte in 0 of 1 client-round."
    )
    assert compared([Pair(0.0, 5.0, "a")], "seconds", of=1) == "Seconds: 0 was predicted in 1 of 1 client-round."


def test_zero_predicted_beside_others_is_not_near() -> None:
    said = compared([Pair(0.0, 5.0, "a"), Pair(4.0, 4.0, "b")], "seconds", of=2)
    assert said == "Seconds: measured / predicted median 1, from 1 to 1; 1 of 2 client-rounds are within 15%."


def test_run_without_a_finished_client_has_a_sentence(tmp_path: Path) -> None:
    for name, options in (("none", {"rounds": 0}), ("failed", {"names": ("solo",), "failing": "solo"})):
        run = made(tmp_path / name, **options)
        assert texts(predicted([run])) == ["No client finished a round, so there is nothing to compare."]
        assert predicted_in_words(run) == predicted([run])


def test_several_runs_share_the_plots_and_their_dots_name_the_run(tmp_path: Path) -> None:
    runs = [made(tmp_path / m, method=m, rounds=1, per_client=n) for m, n in (("full", 6), ("top", 1))]
    up = pictures(predicted(runs))[0]
    assert up.lead == "Bytes up: equal to the byte in 20 of 20 client-rounds."
    assert "full, client-00, round 1: " in up.svg
    assert "top, client-00, round 1: " in up.svg


def test_run_among_others_has_its_own_verdicts_in_words(tmp_path: Path) -> None:
    run = made(tmp_path / "a", rounds=2, change=without("seconds"))
    said = texts(predicted_in_words(run))
    assert said[0] == "Bytes up: equal to the byte in 20 of 20 client-rounds."
    assert said[3].startswith("Seconds: no prediction in the log")
    assert not pictures(predicted_in_words(run))
