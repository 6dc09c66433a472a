"""What a plan may hold at a site: every key of it is held to its type and to a range, one that comes tomorrow too."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from fedstrata.deploy.site.request_check import check_request
from fedstrata.domain.ids import ClientId
from fedstrata.domain.training import ANEW, marked
from fedstrata.errors import ClientError
from fedstrata.wire.messages import Evaluate, Probe, ProbePlan, Train, TrainPlan
from toys import toy_model

ODD = ("7", True, float("nan"), float("inf"), -1, 1e30, ["adamw"], b"", 10**4000)


def asked(plan: TrainPlan | ProbePlan) -> None:
    client = ClientId("a")
    request = Train(client, 0, {}, frozenset(), plan) if isinstance(plan, TrainPlan) else Probe(client, 0, {}, plan)
    check_request(request, toy_model().layers)


def changed(key: str, value: object) -> Any:  # noqa: ANN401  a value of any type
    return {key: value}


@pytest.mark.parametrize("plan", [TrainPlan(), ProbePlan()], ids=["train", "probe"])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_no_key_of_a_plan_takes_what_is_odd(plan: TrainPlan | ProbePlan, odd: object) -> None:
    for field in fields(plan):
        with pytest.raises(ClientError, match=rf"the plan has (train|probe)\.{field.name}: .*; it is "):
            asked(replace(plan, **changed(field.name, odd)))


@pytest.mark.parametrize(
    ("key", "ends", "beyond"),
    [
        ("steps", (1, 1_000_000, None), (0, 1_000_001, 1.0)),
        ("epochs", (1, 1_000_000), (0, 1_000_001)),
        ("batch_size", (0, 2**31 - 1), (-1, 2**31, None)),
        ("optimizer", ("sgd", "momentum", "adamw"), ("adam", None)),
        ("lr", (0, 1000.0), (-1e-300, 1000.1, None)),
        ("always_lr", (0.0, 1000, None), (-1e-300, 1000.1)),
        ("momentum", (0, 0.9999), (-0.1, 1.0, None)),
        ("weight_decay", (0, 10), (-1e-9, 10.1, None)),
        ("clip_norm", (1e-12, 1e12, None), (0.0, 1e-13, 1.1e12)),
        ("precision", ("auto", "fp32", "bf16", "fp16"), ("fp8", None)),
    ],
)
def test_the_ends_of_a_range_count(key: str, ends: tuple[Any, ...], beyond: tuple[Any, ...]) -> None:
    for value in ends:
        asked(replace(TrainPlan(lr=0.0), **{key: value}))
    for value in beyond:
        with pytest.raises(ClientError):
            asked(replace(TrainPlan(lr=0.0), **{key: value}))


def test_a_number_without_a_range_is_refused() -> None:
    @dataclass(frozen=True)
    class Tomorrow(TrainPlan):
        nesterov: float = 0.5

    with pytest.raises(ClientError, match=r"the plan has train\.nesterov: 0\.5; it is a number"):
        asked(Tomorrow())


def test_a_plan_ends_and_leaves_most_of_every_weight() -> None:
    with pytest.raises(ClientError, match="neither steps nor epochs"):
        asked(TrainPlan(epochs=None))
    with pytest.raises(ClientError, match=r"is 0\.2, and 0\.1 is the most"):
        asked(TrainPlan(lr=0.1, weight_decay=2.0))


def test_what_cuts_rows_into_steps_never_changes_within_a_run() -> None:
    assert set(marked(TrainPlan, ANEW)) == {"lr", "always_lr", "momentum", "weight_decay", "clip_norm"}


def test_a_site_is_not_evaluated_together_with_others() -> None:
    alone = Evaluate(ClientId("a"), 0, {})
    check_request(alone, toy_model().layers)
    for together in (("a",), ("a", "b")):
        with pytest.raises(ClientError, match="and a site has its own rows alone"):
            check_request(replace(alone, together=tuple(map(ClientId, together))), toy_model().layers)
