"""A trial's parts: what sites are told of a run, and what is said of one that failed."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.assembly.loading import load_rows
from fedstrata.config.load import load_config
from fedstrata.deploy.flower import trial_run
from fedstrata.deploy.flower.run_spec import run_spec
from fedstrata.deploy.flower.trial import Trial
from fedstrata.deploy.flower.trial_run import trial_of
from fedstrata.deploy.site.config import load_site
from fedstrata.deploy.site.run_spec import compose, read_run_spec

RUN = """
model: {path: models/vit}
data: {kind: digits, partition: {kind: iid, clients: 2}}
"""


@pytest.mark.parametrize("model", ["models/vit", "./models/vit", "../project/models/vit", "my_model:make"])
def test_a_relative_path_means_the_same_at_a_trial_s_sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """From the folder of the configuration, wherever the command and its sites are."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    (project / "run.yaml").write_text(RUN.replace("models/vit", model))
    monkeypatch.chdir(elsewhere)
    loaded = load_config(Path("../project/run.yaml"))
    told = read_run_spec(run_spec(loaded, [str(digit) for digit in range(10)]))
    composed = []

    @contextmanager
    def started(sites: Mapping[str, Mapping[str, Any]], *, files: Mapping[str, str], tell: object) -> Iterator[Trial]:
        folder = tmp_path / "trial"
        for name, values in sites.items():
            site = folder / "sites" / name / "site.yaml"
            site.parent.mkdir(parents=True)
            site.write_text(yaml.safe_dump({"name": name, **values}))
            (folder / "run.yaml").write_text(files["run.yaml"])
            composed.append(compose(load_site(site), told, next(iter(load_rows(loaded).clients)))[0])
        yield Trial(folder, sites)

    monkeypatch.setattr(trial_run, "trial", started)
    with trial_of(loaded, lambda line: None):
        paths = {own.config.model.path for own in composed}
    if ":" in model:
        assert paths == {model}
        assert {own.base.resolve() for own in composed} == {project}  # where its module is looked for
    else:
        assert {Path(path).is_absolute() for path in paths} == {True}
        assert {Path(path).resolve() for path in paths} == {project / "models" / "vit"}


def test_what_sites_say_of_a_failure_is_said_and_logs_are_kept(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "trial", {"a": {}, "b": {}})
    for name in trial.sites:
        state = trial.site_file(name).parent / "state"
        state.mkdir(parents=True)
        (state / "worker.log").write_text("2026-01-01T00:00:00 INFO worker 1 of site a serves\n")
    with (trial.site_file("b").parent / "state" / "worker.log").open("a") as log:
        log.write("2026-01-01T00:00:01 ERROR no folder models/vit\n2026-01-01T00:00:02 INFO the worker ends: idle\n")
    (trial.folder / "sites" / "b" / "supernode.log").write_text("up")
    with (trial.site_file("a").parent / "state" / "worker.log").open("a") as log:
        log.write(
            "2026-01-01T00:00:01 ERROR the work failed: KeyError: 3; it was raised\n"
            "Traceback (most recent call last):\n  ...\nKeyError: 3\n\n"
        )
        log.write("2026-01-01T00:00:02 INFO the worker ends: idle\n")
    assert trial.complaints() == (
        "a says: the work failed: KeyError: 3; it was raised",
        "b says: no folder models/vit",
    )
    kept = trial.keep_logs()
    names = ["sites-a-state-worker.log", "sites-b-state-worker.log", "sites-b-supernode.log"]
    assert sorted(path.name for path in kept.iterdir()) == names
    assert {stat.S_IMODE(path.stat().st_mode) for path in (kept, *kept.iterdir())} == {0o700, 0o600}
