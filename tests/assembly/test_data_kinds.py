"""Kinds of data where they do not belong: rows at the sites on this machine, and one site's own as a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedstrata.assembly.run import open_run, prepare_run, reopen_run
from fedstrata.config.load import check_config
from fedstrata.errors import ConfigError
from fedstrata.planning.plan import make_plan
from fedstrata.planning.subject import Assumed
from site_rows import of_remote, of_site, remote, words


def test_rows_at_the_sites_need_an_engine_that_goes_there(home: Path, tmp_path: Path) -> None:
    for engine in ("local", "processes"):
        loaded = of_remote(home, "image", output=str(tmp_path / "run"), engine=engine)
        with pytest.raises(
            ConfigError, match=r"^data: the rows lie at the sites; use engine: flower, or data kind files"
        ):
            prepare_run(loaded)
    remote(home, tmp_path / "run").prepare(words(home, "image"))
    with pytest.raises(ConfigError, match="data: the rows lie at the sites; use engine: flower"):
        reopen_run(tmp_path / "run", ["engine=local"])


def test_a_sites_own_rows_are_no_run(home: Path, tmp_path: Path) -> None:
    loaded = of_site(home, "image", "north", ("dark", "light"), output=str(tmp_path / "run"))
    for work in (prepare_run, open_run, make_plan):
        with pytest.raises(ConfigError, match=r"^data: kind 'own' is what a site makes of its own rows, and no run"):
            work(loaded)


def test_own_is_not_among_the_kinds_that_an_error_offers() -> None:
    for data in ({"kind": "onw"}, {"kind": 3}):
        with pytest.raises(ConfigError) as caught:
            check_config({"model": {"path": "m"}, "data": data})
        assert "files" in str(caught.value)
        assert "'own'" not in str(caught.value)
        assert " own" not in str(caught.value)


def test_a_plan_of_remote_sites_is_made_of_assumptions(home: Path) -> None:
    loaded = of_remote(home, "text")
    with pytest.raises(
        ConfigError, match=r"^data: the rows lie at the sites; plan with --clients and --rows, and --len"
    ):
        make_plan(loaded)
    plan = make_plan(loaded, assumed=Assumed(3, 20, 10))
    assert [means.examples for means in plan.clients] == [20, 20, 20]
