"""The example of two hospitals: its files are sound and fit each other. What it does is what ``flower up`` does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import typer.main

from fedstrata.assembly.loading import load_rows
from fedstrata.cli.main import app
from fedstrata.config.load import load_config
from fedstrata.deploy.flower.keys import make_site_key
from fedstrata.deploy.flower.sites import roster
from fedstrata.deploy.site.config import load_site
from fedstrata.domain.ids import ClientId

EXAMPLE = Path(__file__).parents[3] / "examples" / "flower"
SITES = {"hospital-a": "client-00", "hospital-b": "client-01"}


@pytest.fixture
def hospitals(tmp_path: Path) -> Path:
    """A copy, with a key for each site."""
    shutil.copytree(EXAMPLE, tmp_path / "hospitals")
    for name in SITES:
        make_site_key(tmp_path / "hospitals" / name / "key")
    return tmp_path / "hospitals"


def test_the_run_knows_both_sites_by_their_keys(hospitals: Path) -> None:
    loaded = load_config(hospitals / "run.yaml")
    assert loaded.config.engine == "flower"
    assert roster(loaded).names == tuple(SITES.values())


@pytest.mark.parametrize(("name", "client"), SITES.items())
def test_each_site_has_the_rows_of_a_client_of_the_run(hospitals: Path, name: str, client: str) -> None:
    site = load_site(hospitals / name / "site.yaml")
    assert site.name == name
    assert site.share is not None
    assert (site.base / site.share.config).resolve() == hospitals / "run.yaml"
    assert site.share.client == client
    rows = load_rows(load_config(hospitals / "run.yaml")).clients[ClientId(client)]
    assert len(rows.train) >= site.limits.min_rows


def test_the_page_s_commands_exist_and_its_files_are_there() -> None:
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    group = typer.main.get_group(app)
    verbs = {*group.commands} - {"flower"} | {f"flower {v}" for v in group.commands["flower"].commands}  # type: ignore[attr-defined]
    named = set(re.findall(r"^    fedstrata (flower \w+|\w+)", page, re.MULTILINE))
    assert {"flower key", "flower certificates", "flower private", "run", "sites"} == named
    assert named <= verbs
    assert [f for f in ("run.yaml", *(f"{name}/site.yaml" for name in SITES)) if f"`{f}`" not in page] == []
    assert {p.name for p in EXAMPLE.iterdir()} == {"README.md", "run.yaml", *SITES}
