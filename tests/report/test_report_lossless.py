"""A log in which the sum of losses was no number is read, and reported."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path

import pytest

from fedstrata.report import write_report
from fedstrata.report.events import read_log
from report.synthetic_run import events_of, write_run


@pytest.mark.parametrize("where", ["test", "validation"])
def test_a_loss_that_is_null_is_read_as_no_number_and_reported(tmp_path: Path, where: str) -> None:
    run = write_run(tmp_path / "run", rounds=2)
    events = events_of(run)
    for event in events:
        measured = event.get(where)
        if isinstance(measured, dict):
            measured["loss"] = None
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    found = read_log(run / "events.jsonl")
    losses = [m.loss for record in found.rounds if (m := getattr(record, where)) is not None]
    assert losses
    assert all(map(isnan, losses))
    assert write_report([run], tmp_path / "report.html").stat().st_size > 1000
