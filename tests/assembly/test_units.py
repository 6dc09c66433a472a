from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fedstrata.assembly.provenance import identity, resolved
from fedstrata.config.load import check_config
from fedstrata.errors import ConfigError
from fedstrata.models.form import Lora
from fedstrata.planning.subject import Assumed, subject
from small_runs import digits


def config(tmp_path: Path, **model: Any) -> Any:  # noqa: ANN401  a checked configuration
    return check_config(digits(tmp_path / "run", model={"path": "embedded:vit-digits", **model}))


def test_a_bare_kind_is_short_for_an_adapter_without_options(tmp_path: Path) -> None:
    short, long = config(tmp_path, adapter="lora"), config(tmp_path, adapter={"kind": "lora", "rank": 8, "alpha": 16})
    assert resolved(short) == resolved(long)
    assert Lora(**asdict(short.config.model.adapter)) == Lora()


def test_targets_are_a_list_or_auto(tmp_path: Path) -> None:
    found = config(tmp_path, adapter={"kind": "lora", "rank": 2, "targets": ["query", "value"]})
    assert Lora(**asdict(found.config.model.adapter)) == Lora(rank=2, targets=("query", "value"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"units": "thirds"}, "model.units: has to be 'blocks' or 'halves', got 'thirds'"),
        ({"adapter": "loar"}, "model.adapter: has to be 'lora' (did you mean 'lora'?), got 'loar'"),
        ({"adapter": {"kind": "lora", "rnak": 4}}, "model.adapter.rnak: no such key; did you mean 'rank'?"),
        ({"adapter": {"kind": "lora", "rank": 0}}, "model.adapter.rank: has to be greater than or equal to 1"),
        ({"adapter": {"kind": "lora", "targets": []}}, "model.adapter.targets: "),
        ({"adapter": {"rank": 4}}, "model.adapter.kind: this key is needed"),
    ],
)
def test_mistake_is_an_error_with_its_key(tmp_path: Path, model: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, **model)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"adapter": {"kind": "lora", "targets": ["q_prj"]}}, "model.adapter: no linear module of a layer is named"),
        ({"units": "halves", "blocks": "children"}, "model.units: block 'vit' (ViTModel"),
    ],
)
def test_what_does_not_fit_the_model_is_blamed_on_its_key(tmp_path: Path, model: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        subject(config(tmp_path, **model), Assumed(clients=2, rows=8))
    assert str(caught.value).startswith(words)


def test_missing_library_is_blamed_on_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"^model\.adapter: LoRA needs peft; install it with: pip install"):
        subject(config(tmp_path, adapter="lora"), Assumed(clients=2, rows=8))


def test_a_run_with_an_adapter_depends_on_the_version_of_its_library(tmp_path: Path) -> None:
    assert "peft" in identity(config(tmp_path, adapter="lora"))
    assert "peft" not in identity(config(tmp_path))


def test_a_plan_prices_halves_of_matrices(tmp_path: Path) -> None:
    found = subject(config(tmp_path, units="halves", adapter="lora"), Assumed(clients=2, rows=8))
    setting = found.prepared.setting
    client = next(iter(setting.profiles))
    prices = setting.method.cost.prices(client, found.prepared.visit(client))
    first, last = prices.of(frozenset({0})), prices.of(frozenset({11}))
    assert len(setting.layers) == 12
    assert first.flops > last.flops  # the gradient goes all the way down
    whole = subject(config(tmp_path, units="halves"), Assumed(clients=2, rows=8)).prepared.setting.method.cost
    assert last.bytes_up < whole.prices(client, found.prepared.visit(client)).of(frozenset({11})).bytes_up / 4
