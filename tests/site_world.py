"""A server and its sites in one process: what a site answers, held against what the embedded engine computes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save
from torch import Tensor

from fedstrata.assembly.runtime import handler_of, open_workplace
from fedstrata.config.load import Loaded, check_config
from fedstrata.deploy.flower.run_spec import run_spec
from fedstrata.deploy.site.answer import Answer
from fedstrata.deploy.site.config import load_site
from fedstrata.deploy.site.service import Service
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.stats import Statistic
from fedstrata.engines.local import LocalEngine
from fedstrata.wire.digests import content_of, manifest_of
from fedstrata.wire.messages import (
    Evaluate,
    Failure,
    Origin,
    Probe,
    ProbePlan,
    Reject,
    Reply,
    Request,
    Train,
    TrainPlan,
    Weights,
)
from fedstrata.wire.reply_frames import decode
from fedstrata.wire.requests import to_json
from fedstrata.wire.sizes import Encoding
from worker_engines import assignment

ORIGIN = Origin("trial", 0, "base")
CLIENT = ClientId("client-01")
DIGITS: Mapping[str, Any] = {
    "model": {"path": "embedded:vit-digits"},
    "data": {"kind": "digits", "held_out": 0.1, "partition": {"kind": "iid", "clients": 3}},
    "seed": 3,
}


class Server:
    """The server's side of a run, and clients that work on this machine as the embedded engine has them.

    Args:
        values: A run's configuration.
        base: Folder that its paths start from.
    """

    def __init__(self, values: Mapping[str, Any] = DIGITS, base: Path = Path()) -> None:
        self.loaded: Loaded = check_config(values, base=base)
        place = open_workplace(self.loaded)
        self.data, self.model = place.data, place.resident()
        self.layers = self.model.layers
        self.weights: Weights = dict(self.model.weights())
        self.engine = LocalEngine(handler_of(self.loaded, self.model, place.data))

    def said(self, kind: str, **more: object) -> dict[str, Any]:
        """Return what a message says, as it comes out of JSON."""
        told = {"kind": kind, "run": "trial", "run_spec": run_spec(self.loaded, self.data.labels), "nonce": "n", **more}
        found: dict[str, Any] = json.loads(json.dumps(told))
        return found

    def manifest(self, weights: Weights) -> dict[LayerName, str]:
        """Return the content hash of each block."""
        return manifest_of(self.layers.trainable, weights)

    def blobs(self, names: Iterable[str], weights: Weights) -> dict[str, bytes]:
        """Return the blobs of some blocks."""
        blocks = {block.name: block for block in self.layers.trainable}
        return {n: save({t: weights[t] for t in blocks[LayerName(n)].tensor_names}) for n in names}

    def heads(self, weights: Weights) -> dict[str, bytes]:
        """Return the blobs that every site lacks at first."""
        return self.blobs([block.name for block in self.layers.always], weights)

    def moved(self, *names: str) -> Weights:
        """Return other weights, of which these blocks and the ``always`` blocks are not those of the start."""
        blocks = [b for b in self.layers.trainable if b.name in names or b in self.layers.always]
        changed = {t for block in blocks for t in block.tensor_names}
        return {name: tensor * 1.01 + 0.001 if name in changed else tensor for name, tensor in self.weights.items()}

    def work(self, request: Request, **more: object) -> dict[str, Any]:
        """Return what a message with work says."""
        return self.said("work", request=to_json(request), manifest=self.manifest(request.weights), **more)

    def read(self, answer: Answer, request: Request) -> Reply | Reject:
        """Return what is in a frame, as the server reads it."""
        assert answer.said["kind"] == "frame", answer.said
        return decode(b"".join(answer.parts), assignment(request, self.layers))

    def local(self, request: Request) -> Reply:
        """Return what the embedded engine computes."""
        return next(iter(self.engine.send([request])))

    def refused(self, service: Service, request: Request) -> tuple[str, str]:
        """Return reason and sentence of the failure that a site answers with."""
        reply = self.read(service.answer(self.work(request), self.heads(request.weights)), request)
        assert isinstance(reply, Failure), reply
        return str(reply.reason), reply.message


def probe(weights: Weights, *, client: str = CLIENT, round: int = 0, plan: ProbePlan | None = None) -> Probe:
    """Return a probe of all statistics."""
    return Probe(ClientId(client), round, weights, plan or ProbePlan(2, 8, frozenset(Statistic)), ORIGIN)


def train(
    weights: Weights,
    mask: Iterable[int] = (1, 4),
    *,
    client: str = CLIENT,
    round: int = 0,
    encoding: Encoding = Encoding.FLOAT32,
    piggybacking: ProbePlan | None = None,
    steps: int | None = 3,
) -> Train:
    """Return a training of a mask."""
    plan = TrainPlan(steps=steps, epochs=None if steps else 1, batch_size=8, lr=0.1, encoding=encoding)
    return Train(ClientId(client), round, weights, frozenset(mask), plan, ORIGIN, piggybacking)


def evaluation(weights: Weights, *, client: str = CLIENT, round: int = 0) -> Evaluate:
    """Return an evaluation."""
    return Evaluate(ClientId(client), round, weights, ORIGIN)


def write_site(folder: Path, **keys: object) -> Path:
    """Write a site's file, by default one with the rows of ``CLIENT`` in ``DIGITS``."""
    folder.mkdir(parents=True, exist_ok=True)
    if "data" not in keys and "share" not in keys:
        (folder / "run.yaml").write_text(yaml.safe_dump(dict(DIGITS)))
        keys["share"] = {"config": "run.yaml", "client": str(CLIENT)}
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(keys, sort_keys=False))
    return path


def office_in(folder: Path, **keys: object) -> Service:
    """Return the service of a site in a folder."""
    return Service(load_site(write_site(folder, **keys)))


def content(reply: Reply | Reject) -> str:
    """Return the hash of all that a reply contributes."""
    assert not isinstance(reply, Failure | Reject), reply
    return content_of(reply)


def log_of(folder: Path) -> list[str]:
    """Return the lines of a site's log of what left it, without their times."""
    lines = (folder / "state" / "left.log").read_text().splitlines()
    return [line.partition(" ")[2] for line in lines]


def facts_of(folder: Path) -> list[dict[str, Any]]:
    """Return the facts of what left a site."""
    return [json.loads(line) for line in (folder / "state" / "left.jsonl").read_text().splitlines()]


def spoilt(weights: Weights, name: str) -> dict[TensorName, Tensor]:
    """Return weights of which one tensor is another."""
    return {n: tensor + 1.0 if n == name else tensor for n, tensor in weights.items()}
