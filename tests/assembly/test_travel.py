"""What a configuration names is the same in every process, wherever that works: paths of all kinds, from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.assembly.device_profiles import load_devices
from fedstrata.assembly.loading import model_path
from fedstrata.assembly.provenance import resolved
from fedstrata.assembly.worker import recipe
from fedstrata.config.load import Loaded, check_config, load_config
from fedstrata.data.find_sources import find, from_base
from fedstrata.deploy.flower.host import Place
from fedstrata.deploy.flower.keys import make_site_key
from fedstrata.deploy.flower.sites import roster
from fedstrata.domain.ids import ClientId
from fedstrata.errors import FedstrataError
from fedstrata.sweeping.jobs import load_sweep

RUN = """
model: {{path: {at}model}}
data: {{train: {at}rows/*.csv, test: {at}test.csv, image: image, label: label, image_folder: {at}images, image_size: 2,
  partition: {{kind: iid, clients: 2}}}}
budget: {{kind: per-client, file: {at}budgets.csv}}
devices: {{default: {at}device.yaml}}
engine: flower
flower: {{sites: {sites}}}
"""
PROFILE = "{forward: 1, carry: 1, weight: 1, update: 1}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of everything that a configuration may name; the current folder is another."""
    home = tmp_path / "project"
    for folder in ("rows", "images", "keys", "model", "sub"):
        (home / folder).mkdir(parents=True)
    for name in ("rows/one.csv", "test.csv"):
        (home / name).write_text("image,label\na.png,cat\n")
    (home / "device.yaml").write_text(PROFILE)
    for name in ("client-00", "client-01"):
        make_site_key(home / "keys" / name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "worker").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(home))
    return home


def carried(loaded: Loaded) -> list[str]:
    """Return the texts that processes elsewhere make the run of: of a trial, a worker, a simulation's actor."""
    told = recipe(loaded).arguments["config"]
    return [resolved(loaded), told, Place("", resolved(loaded), (), "").config]


def meant(loaded: Loaded) -> dict[str, object]:
    """Return what a configuration's paths lead to."""
    clients = [ClientId("client-00"), ClientId("client-01")]
    data: Any = loaded.components.data
    budget: Any = loaded.components.budget
    return {
        "model": Path(model_path(loaded)).resolve(),
        "rows": [source.path.resolve() for source in find(data.train, loaded.base)],
        "test": [source.path.resolve() for source in find(data.test, loaded.base)],
        "images": from_base(data.image_folder, loaded.base).resolve(),
        "budgets": budget.file,
        "devices": load_devices(loaded, clients),
        "keys": list(roster(loaded).names),
    }


@pytest.mark.parametrize("sites", ["folder", "files"])
@pytest.mark.parametrize("at", ["", "./", "sub/../", "../project/", "~/", "/"])
def test_every_path_means_the_same_in_every_process(
    project: Path, monkeypatch: pytest.MonkeyPatch, at: str, sites: str
) -> None:
    at = f"{project}/" if at == "/" else at
    keys = {name: f"{at}keys/{name}.pub" for name in ("client-00", "client-01")}
    named = f"{at}keys" if sites == "folder" else yaml.safe_dump(keys, default_flow_style=True).strip()
    (project / "run.yaml").write_text(RUN.format(at=at, sites=named))
    loaded = load_config(Path("../project/run.yaml"))
    here = meant(loaded)
    assert (here["model"], here["budgets"]) == (project / "model", project / "budgets.csv")
    assert (here["rows"], here["test"]) == ([project / "rows" / "one.csv"], [project / "test.csv"])
    assert (here["images"], here["keys"]) == (project / "images", ["client-00", "client-01"])
    texts = carried(loaded)
    monkeypatch.chdir(project.parent / "worker")
    for text in texts:
        assert meant(check_config(yaml.safe_load(text))) == here


def test_runs_of_a_sweep_mean_what_its_file_means(project: Path) -> None:
    (project / "run.yaml").write_text(RUN.format(at="", sites="keys").replace("engine: flower", "engine: local"))
    sweep = {
        "row": "r",
        "size": "s",
        "config": "../run.yaml",
        "seeds": [0],
        "methods": {"top": {"set": {"selector": "top"}}},
    }
    (project / "sub" / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    found = load_sweep(Path("../project/sub/sweep.yaml"), clients=lambda loaded: ())
    (job,) = found.jobs
    assert Path(job.values["base"]) == project


@pytest.mark.parametrize("key", ["base", "budget", "data", "model", "devices"])
def test_a_home_that_does_not_exist_is_said_with_its_place(project: Path, key: str) -> None:
    nobody = "~nobody-of-this-name/x"
    text = RUN.format(at="", sites="keys")
    changed = {
        "base": f"{text}base: {nobody}\n",
        "budget": text.replace("file: budgets.csv", f"file: {nobody}"),
        "data": text.replace("train: rows/*.csv", f"train: {nobody}"),
        "model": text.replace("path: model", f"path: {nobody}"),
        "devices": text.replace("default: device.yaml", f"default: {nobody}"),
    }[key]
    (project / "run.yaml").write_text(changed)
    place = "" if key == "data" else rf"run.yaml:\d+:\d+: {key}.*"  # said by who looks for the file
    with pytest.raises(FedstrataError, match=f"{place}{nobody}.*write the path out"):
        meant(load_config(project / "run.yaml"))
