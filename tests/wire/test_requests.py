"""Requests survive JSON to the last bit, without their weights."""

from __future__ import annotations

import json

import pytest

from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.ids import ClientId
from fedstrata.domain.stats import Statistic
from fedstrata.wire.messages import Evaluate, Origin, Probe, ProbePlan, Request, Train, TrainPlan
from fedstrata.wire.requests import from_json, to_json
from fedstrata.wire.sizes import Encoding
from toys import toy_model

A = ClientId("ä/1")
ORIGIN = Origin("run", 2, "f" * 64)
WEIGHTS = toy_model().weights()
PLAN = TrainPlan(
    epochs=3,
    batch_size=0,
    optimizer="adamw",
    lr=0.1 + 0.2,
    always_lr=0.7,
    momentum=0.5,
    weight_decay=1e-300,
    clip_norm=1 / 3,
    precision="bf16",
    encoding=Encoding.INT8,
)

REQUESTS: list[Request] = [
    Probe(A, 0, WEIGHTS, ProbePlan()),
    Probe(A, 7, WEIGHTS, ProbePlan(0, 8, frozenset(Statistic), Hashing(2**63 - 1, 64)), ORIGIN),
    Train(A, 0, WEIGHTS, frozenset(), TrainPlan()),
    Train(A, 7, WEIGHTS, frozenset({11, 2, 0}), PLAN, ORIGIN),
    Train(A, 8, WEIGHTS, frozenset({1}), PLAN, ORIGIN, ProbePlan(0, 8, frozenset(Statistic))),
    Train(A, 8, WEIGHTS, frozenset({1}), PLAN, ORIGIN, states=()),
    Train(A, 8, WEIGHTS, frozenset({1}), PLAN, ORIGIN, states=((6, 2), (3, 0))),
    Evaluate(A, 7, WEIGHTS, ORIGIN),
    Evaluate(A, 8, WEIGHTS, ORIGIN, (A, ClientId("b"))),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{type(r).__name__}-{r.round}")
def test_a_request_comes_back_as_it_was(request_: Request) -> None:
    assert from_json(json.loads(json.dumps(to_json(request_))), WEIGHTS) == request_


def test_plans_come_back_with_their_types() -> None:
    probe, train = (from_json(json.loads(json.dumps(to_json(r))), WEIGHTS) for r in (REQUESTS[1], REQUESTS[3]))
    assert isinstance(probe, Probe)
    assert isinstance(train, Train)
    assert all(isinstance(s, Statistic) for s in probe.plan.statistics)
    assert train.plan.encoding is Encoding.INT8
    laden = from_json(json.loads(json.dumps(to_json(REQUESTS[4]))), WEIGHTS)
    assert isinstance(laden, Train)
    assert laden.probe is not None
    assert all(isinstance(s, Statistic) for s in laden.probe.statistics)


def test_weights_do_not_travel() -> None:
    assert len(json.dumps(to_json(REQUESTS[3]))) < 500


def test_an_unknown_phase_is_an_error() -> None:
    with pytest.raises(ValueError, match="no request is of the phase 'rest'"):
        from_json({**to_json(REQUESTS[0]), "phase": "rest"}, WEIGHTS)
