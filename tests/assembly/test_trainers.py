"""A trainer of the configuration reaches every client, whatever the engine, and across a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedstrata.assembly.runtime import open_workplace
from fedstrata.config.load import check_config
from fedstrata.data.tensors import ClientRows, FederatedData, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError
from small_runs import after, digits, essence, resume, start
from toys import toy_rows

TRAINER: dict[str, Any] = {
    "kind": "augmented",
    "shift": 1,
    "randaugment": 1,
    "inner": {"kind": "fedprox", "mu": 1.0},
}
STEPS = {"rounds": 2, "steps": 3, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}


def played(folder: Path, **sections: object) -> dict[str, Any]:
    start(digits(folder, train=STEPS, **sections))
    return essence(folder)


def test_it_has_the_same_bits_under_every_engine_and_others_than_sgd(tmp_path: Path) -> None:
    whole = played(tmp_path / "local", trainer=TRAINER)
    assert played(tmp_path / "processes", trainer=TRAINER, engine="processes", workers=2) == whole
    assert played(tmp_path / "sgd") != whole


def test_it_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    whole = played(tmp_path / "whole", trainer=TRAINER)
    start(digits(tmp_path / "broken", train=STEPS, trainer=TRAINER), stop=after(1))
    resume(tmp_path / "broken")
    assert essence(tmp_path / "broken") == whole


def test_a_trainer_of_images_is_refused_for_other_rows(tmp_path: Path) -> None:
    loaded = check_config(digits(tmp_path, trainer="augmented"))
    rows: TensorRows = toy_rows(4)
    clients = {ClientId("a"): ClientRows(rows, rows.labels, rows.labels)}
    data = FederatedData(clients, rows, ("no", "yes", "maybe"), None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="trainer: 'augmented' trains on pixel_values, and the rows have features"):
        open_workplace(loaded, lambda loaded: data)
