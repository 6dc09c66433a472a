"""The ServerApp's side of a run, on a grid in memory whose sites are real offices."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.assembly.provenance import resolved
from fedstrata.config.load import load_config
from fedstrata.deploy.flower.app import SETTINGS
from fedstrata.deploy.flower.client import enveloped
from fedstrata.deploy.flower.control_channel import ControlChannel, Result
from fedstrata.deploy.flower.keys import make_site_key, read_public_key
from fedstrata.deploy.flower.server import serve
from fedstrata.deploy.site.config import load_site
from fedstrata.deploy.site.service import Service
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.errors import CheckpointError, ConfigError, TrainingError
from flower_grid import Answer, FakeGrid, FakeNode
from small_runs import digits

NAMES = ("client-00", "client-01", "client-02")


def service(folder: Path, name: str, **more: object) -> Answer:
    """Return what a site answers, with the rows that the run's configuration gives it."""
    file = folder / name / "site.yaml"
    file.parent.mkdir()
    values = {"name": name, "share": {"config": "../run.yaml", "client": name}, **more}
    file.write_text(yaml.safe_dump(values))
    site = Service(load_site(file))

    def answer(envelope: Envelope) -> Envelope:
        return enveloped(site.answer(envelope.said, envelope.blobs))

    return answer


class Town:
    """A server's folder, and the sites around it."""

    def __init__(
        self, folder: Path, *, rounds: int = 2, sites: dict[str, Any] | None = None, **sections: object
    ) -> None:
        self.folder = folder
        (folder / "keys").mkdir()
        values = digits(folder / "out")
        values["train"] = {**values.get("train", {}), "rounds": rounds}
        (folder / "run.yaml").write_text(yaml.safe_dump(values))
        (folder / "run.yaml").write_text(resolved(load_config(folder / "run.yaml", ["engine=local"])))
        said = yaml.safe_load((folder / "run.yaml").read_text())
        said["engine"] = "flower"
        said["flower"] |= {"sites": str(folder / "keys"), "join_timeout": 0.5}
        (folder / "over.yaml").write_text(yaml.safe_dump(said))
        nodes = {}
        for number, name in enumerate(NAMES, start=1):
            public = make_site_key(folder / "keys" / name)
            answer = service(folder, name, **(sites or {}).get(name, {}))
            nodes[number] = FakeNode(read_public_key(public), answer)
        self.grid = FakeGrid(nodes)
        self.channel = ControlChannel(folder / "channel")
        (folder / "channel").mkdir()

    def play(self, **settings: str) -> Result | None:
        """Play a run, and return how the server said that it ended."""
        given = {**SETTINGS, "config": "over.yaml", "channel": str(self.folder / "channel"), **settings}
        serve(self.grid, given, self.folder)
        return self.channel.result()

    @property
    def said(self) -> str:
        return self.channel.heard(0)[0]


def here(folder: Path, *overrides: str) -> dict[str, Any]:
    """Return the last round of the same run in one process."""
    from fedstrata.api import run

    run(folder / "run.yaml", overrides=["engine=local", f"output={folder / 'here'}", *overrides])
    return last(folder / "here")


def last(run: Path) -> dict[str, Any]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    found: dict[str, Any] = [e for e in events if e["event"] == "round"][-1]
    return {key: found[key] for key in ("round", "test", "bytes_up", "bytes_down", "losses")}


def test_a_run_is_played_with_the_sites_that_join_and_its_folder_is_any_runs(tmp_path: Path) -> None:
    town = Town(tmp_path)
    assert town.play() == Result(0, folder=str(tmp_path / "out"), state="finished")
    assert last(tmp_path / "out") == here(tmp_path)
    assert "client-02 joined with" in town.said
    assert "run folder: " in town.said
    status = json.loads((tmp_path / "out" / "status.json").read_text())
    assert set(status["sites"]) == set(NAMES)
    assert status["run"] == town.grid.said()[0]["run"]
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_a_site_that_is_not_there_is_left_out_and_said(tmp_path: Path) -> None:
    town = Town(tmp_path)
    town.grid.nodes[2].online = False
    result = town.play()
    assert result is not None
    assert result.code == 0
    status = json.loads((tmp_path / "out" / "status.json").read_text())
    assert status["sites"]["client-01"]["absent"] == "it is not connected"
    assert set(json.loads((tmp_path / "out" / "sites.json").read_text())) == {"client-00", "client-02"}


def test_too_few_sites_are_a_sentence_and_no_run(tmp_path: Path) -> None:
    town = Town(tmp_path)
    config = yaml.safe_load((tmp_path / "over.yaml").read_text())
    config["flower"]["min_sites"] = 3
    (tmp_path / "over.yaml").write_text(yaml.safe_dump(config))
    town.grid.nodes[1].online = False
    with pytest.raises(TrainingError, match=r"2 of 3 sites joined, flower\.min_sites asks for 3; first, client-00"):
        town.play()
    result = town.channel.result()
    assert result is not None
    assert result.code == TrainingError.exit_code
    assert not (tmp_path / "out").exists()


def test_a_layer_that_a_site_refuses_is_never_asked_of_it(tmp_path: Path) -> None:
    town = Town(tmp_path, sites={"client-01": {"limits": {"refuse": "first:1"}}})
    result = town.play()
    assert result is not None
    assert result.code == 0
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    masks = {name: [e["mask"] for e in events if e["event"] == "client" and e["client"] == name] for name in NAMES}
    refused = 0
    assert all(refused not in mask for mask in masks["client-01"])
    assert all(mask for mask in masks["client-01"])
    assert any(refused in mask for name in NAMES for mask in masks[name])


def test_a_run_goes_on_under_its_name_with_what_sites_declared_when_it_began(tmp_path: Path) -> None:
    town = Town(tmp_path, rounds=3)
    town.channel.ask_to_stop()
    first = town.play()
    assert first is not None
    assert (first.code, first.state) == (130, "interrupted")
    name = json.loads((tmp_path / "out" / "status.json").read_text())["run"]
    (tmp_path / "channel" / "stop").unlink()
    sent = len(town.grid.pushed)
    second = town.play(resume=str(tmp_path / "out"))
    assert second is not None
    assert (second.code, second.state) == (0, "finished")
    assert {said["run"] for said in town.grid.said()[sent:]} == {name}
    assert last(tmp_path / "out") == here(tmp_path)


def test_a_run_whose_folder_is_another_ones_is_not_started(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with pytest.raises(CheckpointError, match="there is no run folder"):
        town.play(resume=str(tmp_path / "nowhere"))
    assert town.grid.pushed == []


def test_a_configuration_that_is_not_there_is_said_with_its_setting(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with pytest.raises(ConfigError, match=r"names .*gone\.yaml, which is not there"):
        town.play(config="gone.yaml")
    result = town.channel.result()
    assert result is not None
    assert result.code == ConfigError.exit_code
    assert "fedstrata: the app's setting" in town.said


def test_own_code_that_fails_is_named_as_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own_parts_of_a_server.py"
    file.write_text("def select(*_):\n    return {}['nothing']\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("fedstrata.deploy.flower.server._play", import_module("own_parts_of_a_server").select)
    channel = ControlChannel(tmp_path / "channel")
    (tmp_path / "channel").mkdir()
    with pytest.raises(KeyError):
        serve(FakeGrid({}), {**SETTINGS, "channel": str(tmp_path / "channel")}, tmp_path)
    why = f"KeyError: 'nothing'; it was raised in your own code: select ({file}:2)"
    assert channel.result() == Result(2, why)
