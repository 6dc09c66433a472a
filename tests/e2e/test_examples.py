"""The examples run as their users run them: as scripts, from a folder of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_custom_selector_goes_from_the_first_layer_to_the_last(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "custom_selector.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [f"round {i}: layers [{layer}]" for i, layer in enumerate([0, 0, 5, 5])]
    assert float(lines[4].split()[1]) > 0.2
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]
