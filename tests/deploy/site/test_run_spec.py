"""What a server says of a run decides nothing that is the site's to decide: no path, no code, no other key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.deploy.site.config import load_site
from fedstrata.deploy.site.run_spec import compose, read_run_spec
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ClientError
from fedstrata.trainers.augmented import Augmented
from fedstrata.trainers.fedprox import FedProx
from site_world import DIGITS, write_site

NAME = ClientId("client-01")
TERMS: dict[str, Any] = {"seed": 3, "labels": ["no", "yes"], "model": {"path": "embedded:vit-digits"}}


def path_of(folder: Path, named: str, **keys: object) -> str:
    """Return the model that a site uses when the server names one."""
    keys = {"data": {"train": "rows", "image": "image"}, **keys}
    site = load_site(write_site(folder, **keys))
    return compose(site, read_run_spec({**TERMS, "model": {"path": named}}), NAME)[0].config.model.path


def test_a_model_that_comes_with_fedstrata_may_be_named(tmp_path: Path) -> None:
    assert path_of(tmp_path, "embedded:vit-digits") == "embedded:vit-digits"


def test_the_site_s_own_model_counts_whatever_the_server_names(tmp_path: Path) -> None:
    assert path_of(tmp_path, "/etc", model="vit") == str(tmp_path / "vit")
    assert path_of(tmp_path, "evil:code", model="embedded:vit-digits") == "embedded:vit-digits"


@pytest.mark.parametrize("named", ["/etc", "vit", "../vit", "~/vit", "embedded:other"])
def test_a_path_of_the_server_s_is_not_read(tmp_path: Path, named: str) -> None:
    with pytest.raises(ClientError):
        path_of(tmp_path, named)


def test_a_path_of_the_server_s_is_read_where_the_site_says_so(tmp_path: Path) -> None:
    assert path_of(tmp_path, "vit", model="server") == str(tmp_path / "vit")
    assert path_of(tmp_path, "/models/vit", model="server") == "/models/vit"


@pytest.mark.parametrize("named", ["evil:code", "os.path:join", "embedded:code"])
@pytest.mark.parametrize("model", [None, "server"])
def test_code_of_the_server_s_never_runs(tmp_path: Path, named: str, model: str | None) -> None:
    """``embedded:code`` would be a function of a module by the name of embedded."""
    for module in ("evil", "embedded"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('run')\n")
    with pytest.raises(ClientError, match="the run's model is code, which no site runs for a server"):
        path_of(tmp_path, named, **({} if model is None else {"model": model}))


def test_code_of_the_site_s_own_may_be_named(tmp_path: Path) -> None:
    assert path_of(tmp_path, "embedded:vit-digits", model="nets:small") == "nets:small"


def test_a_share_s_configuration_names_the_model_too(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**DIGITS, "model": {"path": "vit"}}))
    share = {"config": "run.yaml", "client": NAME}
    assert path_of(tmp_path, "/etc", data=None, share=share) == str(tmp_path / "vit")


def test_rows_device_and_name_are_the_site_s(tmp_path: Path) -> None:
    rows = {"train": "mine.csv", "text": "note", "label": "outcome"}
    site = load_site(write_site(tmp_path, data=rows, device="cpu", model="bert"))
    said = {**TERMS, "data": {"held_out": 0.25, "max_length": 9}, "threads": 2, "evaluate": {"batch_size": 7}}
    loaded, seed = compose(site, read_run_spec(said), NAME)
    data = loaded.components.data
    assert (data.train, data.text, data.label, data.client) == ("mine.csv", "note", "outcome", NAME)  # type: ignore[union-attr]
    assert (data.held_out, data.max_length, data.labels) == (0.25, 9, ("no", "yes"))  # type: ignore[union-attr]
    config = loaded.config
    assert (config.device, config.threads, config.evaluate.batch_size, seed) == ("cpu", 2, 7, 3)
    assert loaded.base == tmp_path


def test_rows_of_a_share_are_its_configuration_s(tmp_path: Path) -> None:
    site = load_site(write_site(tmp_path))
    said = {**TERMS, "seed": 8, "data": {"held_out": 0.5}}
    loaded, seed = compose(site, read_run_spec(said), NAME)
    assert (loaded.config.seed, seed, loaded.components.data.held_out) == (8, 3, 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"train": "/etc/passwd"}}, "data.train"),
        ({"device": "cuda"}, "device"),
        ({"base": "/"}, "base"),
        ({"model": {"path": "x", "trust": True}}, "model.trust"),
        ({"seed": -1}, "seed"),
        ({"threads": 0}, "threads"),
        ({"labels": "no"}, "labels"),
    ],
)
def test_other_keys_and_odd_values_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=rf"the run's specification cannot be used: {message}: "):
        read_run_spec({**TERMS, **change})


def trainer_of(folder: Path, trainer: object) -> object:
    """Return the trainer that a site trains with when the server names one."""
    site = load_site(write_site(folder, data={"train": "rows", "image": "image"}))
    return compose(site, read_run_spec({**TERMS, "trainer": trainer}), NAME)[0].components.trainer


def test_a_trainer_that_comes_with_fedstrata_may_be_named(tmp_path: Path) -> None:
    inner = {"kind": "fedprox", "mu": 0.5}
    assert trainer_of(tmp_path, {"kind": "augmented", "inner": inner}) == Augmented(inner=FedProx(mu=0.5))


@pytest.mark.parametrize(
    "trainer",
    [
        {"kind": "evil:Trainer"},
        {"kind": "augmented", "inner": {"kind": "evil:Trainer"}},
        {"kind": "augmented", "inner": {"kind": "augmented", "inner": {"kind": "os:PathLike"}}},
        {"kind": "augmented", "inner": "evil:Trainer"},
        {"kind": ["sgd"]},
        {},
    ],
)
def test_a_trainer_that_is_code_of_the_server_s_never_runs(tmp_path: Path, trainer: object) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('run')\n")
    with pytest.raises(ClientError, match=r"the run's trainer (is code, which no site runs|cannot be used)"):
        trainer_of(tmp_path, trainer)
