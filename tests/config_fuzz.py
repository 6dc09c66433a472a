"""What becomes of generated configurations.

Each has to be refused with an error of ours that names a key, or to play two rounds; and either way it writes into its
run folder alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch
import yaml

from config_cases import configuration
from fedstrata.assembly.finish import finish
from fedstrata.assembly.run import prepare_run
from fedstrata.config.load import check_config, load_config
from fedstrata.config.schema import Config
from fedstrata.errors import FedstrataError, TrainingError
from fedstrata.server.observers import Quiet

NET = """\
from torch import nn


class Tiny(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 4), nn.Linear(4, 4), nn.Linear(4, 4)])
        self.head = nn.Linear(4, labels)

    def forward(self, pixels):
        hidden = pixels.flatten(1)
        for layer in self.layers:
            hidden = layer(hidden).tanh()
        return self.head(hidden)


def tiny(labels):
    return Tiny(labels)


def broken(labels):
    raise RuntimeError("no such luck")
"""
"""A network that trains in milliseconds, in the configuration's own folder."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a configuration.

    Attributes:
        kind: ``finished``, ``rejected`` before the run, or ``stopped`` by an error of the run itself.
        where: The key that a rejection names; the reason of a stop.
    """

    kind: str
    where: str = ""


def fates(numbers: Iterable[int], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fate]:
    """Yield what becomes of each configuration, each in a folder of its own."""
    monkeypatch.setenv("FEDSTRATA_CACHE", str(folder / "cache"))
    threads = torch.get_num_threads()
    for number in numbers:
        place = folder / str(number)
        (place / "here").mkdir(parents=True)
        (place / "here" / "fuzznet.py").write_text(NET)
        monkeypatch.chdir(place / "here")
        try:
            yield fate_of(number, place)
        except Exception as error:
            error.add_note(f"configuration {number}: {str(configuration(number))[:2000]}")
            raise
        finally:
            sys.modules.pop("fuzznet", None)
            torch.set_num_threads(threads)
            monkeypatch.chdir(folder)
            rmtree(place)


def fate_of(number: int, folder: Path) -> Fate:
    """Load, prepare and play a configuration; the working directory is ``here`` in the folder, with the network in it.

    Raises:
        AssertionError: An error names no key, or something was written outside the run folder.
        Exception: Anything that is not an error of ours.
    """
    values = configuration(number)
    before = set(files_under(folder))
    try:
        loaded = check_config(values, base=Path()) if number % 4 else load_config(as_yaml(values))
        prepared = prepare_run(loaded)
    except FedstrataError as error:
        written = set(files_under(folder)) - before - {folder / "here" / "c.yaml"}
        assert not written, f"{number}: refused, but wrote {sorted(written)[:3]}"
        return Fate("rejected", field_of(str(error), values))
    asked = iter((False, True))
    run = prepared.run(observer=Quiet(), stop=lambda: next(asked, True))
    try:
        finish(prepared, run.start(prepared.weights))
        fate = Fate("finished")
    except TrainingError as error:
        fate = Fate("stopped", reason_of(str(error)))
    inside = prepared.folder.path.resolve()
    assert loaded.config.output is not None or inside.parent == Path("runs").resolve(), f"{number}: runs in {inside}"
    outside = {p for p in set(files_under(folder)) - before if not p.resolve().is_relative_to(inside)}
    assert outside <= {folder / "here" / "c.yaml"}, f"{number}: wrote {sorted(outside)[:3]} outside {inside}"
    return fate


def as_yaml(values: Mapping[Any, Any]) -> Path:
    """Write a configuration as people do."""
    path = Path("c.yaml")
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
    return path


def files_under(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".py"))


def field_of(message: str, values: Mapping[Any, Any]) -> str:
    """Return the dotted key that the first line of an error names, which has to be one of ours or of the values."""
    line = re.sub(r"^c\.yaml:\d+:\d+: ", "", message)
    known = {*Config.model_fields, *map(str, values), "configuration"}
    assert any(line.startswith((f"{key}: ", f"{key}.")) for key in known), f"no key is named: {message[:300]!r}"
    return line.partition(": ")[0][:40]


def reason_of(message: str) -> str:
    """Return why a run stopped, which has to be one of the reasons that we know."""
    known = ("NORM", "NONFINITE", "LATE", "test loss is nan", "test loss is inf", "score is not finite")
    found = [reason for reason in known if reason in message]
    assert found, f"the run stopped, and does not say why: {message[:300]!r}"
    return found[0]
