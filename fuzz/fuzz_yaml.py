"""Fuzzing of every YAML file that people write: configurations, sweeps, and sites' own files.

Whatever such a file holds, it is taken, or refused with a ``ConfigError`` that begins with its place; see ``driver.py``
for the options. The first byte of an input says which file the rest is.
"""

from __future__ import annotations

import sys
from atexit import register
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp

from driver import Target, main
from fedstrata.config.load import load_config
from fedstrata.deploy.site.config import load_site
from fedstrata.errors import ConfigError
from fedstrata.sweeping.file import read_sweep
from texts import yaml_text

CONFIG = b"""\
model: {path: "embedded:vit-digits", head: new}
data: {kind: digits, partition: {kind: dirichlet, clients: 3, alpha: 0.3}}
selector: {kind: consensus, rho: 0.5}
budget: {kind: fixed, layers: 1}
train: {rounds: 2, steps: 1, lr: 0.1}
seed: 3
"""
SWEEP = b"""\
row: digits
size: small
config: base.yaml
seeds: [0, 1]
methods:
  top: &t {set: {selector: top}}
  bottom: {<<: *t, set: {selector: bottom}, grid: {train.lr: [0.1, 0.2]}}
budgets: {one: {budget: 1}}
"""
SITE = b"""\
name: north
data: {train: rows.csv, text: note}
model: server
limits: {rounds: 10, min_rows: 32, refuse: "first:1"}
"""
READERS: Sequence[Callable[[Path], object]] = (load_config, read_sweep, load_site)
MOST_WORDS = 20_000
"""Characters of an error: there may be a problem for each of a file's values."""


def _mutated(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    return data[:1] + yaml_text(data[1:], rng, [other[1:] for other in others])


def _folder() -> Path:
    memory = Path("/dev/shm")
    folder = Path(mkdtemp(prefix="fuzz-yaml-", dir=memory if memory.is_dir() else None))
    register(rmtree, folder, ignore_errors=True)
    (folder / "base.yaml").write_bytes(CONFIG)
    return folder


def target() -> Target:
    """Return what is fuzzed."""
    file = _folder() / "c.yaml"

    def test(data: bytes) -> None:
        file.write_bytes(data[1:])
        try:
            READERS[data[0] % len(READERS) if data else 0](file)
        except ConfigError as error:
            if not 0 < len(str(error)) < MOST_WORDS:
                raise AssertionError(f"an error of {len(str(error))} characters") from error
            raise

    seeds = [bytes([kind]) + text for kind, text in enumerate((CONFIG, SWEEP, SITE))]
    return Target("yaml", seeds, _mutated, test, (ConfigError,), most_seconds=2.0)


if __name__ == "__main__":
    sys.exit(main(target(), sys.argv[1:]))
