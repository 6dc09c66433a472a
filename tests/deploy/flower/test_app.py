"""The Flower app of a run: Flower's own tools take it."""

from __future__ import annotations

import io
import runpy
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from flwr.cli.build import build_fab_from_disk
from flwr.cli.config_utils import load_and_validate
from flwr.cli.utils import validate_project_name
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.deploy.flower.app import PACKAGE, SETTINGS, write_app
from fedstrata.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # Flower's own

PACKED = ["LICENSE", f"{PACKAGE}/__init__.py", f"{PACKAGE}/client.py", f"{PACKAGE}/server.py", "pyproject.toml"]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    write_app(tmp_path / "app", SETTINGS)
    return tmp_path / "app"


def packed(app: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(build_fab_from_disk(app)))


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_flower_packs_everything_that_a_run_needs(app: Path) -> None:
    (app / "run.yaml").write_text("seed: 3\n")
    fab = packed(app)
    assert sorted(fab.namelist()) == sorted([".info/CONTENT", *PACKED, "run.yaml"])
    assert fab.read("run.yaml") == b"seed: 3\n"
    for name in ("LICENSE", f"{PACKAGE}/server.py", f"{PACKAGE}/client.py"):
        assert fab.read(name) == (app / name).read_bytes()


def test_an_app_without_a_configuration_is_packed_too(app: Path) -> None:
    assert sorted(packed(app).namelist()) == sorted([".info/CONTENT", *PACKED])


def test_flower_finds_nothing_wrong_with_its_description(app: Path) -> None:
    config, warnings = load_and_validate(app / "pyproject.toml")
    assert warnings == []
    assert config["tool"]["flwr"]["app"]["config"] == dict(SETTINGS)
    assert config["tool"]["flwr"]["app"]["flwr-version-target"] == version("flwr")
    assert f"fedstrata[flower]=={version('fedstrata')}" in config["project"]["dependencies"]


def test_what_flower_unpacks_holds_a_server_and_a_client(app: Path, tmp_path: Path) -> None:
    packed(app).extractall(tmp_path / "installed")
    components = tomllib.loads((tmp_path / "installed" / "pyproject.toml").read_text())["tool"]["flwr"]["app"][
        "components"
    ]
    for name, kind in (("serverapp", ServerApp), ("clientapp", ClientApp)):
        module, attribute = components[name].split(":")
        found = runpy.run_path(str(tmp_path / "installed" / f"{module.replace('.', '/')}.py"))
        assert isinstance(found[attribute], kind)


def test_an_app_is_the_same_whenever_and_wherever_it_is_written(app: Path, tmp_path: Path) -> None:
    write_app(tmp_path / "other" / "place", SETTINGS)
    assert files(app) == files(tmp_path / "other" / "place")
    assert build_fab_from_disk(app) == build_fab_from_disk(tmp_path / "other" / "place")


def test_writing_an_app_again_brings_it_up_to_date_and_keeps_what_is_beside_it(app: Path) -> None:
    (app / "run.yaml").write_text("seed: 3\n")
    write_app(app, {"config": "other.yaml"})
    assert (app / "run.yaml").read_text() == "seed: 3\n"
    assert tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"] == {
        "config": "other.yaml"
    }


ODD = st.sampled_from(['C:\\runs\t"1"', "\x00\x1f\x7f\x85\u2028", "höhe/\N{GRINNING FACE}", "\\u", '"""'])


@given(ODD | st.booleans() | st.text(st.characters(codec="utf-8"), max_size=20))
def test_settings_are_read_as_they_were_given(value: str | bool) -> None:
    with TemporaryDirectory() as folder:
        write_app(Path(folder), {"output": value, "channel": "x"})
        read = tomllib.loads((Path(folder) / "pyproject.toml").read_bytes().decode())
    assert read["tool"]["flwr"]["app"]["config"] == {"output": value, "channel": "x"}


@pytest.mark.parametrize("name", ["a", "fedstrata-run", "x1-2-3", "a" * 32])
def test_names_that_flower_takes_are_names(tmp_path: Path, name: str) -> None:
    validate_project_name(name, "The name")
    write_app(tmp_path, {}, name=name)
    assert build_fab_from_disk(tmp_path)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a--b", "A", "1a", "a_b", "a.b", "a b", "ä", "a\n", "../a", "a" * 33, '"']
)
def test_other_names_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a Flower app; use up to 32 small letters"):
        write_app(tmp_path / "app", {}, name=name)
    assert not (tmp_path / "app").exists()


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file cannot be written: "):
        write_app(tmp_path / "file", {})
