"""``fedstrata demo``: the main job on embedded data, two shifts side by side, in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the demo; an older demo is replaced.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all runs.")] = 0,
) -> None:
    """Compare seven ways to choose layers on two shifts of a digits task; no network, under two minutes."""
    from fedstrata.cli.demo_runs import play_demo

    play_demo(out, seed)
