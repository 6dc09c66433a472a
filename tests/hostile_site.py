"""A site whose rows, model and limits are real and whose training is not: what is used is noted, and nothing computed.

So millions of messages can be sent, and what each answer was computed from is known to the last row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from torch import Tensor

from fedstrata.assembly.runtime import Workplace
from fedstrata.client.resident import ResidentModel
from fedstrata.client.train import LocalResult, batches
from fedstrata.config.load import Loaded
from fedstrata.data.kinds import Own
from fedstrata.data.load import _client
from fedstrata.data.tensors import FederatedData, TensorRows
from fedstrata.deploy.site.answer import Answer
from fedstrata.deploy.site.config import load_site
from fedstrata.deploy.site.service import Service
from fedstrata.domain.card import DataCard
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.reasons import Reason
from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.errors import ClientError
from fedstrata.models.hub import load_model
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.partition import partition
from fedstrata.trainers.protocol import Trainer
from fedstrata.wire.digests import manifest_of
from fedstrata.wire.messages import TrainPlan, Weights

ROWS = 37
LABELS = [str(i) for i in range(10)]
CLIENT = "ward"


@cache
def network() -> LoadedModel:
    """Return the embedded model, loaded once."""
    return load_model("embedded:vit-digits", task="image-classification", labels=LABELS)


@cache
def _weights() -> dict[TensorName, Tensor]:
    return {TensorName(n): p.detach().clone() for n, p in network().model.named_parameters()}


def laid_out(model: Mapping[str, Any]) -> LayerMap:
    """Return the blocks of the model as a run specification describes them."""
    keys = ("candidates", "always", "never", "blocks", "units")
    return partition(network().model, **{key: model[key] for key in keys if key in model})


@cache
def _manifest_of(model: str) -> tuple[tuple[str, str], ...]:
    layers = laid_out(json.loads(model))
    return tuple((str(name), digest) for name, digest in manifest_of(layers.trainable, _weights()).items())


def manifest(model: Mapping[str, Any]) -> dict[str, str]:
    """Return the content hash of each block of a run."""
    return dict(_manifest_of(json.dumps(model, sort_keys=True)))


@dataclass(slots=True)
class Used:
    """What one answer was computed from.

    Attributes:
        kind: ``train``, ``probe`` or ``evaluate``.
        steps: The rows of each local step, of both halves of a probe, or that were evaluated.
        tensors: Names of the tensors that were trained.
        plan: The plan of a training.
        sketched: Whether a probe took sketches.
    """

    kind: str
    steps: list[frozenset[int]]
    tensors: frozenset[str] = frozenset()
    plan: TrainPlan | None = None
    sketched: bool = False

    @property
    def rows(self) -> frozenset[int]:
        """All rows."""
        return frozenset().union(*self.steps)


@dataclass(slots=True)
class HostileSite:
    """A site and what was computed in it.

    Attributes:
        folder: Of its file and its log.
        service: Answers.
        used: What every piece of work used, in order.
    """

    folder: Path
    service: Service
    used: list[Used] = field(default_factory=list)

    def ask(self, said: Mapping[str, Any], layers: Mapping[str, bytes] | None = None) -> Answer:
        """Return the answer to a message."""
        return self.service.answer(said, layers or {})

    def facts(self) -> list[dict[str, Any]]:
        """Return what its log says that left."""
        path = self.folder / "state" / "left.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def hostile_site(folder: Path, **keys: object) -> Iterator[HostileSite]:
    """Yield a site with ``ROWS`` rows of its own.

    Args:
        folder: Where it lies.
        keys: Keys of its file besides its rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "site.yaml"
    file.write_text(yaml.safe_dump({"data": {"train": "rows", "image": "image"}, **keys}, sort_keys=False))
    site = HostileSite(folder, Service(load_site(file)))

    def train(
        model: ResidentModel, weights: Weights, *, mask: Mask, rows: TensorRows, indices: Tensor, plan: TrainPlan,
        rng: np.random.Generator, together: int = 1, trainer: Trainer, state: Any = None, cache: Any = None,  # noqa: ANN401
    ) -> LocalResult:  # fmt: skip
        rng.integers(2**63)
        steps = [_ids(rows, batch) for batch in batches(indices, plan, rng, together)]
        specs = model.layers.tensors_of(mask)
        site.used.append(Used("train", steps, frozenset(spec.name for spec in specs), plan))
        if plan.momentum == 0.0:  # as if the loss were not finite
            raise ClientError("it diverged", reason=Reason.NONFINITE)
        return LocalResult({s.name: torch.zeros(s.shape) for s in specs}, len(steps), 1.0, 1.0, {})

    def probe(
        model: ResidentModel, weights: Weights, *, rows: TensorRows, indices: Tensor, batch_size: int,
        statistics: frozenset[Statistic], sketch: Any = None, prefix: Any = None,  # noqa: ANN401
    ) -> tuple[tuple[LayerStats, ...], float]:  # fmt: skip
        half = len(indices) // 2 if Statistic.HALVES in statistics else 0
        halves = [part for part in (_ids(rows, indices[:half]), _ids(rows, indices[half:])) if part]
        site.used.append(Used("probe", halves, sketched=sketch is not None))
        return tuple(_measured(layer, len(indices), statistics, sketch) for layer in model.layers), 1.0

    def evaluate(
        model: ResidentModel, weights: Weights, *, rows: TensorRows, indices: Tensor, batch_size: int,
        cache: Any = None,  # noqa: ANN401
    ) -> tuple[float, int]:  # fmt: skip
        site.used.append(Used("evaluate", [_ids(rows, indices)] if len(indices) else []))
        return 0.0, 0

    with (
        patch("fedstrata.deploy.site.runtime.open_workplace", _open_workplace),
        patch("fedstrata.deploy.site.runtime.load_rows", _load_rows),
        patch("fedstrata.client.handler.train", train),
        patch("fedstrata.client.handler.probe", probe),
        patch("fedstrata.client.pooled.evaluate", evaluate),
    ):
        yield site


