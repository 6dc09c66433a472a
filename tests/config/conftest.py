"""A configuration that works, to be broken in one place at a time, and the command line that it is given to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Said

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


Fails = Callable[..., Said]


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
