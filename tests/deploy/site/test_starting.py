"""Starting a worker: it works in the site's folder, and paths in its environment mean what they meant to its caller."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fedstrata.deploy.site.runtime_dir import RuntimeDir
from fedstrata.deploy.site.starting import start

WORKER = """
import json, os, sys, tempfile
from fedstrata.deploy.site.runtime_dir import READY
found = {"path": sys.path, "temporary": tempfile.gettempdir(), "folder": os.getcwd()}
found["cache"] = os.environ["FEDSTRATA_CACHE"]
open("found.json", "w").write(json.dumps(found))
os.write(int(sys.argv[2]), READY)
"""


def test_relative_paths_in_the_environment_mean_the_same_to_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, ward = tmp_path / "here", tmp_path / "ward"
    for folder in (here / "lib", here / "tmp", ward, tmp_path / "runtime_dir"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", ":lib")
    monkeypatch.setenv("TMPDIR", "tmp")
    monkeypatch.setenv("FEDSTRATA_CACHE", "cache")
    start(RuntimeDir(tmp_path / "runtime_dir"), ward / "site.yaml", [sys.executable, "-P", "-c", WORKER], within=3600)
    found = json.loads((ward / "found.json").read_text())
    assert found["folder"] == str(ward)
    assert found["path"][:2] == [str(here), str(here / "lib")]
    assert (found["temporary"], found["cache"]) == (str(here / "tmp"), str(here / "cache"))
