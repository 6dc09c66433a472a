"""Sums and choices over a whole run."""

from __future__ import annotations

from pathlib import Path

from fedstrata.runs.reading import read_run
from fedstrata.runs.statistics import layers_chosen
from report.synthetic_run import write_run


def test_layers_chosen_names_the_two_most_chosen(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a"))
    masks = [c.mask for r in run.log.rounds for c in r.clients]
    shares = sorted(((sum(i in m for m in masks), -i) for i in range(6)), reverse=True)[:2]
    assert layers_chosen([run]) == "1 of 6: " + ", ".join(f"layer.{-i} {n}%" for n, i in shares)


def test_layers_chosen_by_all_or_nobody_is_said_shortly(tmp_path: Path) -> None:
    assert layers_chosen([read_run(write_run(tmp_path / "a", per_client=6))]) == "all 6"
    assert layers_chosen([read_run(write_run(tmp_path / "b", per_client=0))]) == "0 of 6"
    assert layers_chosen([read_run(write_run(tmp_path / "c", rounds=0))]) == "nothing ran"
