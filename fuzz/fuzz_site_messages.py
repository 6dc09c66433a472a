"""Fuzzing of a site's service: whatever a server says, an answer, within the site's limits, and a line in its log.

    python fuzz/fuzz_site_messages.py -runs=1000000

An input is one message as JSON. The first byte says which of a few sites gets it. What is computed behind the limits is
stubbed, all before it is real: reading, checks, the model's blocks, layer store, draws of rows, frames and the log.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from driver import Target, main
from fedstrata.deploy.site.cache import LayerCache
from fedstrata.deploy.site.config import SiteConfig
from fedstrata.deploy.site.run_spec import RunSpec
from fedstrata.deploy.site.runtime import Runtime, open_runtime
from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.ids import ClientId
from fedstrata.parsing.json_text import json_value
from fedstrata.wire.messages import Evaluate, Origin, Probe, ProbePlan, Train, TrainPlan
from fedstrata.wire.requests import to_json
from hostile_site import CLIENT, LABELS, HostileSite, blobs, hostile_site, laid_out, manifest
from mutations import JSON_VALUES, delete, flip, insert, repeat
from site_oracle import KINDS

FILES: tuple[dict[str, Any], ...] = (
    {},
    {"limits": {"refuse": ["first:1", "embeddings"], "min_rows": 5, "sketches": True}},
    {"limits": {"scores": False, "evaluate": False, "rounds": 3, "steps": 4, "lr": 0.5}},
    {"pin": {"always": [], "units": "blocks", "held_out": 0.2}, "limits": {"min_rows": 12, "evaluations": 2}},
)
"""The files of the sites."""
MODEL = {"path": "embedded:vit-digits"}
MOST_SAID, MOST_LINE, MOST_KNOWN = 20_000, 40_000, 64
NEW_RUN = 0.02
"""Share of the changes that a run's specification may get, for which a site opens rows and model anew."""
RENEWED = 2_000
"""Messages after which a site begins with an empty log, so that its counts do not refuse all that follows."""


def sound() -> Iterator[dict[str, Any]]:
    """Yield a sound message of every kind."""
    run_spec = {"seed": 3, "threads": 1, "labels": LABELS, "model": MODEL, "data": {"held_out": 0.2}}
    said = {"run": "trial", "nonce": "n", "run_spec": run_spec}
    client, origin = ClientId(CLIENT), Origin("r", 0, "b")
    probe, plan = ProbePlan(1, 12), TrainPlan(steps=2, epochs=None, batch_size=12, lr=0.1)
    yield {**said, "kind": "join", "client": CLIENT}
    for request in (
        Probe(client, 1, {}, probe, origin),
        Probe(client, 1, {}, replace(probe, sketch=Hashing(0, 16)), origin),
        Train(client, 1, {}, frozenset({1, 4}), plan, origin),
        Train(client, 1, {}, frozenset({2}), replace(plan, steps=None, epochs=1), origin, probe),
        Evaluate(client, 1, {}, origin),
    ):
        yield {**said, "kind": "work", "request": to_json(request), "manifest": manifest(MODEL)}


def seeds() -> list[bytes]:
    """Return every sound message to every site."""
    return [bytes([i]) + json.dumps(said).encode() for i in range(len(FILES)) for said in sound()]


