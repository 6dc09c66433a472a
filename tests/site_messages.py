"""Hostile messages that are well formed, and the files of sites that get them, for property-based tests."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fedstrata.domain.ids import ClientId
from fedstrata.wire.messages import Evaluate, Probe, ProbePlan, Request, Train, TrainPlan
from fedstrata.wire.requests import to_json
from hostile_site import CLIENT, LABELS, blobs, hostile_site, laid_out, manifest
from site_oracle import BEGINNINGS, Oracle

TERMS = sorted(BEGINNINGS)
RUNS = ("trial", "another")


def site_files() -> st.SearchStrategy[dict[str, Any]]:
    """Draw what a site's file says besides its rows."""
    limits = st.fixed_dictionaries(
        {},
        optional={
            "refuse": st.lists(st.sampled_from(TERMS), max_size=2),
            "scores": st.booleans(),
            "sketches": st.booleans(),
            "evaluate": st.booleans(),
            "min_rows": st.sampled_from((1, 2, 5, 8, 12)),
            "rounds": st.sampled_from((0, 1, 2)),
            "probes": st.sampled_from((0, 1, 2)),
            "evaluations": st.sampled_from((0, 1, 2)),
            "steps": st.sampled_from((1, 3, 10)),
            "lr": st.sampled_from((0.05, 1.0)),
        },
    )
    pin = st.fixed_dictionaries(
        {},
        optional={
            "always": st.sampled_from(([], ["embeddings"])),
            "units": st.sampled_from(("blocks", "halves")),
            "held_out": st.sampled_from((0.0, 0.2)),
            "candidates": st.sampled_from(("all", "first:3")),
        },
    )
    return st.fixed_dictionaries({}, optional={"limits": limits, "pin": pin})


@st.composite
def briefings(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a server says of a run."""
    model = draw(
        st.fixed_dictionaries(
            {"path": st.just("embedded:vit-digits")},
            optional={
                "candidates": st.sampled_from(("all", "first:3", "last:2", "1-4")),
                "always": st.sampled_from(([], ["embeddings"], "first:1", ["/layers.3/"])),
                "never": st.sampled_from(([], "last:1")),
                "units": st.sampled_from(("blocks", "halves")),
            },
        )
    )
    return {
        "seed": draw(st.sampled_from((0, 1, 2, 2**62))),
        "threads": 1,
        "labels": LABELS,
        "model": model,
        "data": {"held_out": draw(st.sampled_from((0.0, 0.03, 0.1, 0.11, 0.2, 0.5)))},
    }


PROBES = st.fixed_dictionaries(
    {
        "batches": st.sampled_from((0, 1, 2, 5)),
        "batch_size": st.sampled_from((1, 5, 8, 13, 40)),
        "statistics": st.sampled_from((["norm"], ["halves"], ["norm", "samples"])),
        "sketch": st.sampled_from((None, None, {"seed": 0, "dimension": 16})),
        "prefix": st.sampled_from((None, None, "fp32")),
    }
)
SOUND: dict[str, Request] = {
    "probe": Probe(ClientId(CLIENT), 0, {}, ProbePlan()),
    "train": Train(ClientId(CLIENT), 0, {}, frozenset(), TrainPlan()),
    "evaluate": Evaluate(ClientId(CLIENT), 0, {}),
}
"""Requests of the right form, in which drawn values are put: others are refused before anything is done with them."""
LENGTHS = st.sampled_from(
    [(n, None) for n in (1, 2, 3, 9)] + [(None, n) for n in (1, 2)] + [(None, None), (2**40, None), (4, 1)]
)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a plan of training."""
    steps, epochs = draw(LENGTHS)
    return {
        "steps": steps,
        "epochs": epochs,
        "batch_size": draw(st.sampled_from((0, 1, 2, 5, 8, 9, 20, 36, 37, 38))),
        "optimizer": draw(st.sampled_from(("sgd", "adamw", "adamw2"))),
        "lr": draw(st.sampled_from((0.01, 0.1, 1.0, 1e300))),
        "always_lr": draw(st.sampled_from((None, None, 0.5, 50.0))),
        "momentum": draw(st.sampled_from((0.9, 0.0, 1.0))),
        "weight_decay": draw(st.sampled_from((0.0, 0.0, 0.1, 1.0))),
        "clip_norm": draw(st.sampled_from((None, 1.0))),
        "precision": "auto",
        "dropout": draw(st.sampled_from(("all", "all", "trained", "none"))),
        "prefix": draw(st.sampled_from((None, None, "fp32", "bf16", "fp8"))),
        "encoding": draw(st.sampled_from(("float32", "int8"))),
    }


@st.composite
def messages(draw: st.DrawFn, asked: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Draw a message and the blobs that go with it, about one of some runs."""
    run_spec = draw(st.sampled_from(asked))
    said = {"run": draw(st.sampled_from(RUNS)), "run_spec": run_spec, "nonce": "n"}
    client = draw(st.sampled_from((CLIENT, CLIENT, CLIENT, "other")))
    phase = draw(st.sampled_from(("join", "train", "train", "probe", "evaluate", "evaluate")))
    if phase == "join":
        return {**said, "kind": "join", **({"client": client} if draw(st.booleans()) else {})}, {}
    origin = {"run": "r", "attempt": draw(st.sampled_from((0, 0, 1))), "base": "b"}
    request = {
        **to_json(SOUND[phase]),
        "client": client,
        "round": draw(st.sampled_from((0, 1, 2, 7))),
        "origin": origin,
    }
    names = list(laid_out(run_spec["model"]).names)
    if phase == "train":
        request |= {
            "mask": draw(st.lists(st.integers(-1, len(names)), max_size=3, unique=True)),
            "plan": draw(plans()),
            "probe": draw(st.one_of(st.none(), PROBES)),
        }
    elif phase == "probe":
        request["plan"] = draw(PROBES)
    else:
        request["together"] = draw(st.sampled_from(([], [], [CLIENT], [CLIENT, "other"])))
    listed = manifest(run_spec["model"])
    heads = blobs([name for name in listed if name not in names], run_spec["model"])
    return json.loads(json.dumps({**said, "kind": "work", "request": request, "manifest": listed})), heads


def held_against_its_file(data: st.DataObject, most: int) -> int:
    """Send drawn messages to a drawn site, check every answer, and return how many left that tell of rows."""
    keys = data.draw(site_files())
    with (
        tempfile.TemporaryDirectory() as folder,
        hostile_site(Path(folder) / "ward", **keys) as site,
    ):
        oracle, asked = Oracle(site, keys), data.draw(st.lists(briefings(), min_size=1, max_size=2))
        for said, heads in data.draw(st.lists(messages(asked), min_size=1, max_size=most)):
            before = len(site.used)
            oracle.check(said, site.ask(said, heads), before)
        return len(oracle.answered)
