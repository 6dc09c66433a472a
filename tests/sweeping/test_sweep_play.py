"""One run of a sweep has the bits of ``fedstrata run``, whatever was played before it in the same process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.assembly.provenance import resolved
from fedstrata.assembly.shared import ALONE, Shared
from fedstrata.config.load import check_config
from fedstrata.sweeping.play import play
from fedstrata.sweeping.rows import LatestRows
from fedstrata.sweeping.step_cost_cache import KnownSteps
from small_runs import after, digits, essence, never, start

METHODS: dict[str, Any] = {"consensus": {"kind": "consensus", "rho": 0.5}, "top": {"kind": "top"}}


def played(
    folder: Path,
    method: str,
    *,
    shared: Shared = ALONE,
    stop: Callable[[], bool] = never,
    keep_model: bool = True,
    told: list[int] | None = None,
) -> str:
    values = digits(folder, selector=METHODS[method], score="relative-gradient-norm")
    config = resolved(check_config(values))
    told = [] if told is None else told
    return play(folder, config=config, marks={}, keep_model=keep_model, shared=shared, stop=stop, tell=told.append)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of ``fedstrata run`` in a process of which nothing is shared."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    start(digits(folder, selector=METHODS["consensus"], score="relative-gradient-norm"))
    return folder


def test_the_bits_are_those_of_a_plain_run_whatever_came_before(tmp_path: Path, plain: Path) -> None:
    shared = Shared(LatestRows(), KnownSteps())
    for name, method in (("a", "top"), ("b", "consensus"), ("c", "consensus")):
        assert played(tmp_path / name, method, shared=shared) == "finished"
    assert essence(tmp_path / "b") == essence(plain) == essence(tmp_path / "c")
    assert essence(tmp_path / "a") != essence(plain)
    assert yaml.safe_load((tmp_path / "b" / "config.resolved.yaml").read_text()) == {
        **yaml.safe_load((plain / "config.resolved.yaml").read_text()),
        "output": str(tmp_path / "b"),
    }


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path, plain: Path) -> None:
    told: list[int] = []
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)  # as if it had been killed as it began
    (tmp_path / "run" / "env.json").write_text("{")
    assert played(tmp_path / "run", "consensus", stop=after(1), told=told) == "interrupted"
    assert told == [0, 1]
    assert played(tmp_path / "run", "consensus", told=told) == "finished"
    assert told == [0, 1, 1, 2]
    assert essence(tmp_path / "run") == essence(plain)


def test_without_keep_model_only_its_card_stays_and_no_checkpoint(tmp_path: Path, plain: Path) -> None:
    run = tmp_path / "run"
    assert played(run, "consensus", keep_model=False) == "finished"
    assert [p.name for p in (run / "model").iterdir()] == ["README.md"]
    assert "kept no weights" in (run / "model" / "README.md").read_text()
    assert list((run / "checkpoints").iterdir()) == []
    copy = tmp_path / "plain"
    shutil.copytree(plain, copy)
    shutil.rmtree(copy / "model")
    assert essence(run) == essence(copy)
