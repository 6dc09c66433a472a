"""The event log: what is read, what is forgiven after a kill, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path

import pytest

from fedstrata.domain.ids import LayerName
from fedstrata.domain.records import SCHEMA, LayerTheory, Metrics, RoundRecord, TheoryRecord
from fedstrata.errors import CheckpointError
from fedstrata.runs.read_events import read_log
from report.synthetic_run import events_of, write_run


def rewrite(folder: Path, edit: Callable[[list[str]], list[str]]) -> Path:
    path = folder / "events.jsonl"
    path.write_text("\n".join(edit(path.read_text().splitlines())))
    return path


def test_log_gives_back_the_records_that_were_written(tmp_path: Path) -> None:
    written: list[RoundRecord] = []

    def keep(record: RoundRecord) -> RoundRecord:
        written.append(record)
        return record

    folder = write_run(tmp_path / "a", rounds=3, failing="client-01", change=keep)
    log = read_log(folder / "events.jsonl")
    assert list(log.rounds) == written
    assert (log.header.method, log.header.rounds, log.state) == ("consensus", 3, "finished")


def test_log_with_its_last_line_cut_off_is_read_up_to_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=3)
    path = rewrite(folder, lambda lines: [*lines[:-2], lines[-2][:40]])
    log = read_log(path)
    assert [r.round for r in log.rounds] == [1, 2]
    assert log.state == "broken off"
    assert "cut off" in log.notes[0]
    assert "inside round 3" in log.notes[1]


def test_log_cut_inside_a_multibyte_character_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=1, end=None)
    path = folder / "events.jsonl"
    path.write_bytes(path.read_bytes() + '{"event": "client", "client": "é'.encode()[:-1])
    assert len(read_log(path).rounds) == 1


def test_resume_after_a_cut_line_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=3)
    resume = json.dumps({"event": "resume", "schema": SCHEMA, "round": 3})
    starts = [i for i, e in enumerate(events_of(folder)) if e["event"] == "round" and e["round"] == 2]

    def cut(lines: list[str]) -> list[str]:
        at = starts[0] + 1
        return [*lines[:at], lines[at][:30], resume, *lines[at:]]

    log = read_log(rewrite(folder, cut))
    assert [r.round for r in log.rounds] == [1, 2, 3]
    assert len(log.rounds[2].clients) == 10
    assert log.resumed == (3,)


def test_event_glued_to_a_cut_line_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=2)
    end = '{"event": "end", "schema": 6, "state": "finished", "message": null}'
    log = read_log(rewrite(folder, lambda lines: [*lines[:-1], '{"event": "cli' + end, ""]))
    assert log.state == "finished"
    assert "cut off" in log.notes[0]


def test_round_played_again_counts_once_and_the_last_stands(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=2)
    again = replace(read_log(folder / "events.jsonl").rounds[1], bytes_up=99, clients=())
    rounds = [i for i, e in enumerate(events_of(folder)) if e["event"] == "round"]

    def play_again(lines: list[str]) -> list[str]:
        body = {**json.loads(lines[rounds[1]]), "bytes_up": again.bytes_up}
        return [*lines, json.dumps({"event": "resume", "schema": SCHEMA, "round": 2}), json.dumps(body)]

    log = read_log(rewrite(folder, play_again))
    assert [r.round for r in log.rounds] == [1, 2]
    assert log.rounds[1].bytes_up == 99
    assert log.state == "broken off"


def test_unknown_events_are_left_alone(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=1)
    path = rewrite(folder, lambda lines: [*lines, '{"event": "coffee", "schema": 6}'])
    assert len(read_log(path).rounds) == 1


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda lines: [], "is empty"),
        (lambda lines: lines[1:], "first event is 'baseline'"),
        (lambda lines: [lines[0][:20]], "no whole event"),
        (lambda lines: [lines[0], "nonsense", *lines[1:]], "events.jsonl:2: the line is not a JSON object"),
        (lambda lines: [line.replace('"schema": 6', '"schema": 1') for line in lines], "schema 1 is not 6"),
        (lambda lines: ['{"a": 1}', *lines], "has no 'event'"),
        (
            lambda lines: [lines[0].replace('"seed": 7', '"seed": "x"'), *lines[1:]],
            "seed: has to be a whole number",
        ),
        (lambda lines: [*lines[:-1], lines[-1].replace("finished", "gone")], "'gone' is none of"),
        (
            lambda lines: [lines[0], lines[2].replace('"client": ', '"customer": '), *lines[3:]],
            "client: this key is needed",
        ),
        (
            lambda lines: [lines[0], lines[2].replace('"budget": {', '"budget": null, "purse": {'), *lines[3:]],
            "budget: has to be a mapping",
        ),
        (
            lambda lines: [lines[0], re.sub(r'"seconds_probe": [\d.]+', '"seconds_probe": NaN', lines[2]), *lines[3:]],
            "events.jsonl:2: the line is not a JSON object",
        ),
        (
            lambda lines: [lines[0], re.sub(r'"mask": \[\d', '"mask": [-1', lines[2]), *lines[3:]],
            "mask.0: has to be greater than or equal to 0",
        ),
        (
            lambda lines: [lines[0], lines[2].replace('"bytes_peak"', '"bytes_paek"'), *lines[3:]],
            "budget: 'bytes_paek' is no unit of a cost; did you mean 'bytes_peak'",
        ),
    ],
)
def test_log_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, edit: Callable[[list[str]], list[str]], said: str
) -> None:
    path = rewrite(write_run(tmp_path / "a", rounds=1), edit)
    with pytest.raises(CheckpointError, match=said.replace("(", r"\(")):
        read_log(path)


def test_a_budget_without_limit_and_a_bound_that_is_not_known_are_read_back(tmp_path: Path) -> None:
    def unlimited(record: RoundRecord) -> RoundRecord:
        clients = tuple(replace(c, budget={}) for c in record.clients)
        certificate: dict[str, float | str] = {"objective": 1.0, "bound": inf, "gap": inf, "rule": "common-prefix"}
        return replace(record, clients=clients, certificate=certificate)

    log = read_log(write_run(tmp_path / "run", rounds=1, change=unlimited) / "events.jsonl")
    assert log.rounds[0].clients[0].budget == {}
    assert log.rounds[0].certificate is not None
    assert log.rounds[0].certificate["gap"] == inf


def test_numbers_that_were_too_large_for_the_log_are_read_back_as_such(tmp_path: Path) -> None:
    def broken(record: RoundRecord) -> RoundRecord:
        parts = (LayerTheory(LayerName("h.0"), 1.0, inf, inf, inf),)
        return replace(
            record,
            layers=(replace(record.layers[0], update_norm=nan),),
            frozen_norms={LayerName("embeddings"): inf},
            test=Metrics(0.1, nan, 10),
            theory=TheoryRecord(inf, inf, 1.0, parts),
        )

    (found,) = read_log(write_run(tmp_path / "run", rounds=1, change=broken) / "events.jsonl").rounds
    assert found.test is not None
    assert found.theory is not None
    assert isnan(found.test.loss)
    assert isnan(found.layers[0].update_norm)
    assert found.frozen_norms == {"embeddings": inf}
    assert found.theory == TheoryRecord(inf, inf, 1.0, (LayerTheory(LayerName("h.0"), 1.0, inf, inf, inf),))
