"""A configuration that works, to be broken in one place at a time, and the command line that it is given to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedstrata.cli.main import invoke

GOOD = """\
model:
  path: embedded:vit-digits
data:
  kind: digits
  shift: input
  held_out: 0.1
  partition: {kind: iid, clients: 3}
selector:
  kind: consensus
  rho: 0.5
budget:
  kind: fixed
  layers: 1
train:
  rounds: 1
  steps: 1
  lr: 0.1
seed: 3
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left."""

    code: int
    out: str
    err: str


Fails = Callable[..., Said]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in an empty folder and return exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDSTRATA_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = invoke(list(arguments))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def broken(cli: Callable[..., Said], tmp_path: Path) -> Fails:
    """Run the good configuration with one text replaced by another, or text added at its end."""

    def run(old: str = "", new: str = "", *arguments: str, add: str = "", whole: str | None = None) -> Said:
        assert old in GOOD
        text = (GOOD.replace(old, new, 1) if old else GOOD) + add if whole is None else whole
        (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
        said = cli("run", "c.yaml", "--set", "output=out", *arguments)
        assert "Traceback" not in said.err
        return said

    return run
