"""What a model raises at its first pass is the model's error, with the likely cause, before the first round."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Said
from small_models import save_bert, save_images
from small_runs import digits, events, start, write_config

NETS = """
from torch import nn


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.head = nn.Linear(4, 2)


class Names(Other):
    def forward(self, pixel_values, depth):
        return self.head(pixel_values + depth)


class Shapes(Other):
    def forward(self, pixel_values):
        return self.head(pixel_values.flatten(1))


class Raises(Other):
    def forward(self, pixel_values):
        raise KeyError("my own mistake")


def names(labels):
    return Names()


def shapes(labels):
    return Shapes()


def raises(labels):
    return Raises()
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("names", "TypeError: .*its forward may take inputs of other names"),
        ("shapes", "RuntimeError: .*made for inputs of another shape"),
        ("raises", r"KeyError: 'my own mistake' \(nets_of_first_passes.py:\d+\)"),
    ],
)
def test_a_network_that_fails_is_told_before_the_first_round(
    tmp_path: Path, cli: Callable[..., Said], function: str, message: str
) -> None:
    (tmp_path / "nets_of_first_passes.py").write_text(NETS)
    save_images(tmp_path / "rows", ("cat", "dog"), 4)
    rows = {"train": "rows", "test": "rows", "image": "image", "image_size": 8}
    values = digits(
        tmp_path / "run",
        model={"path": f"nets_of_first_passes:{function}"},
        data={**rows, "partition": {"kind": "iid", "clients": 2}},
        selector="full",
        budget=None,
        cost="layers",
    )
    said = cli("run", str(write_config(tmp_path / "c.yaml", values)), "-q")

    assert said.code == 2, said.err
    assert "bug" not in said.err
    assert re.search(message, said.err), said.err


def test_texts_are_cut_to_the_positions_that_the_model_has(tmp_path: Path) -> None:
    save_bert(tmp_path / "bert")
    long = " ".join(["day"] * 60)
    lines = [f"{long} fine,yes\n{long} cold,no" for _ in range(4)]
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("\n".join(["text,label", *lines]) + "\n")
    values = digits(
        tmp_path / "run",
        model={"path": "bert"},
        data={
            "train": "train.csv",
            "test": "test.csv",
            "text": "text",
            "max_length": 500,
            "partition": {"kind": "iid", "clients": 2},
        },
        train={"rounds": 1, "steps": 1},
    )
    start(values, base=tmp_path)
    card = json.loads((tmp_path / "run" / "data_card.json").read_text())
    assert any("are cut to 32 tokens" in warning for warning in card["warnings"])
    assert len(events(tmp_path / "run", "round")) == 1
