"""``fedstrata flower new``: an app that Flower takes, and files that need nothing but to be filled in."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from flwr.cli.build import build_fab_from_disk
from flwr.cli.config_utils import load_and_validate

from fedstrata.assembly.run import open_run
from fedstrata.cli.main import app as command_line
from fedstrata.config.load import load_config
from fedstrata.data.kinds import Remote
from fedstrata.deploy.flower import server
from fedstrata.deploy.flower.app import SETTINGS
from fedstrata.deploy.flower.keys import make_site_key
from fedstrata.deploy.flower.new_app import app_name, new_app
from fedstrata.deploy.flower.sites import roster
from fedstrata.deploy.site.config import SiteConfig, load_site
from fedstrata.deploy.site.site_schema import SiteSection
from fedstrata.errors import ConfigError
from small_models import save_bert, save_text

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # Flower's own

Cli = Callable[..., Any]
WRITTEN = [
    "LICENSE",
    "README.md",
    "fedstrata_app/__init__.py",
    "fedstrata_app/client.py",
    "fedstrata_app/server.py",
    "pyproject.toml",
    "run.yaml",
    "site.example.yaml",
]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A new app in a folder whose name has to be quoted."""
    new_app(tmp_path / "two hospitals: a")
    return tmp_path / "two hospitals: a"


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_it_writes_an_app_and_says_what_is_next(cli: Cli, tmp_path: Path) -> None:
    said = cli("flower", "new", "Hospitals")
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        "wrote the app hospitals into Hospitals: fill in run.yaml; README.md has the commands to a first round\n"
    )
    assert files(tmp_path / "Hospitals") == WRITTEN
    assert (tmp_path / "Hospitals" / "sites").is_dir()


def test_flower_takes_it(app: Path) -> None:
    config, warnings = load_and_validate(app / "pyproject.toml")
    assert warnings == []
    assert config["project"]["name"] == "two-hospitals-a"
    assert config["tool"]["flwr"]["app"]["config"] == dict(SETTINGS)
    packed = zipfile.ZipFile(io.BytesIO(build_fab_from_disk(app)))
    assert sorted(packed.namelist()) == sorted([".info/CONTENT", *WRITTEN])
    assert packed.read("run.yaml") == (app / "run.yaml").read_bytes()


def test_keys_of_sites_are_not_part_of_what_flower_hands_out(app: Path) -> None:
    make_site_key(app / "sites" / "hospital-a")
    packed = zipfile.ZipFile(io.BytesIO(build_fab_from_disk(app)))
    assert [name for name in packed.namelist() if "sites/" in name] == []


def test_the_run_passes_the_schema_check_as_it_is(app: Path) -> None:
    loaded = load_config(app / "run.yaml")
    config = loaded.config
    assert (config.engine, config.flower.superlink) == ("flower", "hospitals")
    assert isinstance(loaded.components.data, Remote)
    assert loaded.base == app
    assert (config.probe.piggyback, config.evaluate.every, config.round.quorum, config.flower.min_sites) == (
        True,
        5,
        2,
        2,
    )
    assert config.round.deadline == {"probe": 600.0, "train": 3600.0, "evaluate": 600.0}


def test_filled_in_the_run_opens_wherever_flower_has_unpacked_it(app: Path, tmp_path: Path) -> None:
    save_bert(app / "my-model")
    save_text(app / "test.parquet", 20, text="text", label="label")
    for name in ("hospital-a", "hospital-b"):
        make_site_key(app / "sites" / name)
    text = (app / "run.yaml").read_text(encoding="utf-8").replace("[negative, positive]", "[bad, good]")
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "run.yaml").write_text(text, encoding="utf-8")
    opened = open_run(load_config(tmp_path / "unpacked" / "run.yaml", [f"output={tmp_path / 'out'}"]))
    assert roster(opened.loaded).names == ("hospital-a", "hospital-b")
    assert (len(opened.data.test), opened.data.labels) == (20, ("bad", "good"))


def test_without_keys_the_run_says_whose_is_missing(app: Path) -> None:
    with pytest.raises(ConfigError, match=r"flower.sites: .*sites/hospital-a.pub cannot be read"):
        roster(load_config(app / "run.yaml"))


def test_the_site_s_file_passes_its_check_as_it_is(app: Path) -> None:
    site = load_site(app / "site.example.yaml")
    assert (site.name, site.share, site.model) == ("hospital-a", None, "./my-model")
    assert site.data is not None
    assert (site.data.train, site.limits.min_rows, site.cache_bytes) == ("./rows.parquet", 32, 4_000_000_000)