def _ids(rows: TensorRows, indices: Tensor) -> frozenset[int]:
    return frozenset(int(n) for n in rows.inputs["pixel_values"][indices, 0].tolist())


def _measured(layer: Any, rows: int, statistics: frozenset[Statistic], sketch: Any) -> LayerStats:  # noqa: ANN401
    halves, samples = Statistic.HALVES in statistics, Statistic.SAMPLES in statistics
    tensors = tuple(
        TensorStats(s.elements, 1.0, 1.0, 0.5 if halves else None, *((1.0, 1.0) if samples else (None, None)))
        for s in layer.tensors
    )
    return LayerStats(tensors, num_examples=rows, sketch=None if sketch is None else (0.5,) * sketch.dimension)


def _open_workplace(loaded: Loaded, rows: Any) -> Workplace:  # noqa: ANN401
    """Load rows and model as a site does, but for reading files."""
    data, found = rows(loaded), network()
    for name, tensor in _weights().items():
        found.model.get_parameter(name).data = tensor
    section = loaded.config.model
    layers = partition(
        found.model, candidates=section.candidates, always=section.always, never=section.never, blocks=section.blocks,
        units=section.units,
    )  # fmt: skip
    return Workplace(
        data, LoadedModel(found.model, layers, found.source, found.task, found.labels), torch.device("cpu")
    )


def _load_rows(loaded: Loaded) -> FederatedData:
    """Return numbered rows, divided as ``load_data`` divides a site's own."""
    source = loaded.components.data
    assert isinstance(source, Own)
    client, held_out = ClientId(source.client), source.held_out
    rows = TensorRows({"pixel_values": torch.arange(float(ROWS))[:, None]}, torch.zeros(ROWS, dtype=torch.int64))
    own = _client(client, np.arange(ROWS), rows, held_out, loaded.config.seed)
    labels = source.labels
    card = DataCard(labels=labels, rows_kept=ROWS, rows_test=0, partition="hostile", clients={})
    return FederatedData({client: own}, rows.only(torch.arange(0)), labels, card)


def blobs(names: Sequence[str], model: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the blobs of some blocks of a run."""
    return {name: blob for name, blob in _blobs_of(json.dumps(model, sort_keys=True)) if name in names}


@cache
def _blobs_of(model: str) -> tuple[tuple[str, bytes], ...]:
    from safetensors.torch import save

    layers, weights = laid_out(json.loads(model)), _weights()
    return tuple((str(b.name), save({n: weights[n] for n in b.tensor_names})) for b in layers.trainable)
