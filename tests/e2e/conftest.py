"""One deployment of Flower for all its tests: starting it takes longer than a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flower_deployment import Deployment, deployed
from wire_tap import Tap

TAPPED = "client-01"
"""The site whose wire is looked at."""


@dataclass
class World:
    """A deployment of two sites, and the wire of one of them."""

    deployment: Deployment
    tap: Tap


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    taps: list[Tap] = []

    def through(link: Path) -> dict[str, int]:
        taps.append(Tap(link))
        return {TAPPED: taps[0].port}

    with deployed(tmp_path_factory.mktemp("flower"), through=through, database=True) as deployment:
        yield World(deployment, taps[0])
    taps[0].close()
