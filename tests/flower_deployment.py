"""A real deployment on loopback for tests: SuperLink with TLS, SuperNodes with registered keys, runs as a user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from fedstrata.assembly.loading import load_rows
from fedstrata.assembly.provenance import resolved
from fedstrata.config.load import load_config
from fedstrata.deploy.flower.trial import Trial
from waiting import HANG, until

FEDSTRATA = str(Path(sys.executable).with_name("fedstrata"))

CONFIG = """
model: {path: "embedded:vit-digits"}
data: {kind: digits, held_out: 0.1, partition: {kind: dirichlet, clients: 2, alpha: 0.5}}
budget: 2
train: {rounds: 2, steps: 3, lr: 0.005, optimizer: momentum}
trainer: {kind: sgd, optimizer_state: kept}
evaluate: {every: 2}
seed: 3
"""


@dataclass
class Deployment:
    """A trial and the folder of its runs."""

    trial: Trial
    folder: Path
    config: Path

    def start(self, *overrides: str, verb: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start a run, or what ``verb`` says, as a user would."""
        sets = [part for override in overrides for part in ("--set", override)]
        command = [FEDSTRATA, *(verb or ("run", str(self.config))), "--engine", "flower", *sets]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *overrides: str, verb: tuple[str, ...] = ()) -> tuple[int, str]:
        """Play a run to its end; return exit code and what was said."""
        return ended(self.start(*overrides, verb=verb))

    @property
    def environment(self) -> dict[str, str]:
        cache = str(self.folder / "cache")
        return {**self.trial.home.environment, "FEDSTRATA_CACHE": cache, "OMP_NUM_THREADS": "1"}


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process and return exit code and what was said; one that hangs is ended."""
    try:
        said, _ = process.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        raise AssertionError(f"it hangs: {said[-2000:]}") from None
    return process.returncode, said


def reached(process: subprocess.Popen[str], what: Callable[[], object], *, why: str) -> None:
    """Wait until something is true or a process has ended, whose own words then say why."""
    until(lambda: what() or process.poll() is not None, why=why, every=0.1)


@contextmanager
def deployed(
    folder: Path,
    *,
    config: str = CONFIG,
    through: Callable[[Path], Mapping[str, int]] | None = None,
    sites: Mapping[str, Mapping[str, Any]] | None = None,
    database: bool = False,
) -> Iterator[Deployment]:
    """Start a deployment, and end everything that it started.

    Args:
        folder: For everything.
        config: The run's configuration, without engine and sites.
        through: Is given the SuperLink's socket and returns the ports that sites connect to in its place.
        sites: More values of sites' files.
        database: Whether the SuperLink keeps its state over restarts.
    """
    cache = str(folder / "cache")
    os.environ["FEDSTRATA_CACHE"] = cache
    (folder / "plain.yaml").write_text(config)
    loaded = load_config(folder / "plain.yaml")
    names = [str(client) for client in load_rows(loaded).clients]
    share = {name: {"share": {"config": "../../run.yaml", "client": name}, "model": "server"} for name in names}
    trial = Trial(folder / "trial", {n: {**v, **(sites or {}).get(n, {})} for n, v in share.items()}, database)
    trial.folder.mkdir()
    (trial.folder / "run.yaml").write_text(resolved(loaded))
    run = f"{config}\nengine: flower\nflower: {{superlink: trial, sites: '{trial.keys}', join_timeout: {HANG:.0f}}}\n"
    (folder / "run.yaml").write_text(run)
    try:
        trial.start(through=through)
        yield Deployment(trial, folder, folder / "run.yaml")
    finally:
        trial.stop()


@cache
def here(engine: str, *overrides: str) -> Path:
    """Return the folder of the same run on another engine."""
    folder = Path(mkdtemp(prefix="fedstrata-bits-"))
    (folder / "run.yaml").write_text(CONFIG)
    sets = [part for override in (*overrides, "output=out") for part in ("--set", override)]
    command = [FEDSTRATA, "run", "run.yaml", "--engine", engine, "-q", *sets]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "out"


def model_bits(run: Path) -> str:
    """Return the digest of a run's model."""
    return sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def lines(file: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
