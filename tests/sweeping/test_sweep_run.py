"""A sweep as a whole, with workers that only pretend to play: who plays what, what fails, what is played again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import fedstrata
from fedstrata.comparison.results import Outcome, read_outcomes
from fedstrata.errors import CheckpointError, ConfigError, TrainingError
from fedstrata.locks import Lock
from fedstrata.sweeping import pool as pool
from fedstrata.sweeping.jobs import Job
from fedstrata.sweeping.run import play_sweep
from sweep_files import loaded, sweep_file, with_toy_workers

TOP: dict[str, Any] = {"set": {"selector": "top"}}


@dataclass(slots=True)
class Heard:
    """Remembers what it was told."""

    events: list[tuple[str, str]] = field(default_factory=list)
    workers: set[int] = field(default_factory=set)
    done: int = -1

    def sweep_started(self, *, todo: Sequence[Job], done: int, workers: int) -> None:
        self.done = done
        self.events.append(("started", str(len(todo))))

    def run_given(self, worker: int, job: Job) -> None:
        self.workers.add(worker)

    def rounds_done(self, worker: int, job: Job, rounds: int) -> None:
        self.events.append(("rounds", f"{job.cell.method} {rounds}"))

    def run_finished(self, worker: int, job: Job, outcome: Outcome | None) -> None:
        self.events.append(("finished", f"{job.cell.method} {job.seed}"))

    def run_failed(self, worker: int, job: Job, reason: str) -> None:
        self.events.append(("failed", reason))

    def run_left(self, worker: int, job: Job, why: str) -> None:
        self.events.append(("left", why))

    def sweep_done(self) -> None:
        self.events.append(("done", ""))

    def of(self, kind: str) -> list[str]:
        return [said for what, said in self.events if what == kind]


@pytest.fixture(autouse=True)
def _pretending(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_toy_workers(monkeypatch, tmp_path)


def methods_of(folder: Path) -> list[tuple[str, int]]:
    return [(o.method, o.seed) for o in read_outcomes(folder / "out" / "results.csv")]


def test_every_run_is_played_once_by_two_workers_and_told(tmp_path: Path) -> None:
    heard = Heard()
    result = play_sweep(loaded(tmp_path), workers=2, observer=heard)
    assert [(o.method, o.seed) for o in result.outcomes] == [("top", 0), ("top", 1), ("bottom", 0), ("bottom", 1)]
    assert methods_of(tmp_path) == [("top", 0), ("top", 1), ("bottom", 0), ("bottom", 1)]
    assert sorted(heard.of("finished")) == ["bottom 0", "bottom 1", "top 0", "top 1"]
    assert heard.workers <= {0, 1}  # the first may be done with all before the second has started
    assert (result.failures, result.left, heard.done) == ({}, 0, 0)
    assert heard.events[0] == ("started", "4")
    assert heard.events[-1] == ("done", "")


def test_what_has_finished_is_not_played_again(tmp_path: Path) -> None:
    play_sweep(loaded(tmp_path))
    before = (tmp_path / "out" / "results.csv").read_bytes()
    (tmp_path / "out" / "results.csv").unlink()
    heard = Heard()
    play_sweep(loaded(tmp_path), observer=heard)
    assert (heard.of("finished"), heard.done) == ([], 4)
    assert (tmp_path / "out" / "results.csv").read_bytes() == before


def test_a_failed_run_does_not_end_the_sweep(tmp_path: Path) -> None:
    result = play_sweep(loaded(tmp_path, seeds=[0], methods={"fails": TOP, "top": TOP}), workers=1)
    assert methods_of(tmp_path) == [("top", 0)]
    assert result.failures == {tmp_path / "out/fails/default/s0": "no more rows"}


def test_what_is_a_bug_has_its_traceback_in_the_worker_s_log(tmp_path: Path) -> None:
    result = play_sweep(loaded(tmp_path, seeds=[0], methods={"has a bug": TOP}), workers=1)
    assert list(result.failures.values()) == [f"ValueError: 3; the traceback is in {tmp_path}/out/.sweep/worker-1.log"]


def test_a_run_whose_worker_is_killed_goes_on_with_another(tmp_path: Path) -> None:
    heard = Heard()
    sweep = loaded(tmp_path, seeds=[0], methods={"dies once": TOP, "top": TOP})
    result = play_sweep(sweep, workers=1, observer=heard)
    assert heard.of("left") == ["its worker was killed (SIGKILL), perhaps out of memory; another goes on with it"]
    assert (methods_of(tmp_path), result.failures) == ([("dies once", 0), ("top", 0)], {})


def test_a_run_that_kills_two_workers_has_failed(tmp_path: Path) -> None:
    result = play_sweep(loaded(tmp_path, seeds=[0], methods={"dies": TOP, "top": TOP}), workers=1)
    reason = "its worker was killed (SIGKILL), perhaps out of memory, 2 times"
    assert list(result.failures.values()) == [reason]
    assert methods_of(tmp_path) == [("top", 0)]


def test_a_wish_to_stop_reaches_workers_and_no_more_runs_begin(tmp_path: Path) -> None:
    heard = Heard()
    sweep = loaded(tmp_path, seeds=[0], methods={"waits": TOP, "top": TOP, "bottom": TOP})
    result = play_sweep(sweep, workers=1, observer=heard, stop=lambda: bool(heard.of("rounds")))
    assert heard.of("left") == ["interrupted and saved"]
    assert (heard.of("finished"), result.left, result.failures) == ([], 3, {})


def test_only_some_methods_are_played_and_the_table_keeps_the_others(tmp_path: Path) -> None:
    play_sweep(loaded(tmp_path, seeds=[0]), only=["top"])
    play_sweep(loaded(tmp_path, seeds=[0]), only=["bot*"])
    assert methods_of(tmp_path) == [("top", 0), ("bottom", 0)]


def test_only_some_seeds_are_played_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    play_sweep(loaded(tmp_path, seeds=[0, 4]), seeds=[4], only=["top"])
    assert methods_of(tmp_path) == [("top", 4)]
    with pytest.raises(ConfigError, match="--seed 1: the sweep has 0, 4"):
        play_sweep(loaded(tmp_path, seeds=[0, 4]), seeds=[1])


def test_runs_of_another_configuration_are_refused_and_redo_plays_them_anew(tmp_path: Path) -> None:
    play_sweep(loaded(tmp_path, seeds=[0]))
    changed = loaded(tmp_path, seeds=[0], set={"train.rounds": 3})
    with pytest.raises(ConfigError) as caught:
        play_sweep(changed)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/out/top/default/s0: train.rounds was 2, now 3",
        f"{tmp_path}/out/bottom/default/s0: train.rounds was 2, now 3",
        "these runs were made with another configuration, other rows or another model; put back what has changed, "
        "play them anew with --redo, or name another output",
    ]
    heard = Heard()
    play_sweep(changed, redo=True, observer=heard)
    assert sorted(heard.of("finished")) == ["bottom 0", "top 0"]


def test_runs_of_another_configuration_that_are_not_chosen_leave_the_table(tmp_path: Path) -> None:
    play_sweep(loaded(tmp_path, seeds=[0]))
    changed = {"top": TOP, "bottom": {"set": {"selector": "bottom", "train.rounds": 3}}}
    play_sweep(loaded(tmp_path, seeds=[0], methods=changed), only=["top"])
    assert methods_of(tmp_path) == [("top", 0)]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    strange = tmp_path / "out/top/default/s0"
    strange.mkdir(parents=True)
    (strange / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"s0 is not a run folder: it holds thesis\.tex; choose another output$"):
        play_sweep(loaded(tmp_path), redo=True)


def test_one_sweep_at_a_time_plays_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with Lock(tmp_path / "out"), pytest.raises(CheckpointError, match=r"out is being played by another sweep; wait"):
        play_sweep(loaded(tmp_path))


def test_a_run_that_finished_and_cannot_be_read_is_told_as_failed(tmp_path: Path) -> None:
    play_sweep(loaded(tmp_path, seeds=[0]))
    (tmp_path / "out/top/default/s0/events.jsonl").write_text("nonsense\nmore\n")
    result = play_sweep(loaded(tmp_path, seeds=[0]))
    [reason] = result.failures.values()
    assert reason.endswith(f"; remove {tmp_path}/out/top/default/s0 to play it anew")
    assert methods_of(tmp_path) == [("bottom", 0)]


def test_workers_that_do_not_start_end_the_sweep_with_their_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without_torch.py").write_text("raise SystemExit('no torch here')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pool, "WORKER", "without_torch")
    with pytest.raises(TrainingError, match=r"^a worker of the sweep does not start: no torch here$"):
        play_sweep(loaded(tmp_path))


def test_the_python_door_does_what_the_verb_does(tmp_path: Path) -> None:
    result = fedstrata.sweep(sweep_file(tmp_path, seeds=[0]), only=["top"], output=tmp_path / "there")
    assert [(o.method, o.seed) for o in result.outcomes] == [("top", 0)]
    assert result.tables == (tmp_path / "there" / "results.csv",)
