"""A run of a sweep whose rows or model have changed is never taken for one of the others, finished or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fedstrata.assembly import inputs
from fedstrata.assembly.loading import load_rows
from fedstrata.config.load import Loaded, check_config
from fedstrata.data.tensors import FederatedData
from fedstrata.errors import ConfigError, DataError
from fedstrata.runs.folder import RunFolder
from fedstrata.sweeping.changed_inputs import Present
from fedstrata.sweeping.jobs import Job, Sweep
from fedstrata.sweeping.run import play_sweep
from fedstrata.sweeping.run_status import Standing, standing
from small_models import save_bert
from small_runs import digits
from sweep_files import loaded, with_toy_workers

ROWS = "".join(f"a good day {i},yes\na bad day {i},no\n" for i in range(4))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model's folder."""
    folder = tmp_path_factory.mktemp("models") / "bert"
    save_bert(folder)
    return folder


@pytest.fixture
def sweep(tmp_path: Path, bert: Path) -> Sweep:
    """Return a sweep of texts whose two runs have finished, by their folders."""
    shutil.copytree(bert, tmp_path / "bert")
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text(f"note,outcome\n{ROWS}")
    rows = {"train": "train.csv", "test": "test.csv", "text": "note", "label": "outcome"}
    values = digits(Path("unused"), model={"path": "bert"}, data={**rows, "partition": {"kind": "iid", "clients": 2}})
    del values["output"], values["selector"]
    sweep = loaded(tmp_path, config=values, seeds=[0])
    for job in sweep.jobs:
        finish(job)
    return sweep


def finish(job: Job) -> None:
    """Leave the folder of a run that has finished."""
    configuration = check_config(job.values)
    train, test = inputs.rows_of(load_rows(configuration))
    made = inputs.Inputs(inputs.data_files(configuration), inputs.model_files(configuration), train, test, {})
    job.folder.mkdir(parents=True)
    (job.folder / "model").mkdir()
    (job.folder / "config.resolved.yaml").write_text(json.dumps(job.values))
    inputs.write_inputs(RunFolder(job.folder), made)


@pytest.fixture
def jobs(sweep: Sweep) -> tuple[Job, ...]:
    """Return its runs."""
    return sweep.jobs


@pytest.fixture
def rows() -> tuple[list[Loaded], Present]:
    """Return what was loaded, and the present that loads it."""
    seen: list[Loaded] = []

    def load(configuration: Loaded) -> FederatedData:
        seen.append(configuration)
        return load_rows(configuration)

    return seen, Present(load)


def test_files_are_hashed_once_for_all_runs_and_rows_not_loaded(
    jobs: tuple[Job, ...], rows: tuple[list[Loaded], Present], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Loaded] = []

    def spied(configuration: Loaded) -> dict[str, str]:
        hashed.append(configuration)
        return inputs.data_files(configuration)

    monkeypatch.setattr("fedstrata.sweeping.changed_inputs.data_files", spied)
    assert [standing(job, rows[1]) for job in jobs] == [(Standing.FINISHED, "")] * 2
    assert (len(hashed), rows[0]) == (1, [])


def test_rows_decide_and_not_how_their_file_is_written(
    jobs: tuple[Job, ...], rows: tuple[list[Loaded], Present], tmp_path: Path
) -> None:
    (tmp_path / "train.csv").write_text(f"note,outcome\n{ROWS}".replace("\n", "\r\n"), newline="")
    assert standing(jobs[0], rows[1])[0] is Standing.FINISHED
    assert len(rows[0]) == 1


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_of_other_rows_has_changed(jobs: tuple[Job, ...], tmp_path: Path, *, finished: bool) -> None:
    if not finished:
        (jobs[0].folder / "model").rmdir()
    (tmp_path / "train.csv").write_text(f"note,outcome\n{ROWS}".replace("good", "fine"))
    how, why = standing(jobs[0], Present())
    assert how is Standing.CHANGED
    assert why == (
        f"{jobs[0].folder}: the rows of client-00, client-01 are not those that the run began with (changed: train.csv)"
    )


def test_a_run_of_another_model_has_changed(jobs: tuple[Job, ...], tmp_path: Path) -> None:
    path = tmp_path / "bert" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 5}))
    how, why = standing(jobs[0], Present())
    assert how is Standing.CHANGED
    assert why.endswith("the model's folder has changed since the run began: tokenizer_config.json")


def test_rows_that_are_gone_are_missing_as_for_a_new_run(jobs: tuple[Job, ...], tmp_path: Path) -> None:
    (tmp_path / "train.csv").unlink()
    with pytest.raises(DataError, match=r"'train\.csv' does not exist"):
        standing(jobs[0], Present())


def test_a_sweep_refuses_what_changed(sweep: Sweep) -> None:
    (sweep.jobs[1].folder / inputs.INPUTS).unlink()
    with pytest.raises(ConfigError, match=r"inputs\.json is missing, so nobody can tell(.|\n)*--redo"):
        play_sweep(sweep)


def test_a_file_that_changes_while_a_sweep_is_played_fails_the_runs_after_it(sweep: Sweep, tmp_path: Path) -> None:
    present = Present()
    present.look(sweep.jobs)
    assert [present.moved(job) for job in sweep.jobs] == [None, None]
    (tmp_path / "train.csv").write_text(f"note,outcome\n{ROWS}".replace("good", "fine"))
    shutil.rmtree(sweep.jobs[1].folder)
    finish(sweep.jobs[1])
    why = "files changed while the sweep was played, so its runs may differ in them: train.csv"
    assert [present.moved(job) for job in sweep.jobs] == [None, why]


def test_a_run_that_stands_on_other_files_than_the_sweep_s_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_toy_workers(monkeypatch, tmp_path)
    made = json.loads((tmp_path / "toy" / inputs.INPUTS).read_text())
    (tmp_path / "toy" / inputs.INPUTS).write_text(json.dumps({**made, "model": {}}))
    result = play_sweep(loaded(tmp_path, seeds=[0]))
    assert result.outcomes == ()
    [why, _] = result.failures.values()
    assert why.startswith("files changed while the sweep was played")
