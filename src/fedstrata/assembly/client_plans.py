"""What clients are told to do: plans of training and of probes, with the sketches that come with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields

from fedstrata.assembly.method_name import method_name
from fedstrata.config.catalog import describe
from fedstrata.config.load import Loaded
from fedstrata.domain.count_sketch import USUAL, Hashing
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.stats import Statistic
from fedstrata.domain.training import Held, Training
from fedstrata.errors import ConfigError
from fedstrata.selectors.protocol import sketch_of
from fedstrata.wire.messages import ProbePlan, TrainPlan
from fedstrata.wire.sizes import Encoding

NEW_HEAD = 10.0
"""How much faster a new head learns than pretrained layers, where ``train.always_lr`` is ``auto``."""
_AHEAD = 100
"""Rounds that are looked at for whether a selector ever probes a client."""


def train_plan(loaded: Loaded, *, new_head: bool = False) -> TrainPlan:
    """Return how clients train.

    Args:
        loaded: The configuration.
        new_head: Whether the head starts from random numbers. With ``always_lr: auto`` it then learns ``NEW_HEAD``
            times faster under AdamW, whose steps have the size of the rate; those of SGD grow with the gradient.
    """
    t = loaded.config.train
    faster = t.lr * NEW_HEAD if new_head and t.optimizer == "adamw" else None
    always_lr = faster if t.always_lr == "auto" else t.always_lr
    said = {field.name: getattr(t, field.name) for field in fields(Training)}
    said["epochs"] = (t.epochs or 1) if t.steps is None else None
    encoding = Encoding(loaded.config.upload.encoding)
    return TrainPlan(**said, always_lr=always_lr, encoding=encoding, prefix=kept_prefix(loaded))


def probe_plan(loaded: Loaded) -> ProbePlan:
    """Return how clients measure, with what the score, the selector and the record of the error need."""
    probe, parts = loaded.config.probe, loaded.components
    return ProbePlan(probe.batches, probe.batch_size, parts.score.needs, sketch_plan(loaded), kept_prefix(loaded))


def kept_prefix(loaded: Loaded) -> Held | None:
    """Return how outputs of the frozen prefix are kept; ``None`` for not at all, as where memory is limited.

    What they take is not in a client's price.
    """
    cache = loaded.config.cache
    return None if cache == "off" or limits_memory(loaded) else cache.dtype


def limits_memory(loaded: Loaded) -> bool:
    """Return whether a budget may limit memory; one read from a file may."""
    budget = describe(loaded.components.budget)
    named = "bytes_peak" in str({key: value for key, value in budget.items() if value is not None})
    return named or budget["kind"] == "device" or budget.get("file") is not None


def sketch_plan(loaded: Loaded) -> Hashing | None:
    """Return the sketch of a run, or ``None`` where neither selector nor theory reads one.

    Example:
        See ``tests/assembly/test_sketches.py``.
    """
    dimension = sketch_of(loaded.components.selector) or theory_sketch(loaded)
    return Hashing(Seeds(loaded.config.seed).integer(Phase.SKETCH), dimension) if dimension else None


def theory_sketch(loaded: Loaded) -> int:
    """Return the numbers of the sketches that the record of the error needs; 0 where it needs none.

    Example:
        See ``tests/assembly/test_sketches.py``.
    """
    return USUAL if loaded.config.theory == "sketch" else 0


def check_sketches(selector: str, probed: Collection[ClientId]) -> None:
    """Refuse sketches under a selector that asks for no probes.

    Args:
        selector: Its name.
        probed: The clients that it ever probes.

    Raises:
        ConfigError: They are none.

    Example:
        See ``tests/assembly/test_sketches.py``.
    """
    if not probed:
        raise ConfigError(f"sketches come with probes, and selector '{selector}' asks for none; set theory: exact")


def probed_clients(
    loaded: Loaded, clients: Sequence[ClientId], layers: LayerMap, probe: ProbePlan
) -> frozenset[ClientId]:
    """Return the clients that the selector ever probes, once their probes are known to be what is asked for.

    Raises:
        ConfigError: A probe is too small for the score, or sketches are asked for and no probes.
    """
    config, selector = loaded.config, loaded.components.selector
    state, rounds = selector.init(layers), min(config.train.rounds, _AHEAD)
    probed = frozenset(c for r in range(rounds) for c in selector.probes(r, clients, state))
    if probed:
        loaded.at(("probe",), lambda: _check_probe(probe))
    if config.theory == "sketch":
        loaded.at(("theory",), lambda: check_sketches(method_name(selector), probed))
    return probed


def _check_probe(probe: ProbePlan) -> None:
    """Refuse a probe of one row where the score compares rows.

    Raises:
        ConfigError: It is one row.
    """
    if probe.batches * probe.batch_size == 1 and not probe.statistics <= {Statistic.NORM}:
        raise ConfigError(
            "the score compares rows, so a probe needs at least 2; raise probe.batches or probe.batch_size"
        )
