"""Configurations by number: a small sound one with none to four edits, which are sound, contradictory, or junk."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import date
from math import inf, nan
from random import Random
from typing import Any

from fedstrata.config.schema import Config

GOOD: Mapping[str, Any] = {
    "model": {"path": "fuzznet:tiny"},
    "data": {"kind": "digits", "held_out": 0.1, "partition": {"kind": "iid", "clients": 3}},
    "cost": "layers",
    "selector": {"kind": "consensus"},
    "budget": {"kind": "fixed", "layers": 1},
    "probe": {"batch_size": 8},
    "train": {"rounds": 2, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"},
    "output": "out",
}

SOUND: Mapping[str, tuple[Any, ...]] = {
    "name": ("mine", "Mein Verfahren", "方法-1", "a.b"),
    "model.candidates": ("all", "0", "0-1", [0, 2], "-1", "layers.1"),
    "model.always": ([], "head", ["layers.2"]),
    "model.never": ("layers.0", []),
    "model.blocks": ("layers", None),
    "model.task": ("image-classification",),
    "data.shift": ("none", "input", "label"),
    "data.held_out": (0, 0.0, 0.5),
    "data.partition": (
        {"kind": "dirichlet", "clients": 3, "alpha": 0.5},
        {"kind": "shard", "clients": 2},
        {"kind": "iid", "clients": 1},
    ),
    "score": ("gradient-norm", {"kind": "gradient-norm", "unbiased": True}, "relative-gradient-norm"),
    "budget": (1, 2, "unlimited", {"kind": "half-normal", "low": 1, "high": 3}, {"layers": "50%"}, None),
    "budget.layers": (0.5, 2, 3, 100, "100%"),
    "sampler": ("uniform", {"kind": "uniform", "clients_per_round": 2}),
    "selector": (
        "full",
        "head-only",
        "top",
        "bottom",
        "both",
        "random",
        "independent",
        "common",
        {"kind": "fixed", "layers": "0"},
        {"kind": "consensus", "rho": inf},
        {"kind": "consensus", "rho": -0.5},
        {"kind": "periodic", "every": 2, "inner": "consensus"},
        {"kind": "warmup", "rounds": 1, "inner": {"kind": "top"}},
    ),
    "trainer": (
        "sgd",
        {"kind": "fedprox", "mu": 0.1},
        {"kind": "augmented", "shift": 1, "randaugment": 1, "inner": "fedprox"},
    ),
    "aggregator": ("layerwise-mean", {"kind": "layerwise-mean", "server_lr": 0.5}),
    "below_budget": ("head-only", "error"),
    "probe.batches": (0, 1, 3),
    "probe.piggyback": (True, False),
    "train.epochs": (1,),
    "train.batch_size": (0, 1, 64),
    "train.optimizer": ("sgd", "momentum", "adamw"),
    "train.lr_decay": (0.5, 1),
    "train.always_lr": (0.1, "auto", None),
    "train.clip_norm": (1.0, None),
    "train.precision": ("auto", "fp32", "bf16"),
    "round.quorum": (1, 2, 3, 0.5, 1.0),
    "round.layer_quorum": (1, 2),
    "round.deadline": (60, None, {"train": 60.0}, {"probe": 1e6, "evaluate": 60}),
    "round.retries": (0, 1),
    "round.on_abandon": ("stop", "skip"),
    "round.keep_updates": ("auto", True, False),
    "upload.encoding": ("float32", "bf16", "fp16", "int8"),
    "upload.max_norm": (1e6, 10),
    "evaluate.every": (1, 2, 50),
    "checkpoint.every": (1, 2, 50),
    "output": ("runs/here", "a b", "ausgänge/für-alle", None, "../beside"),
    "seed": (0, 7, 2**63 - 1),
    "threads": (1, 2),
    "device": ("auto", "cpu"),
}
"""Values that a key may have; not all of them go together."""

ODD_PATHS = ("~nobody/x", "x" * 300, "/proc/self/mem", "fuzznet.py", "../x", "~")
CONTRADICTIONS: tuple[Mapping[str, Any], ...] = (
    {"round.quorum": 4},
    {"round.layer_quorum": 4},
    {"round.quorum": 2, "sampler": {"kind": "uniform", "clients_per_round": 1}},
    {"round.quorum": 0},
    {"round.quorum": 1.5},
    {"round.deadline": 0},
    {"round.deadline": -5.0},
    {"round.deadline": {"train": 0}},
    {"round.deadline": {"lunch": 5}},
    {"train.epochs": 1, "train.steps": 1},
    {"sampler": {"kind": "uniform", "clients_per_round": 9}},
    {"budget": {"kind": "fixed", "layers": 0}},
    {"budget": {"kind": "fixed", "layers": 0.5}, "below_budget": "error"},
    {"budget": {"kind": "fixed", "bytes_up": 1}},
    {"budget": {"kind": "fixed", "seconds": 1}},
    {"budget": {"kind": "fixed", "bytes_up": "1 KiB"}},
    {"budget": {"kind": "half-normal", "low": 3, "high": 1}},
    {"budget": {"kind": "per-client", "clients": {"nobody": {"layers": 1}}}},
    {"budget": {"kind": "device"}},
    {"selector": "full", "budget": 1},
    {"selector": {"kind": "fixed", "layers": "7"}},
    {"selector": {"kind": "fixed", "layers": "all"}, "budget": 1},
    {"data.partition": {"kind": "iid", "clients": 100_000}},
    {"data.partition": {"kind": "iid", "clients": 0}},
    {"data.partition": {"kind": "dirichlet", "clients": 50, "alpha": 1e-3, "min_rows": 200}},
    {"data.partition": {"kind": "shard", "clients": 3, "shards_per_client": 10**6}},
    {"data.partition": {"kind": "natural-id", "column": "site"}},
    {"data.held_out": 1.0},
    {"data.kind": "files"},
    {"data": {"train": "rows.csv", "text": "note", "test_fraction": 0.2, "partition": {"kind": "iid", "clients": 2}}},
    {"model.path": "fuzznet:missing"},
    {"model.path": "fuzznet:broken"},
    {"model.path": "nowhere:tiny"},
    {"model.path": "./no/folder"},
    {"model.task": "text-classification"},
    {"model.candidates": "9"},
    {"model.candidates": "0", "model.never": "layers.0"},
    {"model.never": "head"},
    {"model.always": ["layers.0"], "model.never": ["layers.0"]},
    {"model.blocks": "no.such"},
    {"output": None, "name": "/../../../x"},
    {"output": None, "name": "a/b"},
    {"output": None, "name": "x" * 300},
    {"output": "~nobody/x"},
    {"output": "x" * 300},
    {"output": "fuzznet.py"},
    {"train.steps": 10**12},
    *({key: path} for key in ("model.path", "base", "devices", "budget.file", "data.train") for path in ODD_PATHS),
    {"devices": "laptop.json"},
    {"devices": {"default": "laptop.json"}},
    {"device": "cuda:9"},
    {"upload.max_norm": 1e-30},
    {"train.lr": 1e30},
    {"score": {"kind": "signal-to-noise"}, "probe.batch_size": 1},
    {"base": "elsewhere"},
    {"engine": "local", "workers": 2},
    {"threads": 0},
    {"seed": -1},
    {"seed": 2**63},
)
"""Edits that contradict the rest, or what there is."""

PATHS = (
    "../x",
    "/../../../x",
    "a/../../b",
    "~",
    "~nobody",
    ".",
    "..",
    "C:\\x",
    "..\\..\\x",
    "a:b",
    "os:system",
    "__main__:x",
)
TEXTS = (*PATHS, "", " ", "nul\0byte", "x" * 10_000, "ünï-çødé", "💥", "\ud800", "-", "null", "*", "a\nb", "\x1b[31m")
NUMBERS = (0, -1, 10**12, -(10**30), 10**400, 2**63, 0.0, -0.0, 0.1, -1.5, 1e-320, 1e308, inf, -inf, nan)
JUNK: tuple[Any, ...] = (
    *TEXTS,
    *NUMBERS,
    None,
    True,
    False,
    [],
    {},
    [None],
    [[[]]],
    ["a", 1, {}],
    {"kind": None},
    {"kind": "nothing"},
    {"kind": ["consensus"]},
    {"kind": "../x"},
    {"kind": "consensus", "inner": {"kind": {"kind": {}}}},
    {None: 1},
    {1: 2},
    {"": ""},
    {"a": {"b": {"c": [{}]}}},
    date(2026, 11, 24),
)
"""What no key should have to bear; some of it is sound in some places."""

KEYS = sorted(
    {
        *SOUND,
        *Config.model_fields,
        *(key for edits in CONTRADICTIONS for key in edits),
        "train.rounds",
        "train.steps",
        "train.lr",
        "train.momentum",
        "train.weight_decay",
        "probe.batch_size",
        "evaluate.batch_size",
        "model.head",
        "data.partition.kind",
        "data.partition.clients",
        "data.partition.alpha",
        "selector.kind",
        "selector.rho",
        "selector.time_limit",
        "selector.inner",
        "budget.kind",
        "budget.file",
        "sampler.clients_per_round",
        "aggregator.server_lr",
        "workers",
    }
)
UNKNOWN = ("lr", "Train", "selektor", "rounds", "", "x" * 1000, "ключ", "a.b", 7, None, "__class__", "model_config")


def configuration(number: int) -> dict[Any, Any]:
    """Return the configuration of a number: none to four edits, most often one or two."""
    random = Random(number)
    values: dict[Any, Any] = deepcopy(dict(GOOD))
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        edit(values, random)
    return values


def edit(values: dict[Any, Any], random: Random) -> None:
    """Change one thing."""
    match random.choice(("sound", "sound", "sound", "contradiction", "junk", "junk", "unknown", "drop")):
        case "sound":
            key = random.choice(sorted(SOUND))
            put(values, key, random.choice(SOUND[key]))
        case "contradiction":
            for key, value in random.choice(CONTRADICTIONS).items():
                put(values, key, value)
        case "junk":
            put(values, random.choice(KEYS), random.choice(JUNK))
        case "unknown":
            sections = [values, *(v for v in values.values() if isinstance(v, dict))]
            random.choice(sections)[random.choice(UNKNOWN)] = random.choice(JUNK)
        case _:
            values.pop(random.choice(list(values)) if values else None, None)


def put(values: dict[Any, Any], dotted: str, value: object) -> None:
    """Set a key; sections on the way that are no mappings become some."""
    *sections, last = dotted.split(".")
    for name in sections:
        inner = values.get(name)
        if isinstance(inner, str):
            inner = {"kind": inner}
        values[name] = inner if isinstance(inner, dict) else {}
        values = values[name]
    values[last] = deepcopy(value)
