"""How a run of a sweep stands, by what its folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.assembly.inputs import write_inputs
from fedstrata.runs.folder import RunFolder
from fedstrata.sweeping.changed_inputs import Present
from fedstrata.sweeping.jobs import Job
from fedstrata.sweeping.run_status import Standing, clear, standing
from sweep_files import MADE_OF, loaded


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return loaded(tmp_path).jobs[0]


def begin(job: Job, **changes: Any) -> None:  # noqa: ANN401  YAML values
    """Leave the folder of a run that has begun, with some sections of its configuration changed."""
    (job.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_inputs(RunFolder(job.folder), MADE_OF)
    values = {key: value for key, value in {**job.values, **changes}.items() if value is not None}
    (job.folder / "config.resolved.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def test_a_run_without_folder_is_new(job: Job) -> None:
    assert standing(job, Present()) == (Standing.NEW, "")


def test_a_run_that_was_broken_off_before_its_configuration_was_there_is_new(job: Job) -> None:
    (job.folder / "checkpoints").mkdir(parents=True)
    (job.folder / "env.json").touch()
    (job.folder / ".config.resolved.yaml.tmp").touch()
    assert standing(job, Present())[0] is Standing.NEW


def test_a_run_with_its_configuration_has_begun_and_with_its_model_has_finished(job: Job) -> None:
    begin(job)
    assert standing(job, Present()) == (Standing.BEGUN, "")
    (job.folder / "model").mkdir()
    assert standing(job, Present()) == (Standing.FINISHED, "")


def test_another_configuration_is_told_by_key(job: Job) -> None:
    begin(job, train={**job.values["train"], "rounds": 9, "lr": 0.5}, seed=4)
    how, why = standing(job, Present())
    assert how is Standing.CHANGED
    assert why == f"{job.folder}: train.lr was 0.5, now 0.1, train.rounds was 9, now 2, seed was 4, now 0"


def test_keys_that_change_no_bit_may_differ(job: Job) -> None:
    begin(job, output="elsewhere", name="other", checkpoint={"every": 7}, base=None)
    assert standing(job, Present())[0] is Standing.BEGUN


def test_a_key_that_the_run_s_version_did_not_know_has_its_default(job: Job) -> None:
    begin(job, upload=None, round={"quorum": 1})
    assert standing(job, Present())[0] is Standing.BEGUN


def test_a_configuration_that_cannot_be_read_has_changed(job: Job) -> None:
    begin(job, train={"rounds": "many"})
    how, why = standing(job, Present())
    assert how is Standing.CHANGED
    assert why.startswith(f"{job.folder}: its config.resolved.yaml cannot be used: train.rounds: has to be")


def test_a_folder_of_something_else_is_foreign(job: Job) -> None:
    job.folder.mkdir(parents=True)
    (job.folder / "thesis.tex").touch()
    how, why = standing(job, Present())
    assert how is Standing.FOREIGN
    assert why == f"{job.folder} is not a run folder: it holds thesis.tex; choose another output"


def test_a_run_is_cleared_whole(job: Job) -> None:
    begin(job)
    clear(job)
    assert not job.folder.exists()
    clear(job)