def test_the_site_s_file_shows_every_key(app: Path) -> None:
    text = (app / "site.example.yaml").read_text(encoding="utf-8")
    given = yaml.safe_load(text)
    assert set(given) | {"share"} == set(SiteSection.model_fields)
    assert set(given["limits"]) == set(SiteSection.model_fields["limits"].default.__class__.model_fields)
    assert set(given["data"]) | {"image"} == {"train", "text", "image", "label"}
    shared = load_site_text(app, text, drop="data")
    assert shared.share is not None
    assert (shared.share.config, shared.share.client) == ("../run.yaml", "client-00")


def load_site_text(folder: Path, text: str, *, drop: str) -> SiteConfig:
    """Return the site of a file in which a section is out-commented and the out-commented one is not."""
    lines, inside = [], False
    for line in text.splitlines():
        inside = line.startswith(f"{drop}:") or (inside and line.startswith("  "))
        if not inside:
            lines.append(re.sub(r"^# (?=share:|  )", "", line))
    (folder / "shared.yaml").write_text("\n".join(lines), encoding="utf-8")
    return load_site(folder / "shared.yaml")


def test_the_page_names_this_version_and_commands_that_exist(app: Path) -> None:
    page = (app / "README.md").read_text(encoding="utf-8")
    assert page.startswith("# two-hospitals-a\n")
    assert f"fedstrata[flower]=={version('fedstrata')}" in page
    group = typer.main.get_group(command_line)
    verbs = {*group.commands} - {"flower"} | {f"flower {v}" for v in group.commands["flower"].commands}  # type: ignore[attr-defined]
    named = re.findall(r"^    fedstrata (flower \w+|\w+)", page, re.MULTILINE)
    assert len(named) == 6
    assert set(named) <= verbs
    assert set(re.findall(r"\$\w*", page)) == {"$PATH", "$HOME"}


def test_lines_fit_a_page(app: Path) -> None:
    texts = [app / name for name in ("run.yaml", "site.example.yaml", "README.md")]
    lines = [line for p in texts for line in p.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if len(line) > 120 and not line.startswith("base:")] == []


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.yaml").write_text("mine")
    said = cli("flower", "new", "mine")
    assert said.err == "fedstrata: mine is not empty; name another folder, or --force to write into it\n"
    assert said.code == 2
    assert files(tmp_path / "mine") == ["run.yaml"]


def test_force_writes_into_it_and_keeps_what_has_another_name(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("run.yaml", "notes.txt"):
        (tmp_path / "mine" / name).write_text("mine")
    assert cli("flower", "new", "mine", "--force").code == 0
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert load_config(tmp_path / "mine" / "run.yaml").config.engine == "flower"


def test_an_empty_folder_will_do(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert cli("flower", "new", "empty").code == 0


def test_a_file_is_no_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = cli("flower", "new", "file", "--force")
    assert (said.code, said.err) == (2, "fedstrata: file is a file; name a folder\n")


def test_a_folder_that_cannot_be_made_is_an_error(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = cli("flower", "new", "file/app")
    assert said.code == 2
    assert said.err == f"fedstrata: {tmp_path / 'file' / 'app'} cannot be written: Not a directory\n"


def test_the_name_may_be_given(cli: Cli, tmp_path: Path) -> None:
    assert cli("flower", "new", "x", "--name", "ward-3").out.startswith("wrote the app ward-3 into x")
    assert load_and_validate(tmp_path / "x" / "pyproject.toml")[0]["project"]["name"] == "ward-3"


def test_a_name_that_flower_does_not_take_is_an_error_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    said = cli("flower", "new", "x", "--name", "Ward 3")
    assert said.code == 2
    assert said.err.startswith("fedstrata: 'Ward 3' is no name of a Flower app; use up to 32 small letters")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("folder", ["...", "2026", "ä", "-", "Größe", "a" * 60, "a" * 31 + "-b", "9" * 40])
def test_every_folder_s_name_makes_one_that_flower_takes(tmp_path: Path, folder: str) -> None:
    new_app(tmp_path / "app", name=app_name(folder))
    assert build_fab_from_disk(tmp_path / "app")


def test_settings_of_the_app_are_those_that_the_server_reads() -> None:
    assert re.findall(r"^    (\w+) +", server.__doc__ or "", re.MULTILINE) == list(SETTINGS)
