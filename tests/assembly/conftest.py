"""Sites with rows of their own, for runs that are put together from what they declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from site_rows import write_home


@pytest.fixture(scope="session")
def sites_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models and the rows of three sites."""
    return write_home(tmp_path_factory.mktemp("sites"))


@pytest.fixture
def home(sites_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the sites, which keeps prepared rows, too."""
    monkeypatch.setenv("FEDSTRATA_CACHE", str(sites_home / "cache"))
    return sites_home
