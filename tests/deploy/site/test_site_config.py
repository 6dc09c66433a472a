"""A site's own file: every problem at once, where it stands, with the nearest key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedstrata.deploy.site.config import SiteConfig, fingerprint, load_site
from fedstrata.errors import ConfigError
from site_world import write_site

DATA = {"train": "rows.csv", "text": "note"}


def loaded(folder: Path, **keys: object) -> SiteConfig:
    return load_site(write_site(folder, **{"data": DATA, **keys}))


def problems(folder: Path, text: str) -> list[str]:
    """Return the problems of a file, without its folder."""
    path = folder / "site.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    site = loaded(tmp_path / "ward")
    assert (site.name, site.state, site.base) == ("ward", tmp_path / "ward" / "state", tmp_path / "ward")
    assert (site.model, site.device, site.budget, site.share) == (None, "auto", {}, None)
    assert (site.cache_bytes, site.idle) == (4_000_000_000, 900.0)
    limits = site.limits
    assert (limits.refuse, limits.scores, limits.evaluate, limits.min_rows, limits.rounds) == ((), True, True, 1, None)


def test_amounts_are_read_as_in_budgets(tmp_path: Path) -> None:
    budget = {"layers": 2, "bytes_up": "30MB", "flops": "3 TFLOP", "bytes_peak": "8 GiB", "seconds": "2 min"}
    site = loaded(tmp_path, budget=budget, cache_bytes="1.5 GB", state="/var/x", idle=3)
    assert dict(site.budget) == {
        "layers": 2.0,
        "bytes_up": 30e6,
        "flops": 3e12,
        "bytes_peak": 8 * 2.0**30,
        "seconds": 120.0,
    }
    assert (site.cache_bytes, site.state, site.idle) == (1_500_000_000, Path("/var/x"), 3.0)
    assert loaded(tmp_path, cache_bytes=0).cache_bytes == 0


def test_every_problem_of_the_schema_is_said_with_its_line(tmp_path: Path) -> None:
    text = "nmae: x\ndata: {train: a.csv, txet: note, image: i}\n"
    text += "limits:\n  min_rows: 0\n  score: no\ndevice: gpu\nidle: 0\n"
    assert problems(tmp_path, text) == [
        "site.yaml:1:1: nmae: no such key; did you mean 'name'?",
        "site.yaml:2:22: data.txet: no such key; did you mean 'text'?",
        "site.yaml:4:3: limits.min_rows: has to be greater than or equal to 1, got 0",
        "site.yaml:5:3: limits.score: no such key; did you mean 'scores'?",
        "site.yaml:6:1: device: has to be 'auto', 'cpu', 'cuda' or 'mps' (did you mean 'cpu'?), got 'gpu'",
        "site.yaml:7:1: idle: has to be greater than 0, got 0",
    ]


def test_every_problem_beyond_the_schema_is_said_with_its_line(tmp_path: Path) -> None:
    text = "share: {config: run.yaml, client: a}\nbudget: {layer: 2, bytes_up: 30XB, flops: 25%}\n"
    text += "limits: {refuse: '0,,1'}\ncache_bytes: 5%\n"
    assert problems(tmp_path, text) == [
        "site.yaml:2:10: budget.layer: budget limits 'layer', which is no unit of a budget; did you mean 'layers'?",
        "site.yaml:2:20: budget.bytes_up: budget has bytes_up: '30XB', and 'XB' is no unit of it; "
        "write a number such as 1.5 GB, or a share of full fine-tuning such as 25%",
        "site.yaml:2:36: budget.flops: 25% is a share, and a site's budget is an amount: "
        "what full fine-tuning costs is known to the server alone",
        "site.yaml:3:10: limits.refuse: empty term in layers '0,,1'; write 'none' for no layer",
        "site.yaml:4:1: cache_bytes: has to be an amount of bytes such as 4 GB, got '5%'",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n", "site.yaml:1:1: configuration: give the site's rows: either 'data' or 'share'"),
        ("", "site.yaml:1:1: configuration: give the site's rows: either 'data' or 'share'"),
        (
            "data: {train: a, text: t}\nshare: {config: c, client: d}\n",
            "site.yaml:1:1: configuration: give the site's rows: either 'data' or 'share'",
        ),
        (
            "data: {train: a, text: t}\nlimits: {seconds: 1.0e10}\n",
            "site.yaml:2:10: limits.seconds: has to be less than or equal to 1000000000",
        ),
        ("data: {train: a}\n", "site.yaml:1:1: data: give one input column, either 'text' or 'image'"),
        (
            "data: {train: a, text: t, image: i}\n",
            "site.yaml:1:1: data: give one input column, either 'text' or 'image'",
        ),
        ("data: {text: t}\n", "site.yaml:1:1: data.train: this key is needed"),
        ("share: {config: c}\n", "site.yaml:1:1: share.client: this key is needed"),
        ("share: c\n", "site.yaml:1:1: share: has to be a mapping of keys to values, got 'c'"),
        ("- a\n", "site.yaml:1:1: a configuration is a mapping of keys to values, got list"),
        ("data: {train: a, text: t}\nname: a\nname: b\n", "site.yaml:3:1: 'name' is given twice; keep one"),
        ('data: {train: "a\\0b", text: t}\n', "site.yaml:1:8: data.train: holds a NUL character or half a surrogate"),
        ("data: {train: a, text: t}\nstate: ~nobody-here/x\n", "site.yaml:2:1: state: '~nobody-here/x': "),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    (said,) = problems(tmp_path, text)
    assert said.startswith(message)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no site file .*/site.yaml; docs/reference/site.md shows one"):
        load_site(tmp_path / "site.yaml")


def test_the_fingerprint_is_that_of_the_file_and_of_what_it_shares_in(tmp_path: Path) -> None:
    site = load_site(write_site(tmp_path))
    first = fingerprint(site)
    assert fingerprint(site) == first
    for name in ("site.yaml", "run.yaml"):
        with (tmp_path / name).open("a") as file:
            file.write("# changed\n")
        assert fingerprint(site) != first
        first = fingerprint(site)
    os.utime(tmp_path / "site.yaml", (1, 1))
    assert fingerprint(site) != first
    (tmp_path / "run.yaml").unlink()
    with pytest.raises(FileNotFoundError):
        fingerprint(site)
