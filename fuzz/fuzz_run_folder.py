"""Fuzzing of whole run folders: a file in one, ours or a stray, holds something else.

Whatever it is, the report reads the folder or refuses it with one sentence, and a checkpoint and the journal are read,
given up for the older one, or refused; see ``driver.py`` for the options. An input is the file's name in a line, and
what it holds; ``sealed`` before the name makes checksums right, so that deeper code is reached.
"""

from __future__ import annotations

import json
import re
import sys
from atexit import register
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from shutil import copytree, rmtree
from tempfile import mkdtemp
from zlib import crc32

import torch

from driver import Target, main
from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.assembly.inputs import Inputs, read_inputs, write_inputs
from fedstrata.comparison.inputs import gather
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.reasons import Reason
from fedstrata.domain.versions import Versions
from fedstrata.errors import FedstrataError
from fedstrata.runs.checkpoint import Place, generations, load, save
from fedstrata.runs.folder import LogDigest, RunFolder
from fedstrata.runs.journal import FileJournal
from fedstrata.runs.sites_file import read_sites, write_sites
from fedstrata.runs.state import Best, Measured, ServerState
from fedstrata.wire.declaration import Declaration
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import Reject
from texts import json_lines, yaml_text

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from answering import training, update
from report.synthetic_run import write_run

NAMES = re.compile(r"(sealed )?((?:[A-Za-z0-9_-][A-Za-z0-9_. -]*/){0,2}[A-Za-z0-9_-][A-Za-z0-9_. -]*)")
STRAYS = ("checkpoints/round-0002.bak", "checkpoints/round-0003", "accepted/notes.frames", "notes", "best/events.jsonl")
W = TensorName("w")
WEIGHTS = {W: torch.tensor([0.1, -0.0, 3e-39])}


def target() -> Target:
    """Return what is fuzzed."""
    memory = Path("/dev/shm")
    place = Path(mkdtemp(prefix="fuzz-folder-", dir=memory if memory.is_dir() else None))
    register(rmtree, place, ignore_errors=True)
    whole, run = _made(place / "whole"), place / "run"
    copytree(whole, run)
    files = [path for path in sorted(whole.rglob("*")) if path.is_file()]
    seeds = [f"{path.relative_to(whole)}\n".encode() + path.read_bytes() for path in files]
    seeds += [
        b"sealed " + seed for seed in seeds if seed.startswith((b"journal", b"checkpoints")) and b"json" in seed[:60]
    ]
    seeds += [f"{name}\n".encode() for name in STRAYS]

    def test(data: bytes) -> None:
        name, _, content = data.partition(b"\n")
        found = NAMES.fullmatch(name.decode(errors="replace"))
        if found is None:
            return
        path = run / found[2]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_sealed(content, found[2]) if found[1] else content)
        except OSError:  # such as a name that is too long
            return
        try:
            _read(run, found[2])
        finally:
            _restore(whole, run, path)

    return Target("run-folder", seeds, _mutated, test, (FedstrataError,), most_seconds=2.0)


def _made(folder: Path) -> Path:
    write_run(folder, rounds=1, names=("a", "b"), layers=2)
    run = RunFolder(folder)
    write_inputs(run, Inputs({"columns": "cd"}, {"config.json": "ef"}, {"a": "ab", "b": "ab"}, {"test": "12"}, {}))
    write_sites(run, {ClientId("a"): Declaration(9, 3, budget={"bytes_up": 10.0}), ClientId("b"): Declaration(3)})
    for round in (1, 2):
        state = ServerState(
            round=round,
            weights=WEIGHTS,
            selector={"since": 1},
            aggregator=AggregatorState({W: torch.ones(3)}),
            versions=Versions.at({LayerName("h.0"): "cd"}, always=[]).sent([ClientId("a")]),
            best=Best(1, 0.5, 0.25, "held-out"),
            attempt=0,
            run="ab",
            piggybacked={ClientId("b"): Measured(2, 0.5, (0.25, 1.0))},
        )
        save(state, run.checkpoints, Place(77, "ef", 33, 5, {"torch": "2"}))
    journal = FileJournal(run.journal, keep=True)
    journal.begin("run")
    reply = update("a", 0.5, round=4)
    journal.accept(training("a", round=4), reply, digest=content_of(reply), frame=None)
    journal.lose(training("b", round=4), Reject(Reason.LATE, "it did not answer in time"))
    journal.commit(4, "ef", kept_from=0)
    return folder


def _mutated(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    name, _, content = data.partition(b"\n")
    if rng.random() < 0.03:
        name = rng.choice(others).partition(b"\n")[0]
    change = yaml_text if name.endswith(b".yaml") else json_lines
    return name + b"\n" + change(content, rng, [other.partition(b"\n")[2] for other in others])


def _sealed(content: bytes, name: str) -> bytes:
    """Return a state or a journal whose checksums are right."""
    with suppress(ValueError, RecursionError, AttributeError):
        if name.endswith("state.json"):
            said = json.loads(content)
            said.pop("sha256", None)
            return json.dumps(
                {**said, "sha256": sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()}
            ).encode()
        bodies = [line.rpartition(b',"crc"')[0] or line[:-1] for line in content.split(b"\n") if line]
        return b"".join(b'%s,"crc":"%08x"}\n' % (body, crc32(body + b"}")) for body in bodies)
    return content


def _read(run: Path, name: str) -> None:
    """Read what a file is part of."""
    folder, top = RunFolder(run), name.partition("/")[0]
    if top == "checkpoints":
        _resumed(folder, name)
    elif top == "journal.jsonl":
        journal = FileJournal(folder.journal, keep=True)
        journal.reopen(0, None)
        for client in ("a", "b"):
            journal.recall(training(client, round=4))
    elif top == "accepted":
        journal = FileJournal(folder.journal, keep=True)
        journal.reopen(0, None)
        journal.recall(training("a", round=4))
        journal.commit(9, "ef", kept_from=9)
    elif name == "sites.json":
        read_sites(folder, needed=True)
    elif name == "inputs.json":
        read_inputs(folder)
    else:
        gather([run])


def _resumed(folder: RunFolder, name: str) -> None:
    """Load the checkpoint that a file lies in, and find both or more beside a stray."""
    found = generations(folder.checkpoints)
    if len(found) < 2:
        raise AssertionError(f"{name} hides a checkpoint")
    for path in found:
        if f"/{path.name}/" in f"/{name}":
            _, place = load(path, WEIGHTS, seed=5)
            LogDigest(folder.events).upto(place.log_bytes)
            FileJournal(folder.journal).reopen(place.journal_bytes, "run")


def _restore(whole: Path, run: Path, path: Path) -> None:
    """Make the folder what it was."""
    inside = path.relative_to(run)
    source = whole / inside
    if source.is_file():
        path.write_bytes(source.read_bytes())
    elif path.is_file():
        path.unlink()
    if inside.parts[0] == "accepted":
        copytree(whole / "accepted", run / "accepted", dirs_exist_ok=True)
        (run / "journal.jsonl").write_bytes((whole / "journal.jsonl").read_bytes())


if __name__ == "__main__":
    import logging

    logging.disable()  # what is damaged is said, a million times
    sys.exit(main(target(), sys.argv[1:]))