def mutate(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Return a message changed by someone who knows what one holds, or blindly."""
    if rng.random() < 0.1:
        return rng.choice((flip, insert, delete, repeat))(data, rng)
    try:
        said, other = json.loads(data[1:]), json.loads(rng.choice(others)[1:])
        _edit(said, other, rng)
        return data[:1] + json.dumps(said).encode()
    except (AttributeError, KeyError, IndexError, RecursionError, TypeError, ValueError):
        return flip(data, rng)


def _edit(said: dict[str, Any], other: object, rng: Random) -> None:
    """Change one value somewhere in a message, take it away, or put one of another message in its place."""
    run_spec = said.get("run_spec")
    if rng.random() < NEW_RUN:
        places = [*_places(run_spec), (said, "run_spec")]
    else:
        others = {key: value for key, value in said.items() if key != "run_spec"}
        places = [(said if holder is others else holder, key) for holder, key in _places(others)]
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            holder.pop(key)
        case 1:
            holder[key] = rng.choice([h[k] for h, k in _places(other)])
        case 2 if isinstance(holder, dict):
            holder[rng.choice(("x", "__class__", "path", "probe", "../x"))] = rng.choice(JSON_VALUES)
        case 3:
            holder[key] = rng.choice((10**4000, "x" * 100_000, [[[[]]]], "a" * 201, 2**31, 1e-320, "/(a|a)*$/"))
        case _:
            holder[key] = rng.choice(JSON_VALUES)


def _places(said: object) -> Iterator[tuple[Any, Any]]:
    """Yield every place in nested values, as what holds it and the key in that."""
    items = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    for key, value in items:
        yield said, key
        yield from _places(value)


def remembered() -> Callable[..., Runtime]:
    """Return what opens a runtime, or hands out the one that the same site had for the same run and name."""
    known: dict[tuple[object, ...], Runtime] = {}

    def opened(site: SiteConfig, run_spec: RunSpec, client: ClientId, cache: LayerCache) -> Runtime:
        key = (str(site.path), run_spec.model_dump_json(), client)
        if key not in known:
            made = open_runtime(site, run_spec, client, cache)
            if len(known) < MOST_KNOWN:
                known[key] = made
            return made
        return known[key]

    return opened


class Sites:
    """The sites, which begin anew now and then.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._count, self._stack = folder, 0, ExitStack()
        self._sites: list[HostileSite] = []
        self._heads = blobs([b.name for b in laid_out(MODEL).always], MODEL)

    def test(self, data: bytes) -> None:
        """Send one input; anything but a proper answer is raised."""
        said = json_value(data[1:], once=True, finite=True)  # as every message is read before a service sees it
        if not isinstance(said, dict):
            raise ValueError("no mapping")
        if self._count % RENEWED == 0:
            self._renew()
        self._count += 1
        site = self._sites[data[0] % len(FILES)]
        log = site.folder / "state" / "left.jsonl"
        before = log.stat().st_size if log.exists() else 0
        answer = site.ask(said, self._heads)
        site.used.clear()
        check(answer.said, log.stat().st_size - before)

    def close(self) -> None:
        """Leave nothing behind."""
        self._stack.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _renew(self) -> None:
        self._stack.close()
        for path in self._folder.glob("site-*"):
            shutil.rmtree(path)
        self._sites = [
            self._stack.enter_context(hostile_site(self._folder / f"site-{i}", **keys)) for i, keys in enumerate(FILES)
        ]


def check(said: Mapping[str, Any], written: int) -> None:
    """Make sure of an answer, and of what was written to the log for it.

    Raises:
        AssertionError: It is no answer, or too long.
    """
    if said["kind"] not in KINDS or len(json.dumps(said)) > MOST_SAID:
        raise AssertionError(f"this is no answer: {str(said)[:500]}")
    if not 0 < written < MOST_LINE:
        raise AssertionError(f"{written} bytes of log for one message")


@contextmanager
def target() -> Iterator[Target]:
    """Yield what is fuzzed; files are written to memory, and not waited for."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    sites = Sites(Path(tempfile.mkdtemp(prefix="fuzz-site-", dir=memory)))
    try:
        with (
            patch.object(os, "fsync", lambda descriptor: None),
            patch("fedstrata.deploy.site.service.open_runtime", remembered()),
        ):
            yield Target("site_messages", seeds(), mutate, sites.test, (ValueError, RecursionError), most_seconds=2.0)
    finally:
        sites.close()


if __name__ == "__main__":
    with target() as found:
        code = main(found, sys.argv[1:])
    sys.exit(code)
