"""The sections ``round`` and ``upload``: what they say is what a run does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedstrata.config.load import check_config
from fedstrata.config.schema import RoundSection
from fedstrata.errors import ConfigError
from fedstrata.server.rules import Rules
from fedstrata.wire.messages import PhaseName
from small_runs import digits, events, start

PHASES: tuple[PhaseName, ...] = ("probe", "train", "evaluate")


@pytest.mark.parametrize("encoding", ["float32", "bf16", "fp16", "int8"])
def test_bytes_up_are_those_of_the_encoding_and_were_predicted(tmp_path: Path, encoding: str) -> None:
    start(digits(tmp_path / "run", upload={"encoding": encoding}, cost="measured"))
    records = events(tmp_path / "run", "client")
    assert all(e["bytes_up"] == e["predicted"]["bytes_up"] > 0 for e in records)


def test_int8_sends_about_a_quarter_and_learns_about_as_much(tmp_path: Path) -> None:
    train = {"rounds": 3, "steps": 4, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
    plain = start(digits(tmp_path / "plain", train=train)).summary
    small = start(digits(tmp_path / "small", train=train, upload={"encoding": "int8"})).summary
    assert 0.25 < small["bytes_up"] / plain["bytes_up"] < 0.28
    assert small["final"]["loss"] == pytest.approx(plain["final"]["loss"], rel=0.01)


def rules_of(values: dict[str, Any]) -> RoundSection:
    return check_config(values).config.round


def test_what_is_not_said_is_the_default(tmp_path: Path) -> None:
    assert Rules(**rules_of(digits(tmp_path)).model_dump()) == Rules()


def test_a_deadline_is_for_every_phase_or_for_those_that_are_named(tmp_path: Path) -> None:
    every = rules_of(digits(tmp_path, round={"deadline": 5}))
    assert [every.seconds(phase) for phase in PHASES] == [5.0, 5.0, 5.0]
    some = rules_of(digits(tmp_path, round={"deadline": {"train": 7.5}}))
    assert [some.seconds(phase) for phase in PHASES] == [None, 7.5, None]


@pytest.mark.parametrize(("given", "needed"), [(2, 2), (0.5, 2), (1.0, 3), (0.34, 2)])
def test_a_quorum_is_a_number_or_a_share(tmp_path: Path, given: float, needed: int) -> None:
    assert rules_of(digits(tmp_path, round={"quorum": given})).needed(3) == needed


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            {"quorum": 0},
            "round.quorum: a quorum is a whole number of clients from 1, or a share above 0 up to 1.0; got 0",
        ),
        ({"quorum": 1.5}, "round.quorum: a quorum is a whole number"),
        ({"layer_quorum": 0}, "round.layer_quorum: has to be greater than or equal to 1"),
        ({"deadline": 0}, "round.deadline"),
        ({"deadline": {"upload": 3}}, "round.deadline"),
        ({"retries": -1}, "round.retries"),
        ({"on_abandon": "ignore"}, "round.on_abandon: has to be 'stop' or 'skip'"),
        ({"keep_updates": "often"}, "round.keep_updates"),
        ({"quorums": 2}, "round.quorums: no such key; did you mean 'quorum'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tmp_path: Path, section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(digits(tmp_path, round=section))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("section", [{"quorum": 4}, {"layer_quorum": 4}])
def test_a_quorum_that_no_cohort_reaches_is_refused_before_the_run(tmp_path: Path, section: dict[str, Any]) -> None:
    (name,) = section
    with pytest.raises(ConfigError, match=rf"round\.{name}: 4 clients are needed, but 3 clients take part"):
        start(digits(tmp_path / "run", round=section))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("section", [{"encoding": "int4"}, {"max_norm": 0}, {"max_norm": float("inf")}])
def test_an_upload_that_cannot_be_is_refused(tmp_path: Path, section: dict[str, Any]) -> None:
    (name,) = section
    with pytest.raises(ConfigError, match=rf"upload\.{name}"):
        check_config(digits(tmp_path, upload=section))
