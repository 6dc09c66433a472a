"""No two answers of a site differ by fewer rows than its file asks for, however a server asks."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

from fedstrata.data.tensors import ClientRows
from fedstrata.deploy.site.rows import in_groups
from fedstrata.domain.ids import ClientId
from fedstrata.wire.messages import Origin, Train, TrainPlan
from fedstrata.wire.requests import to_json
from hostile_site import CLIENT, LABELS, ROWS, HostileSite, blobs, hostile_site, laid_out, manifest

LEAST = 8
MODEL = {"path": "embedded:vit-digits"}


def ask(site: HostileSite, *, seed: int = 3, held_out: float = 0.2, **request: Any) -> None:  # noqa: ANN401
    run_spec = {"seed": seed, "threads": 1, "labels": LABELS, "model": MODEL, "data": {"held_out": held_out}}
    origin = {"run": "r", "attempt": 0, "base": "b"}
    said = {"client": CLIENT, "round": 1, "origin": origin, **request}
    run = str((seed, held_out, request))[:200]  # another run each time
    site.ask(
        {"kind": "work", "run": run, "run_spec": run_spec, "request": said, "manifest": manifest(MODEL)},
        blobs([block.name for block in laid_out(MODEL).always], MODEL),
    )


def training(**plan: Any) -> dict[str, Any]:  # noqa: ANN401
    usual = TrainPlan(steps=1, epochs=None, batch_size=LEAST, lr=0.1)
    said = to_json(Train(ClientId(CLIENT), 1, {}, frozenset({1}), usual, Origin("r", 0, "b")))
    return {**said, "plan": {**said["plan"], **plan}}


@pytest.mark.parametrize(
    "asked",
    [
        [training(steps=n, batch_size=1) for n in (1, 2, 3)],
        [training(steps=n) for n in (1, 2, 3)],
        [training(batch_size=n) for n in (LEAST, LEAST + 1, 2 * LEAST, ROWS - 1, ROWS, 0)],
        [training() | {"seed": seed} for seed in range(5)],
        [training() | {"round": number} for number in range(5)],
        [training(batch_size=0) | {"held_out": share} for share in (0.0, 0.03, 0.2, 0.23, 0.5)],
        [{"phase": "evaluate", "together": [], "held_out": share} for share in (0.03, 0.2, 0.23, 0.5, 0.9)],
        [{"phase": "evaluate", "together": [], "seed": seed} for seed in range(5)],
        [
            {
                "phase": "probe",
                "plan": {"batches": n, "batch_size": LEAST, "statistics": ["halves"], "sketch": None, "prefix": None},
            }
            for n in (1, 2, 3, 0)
        ],
    ],
    ids=["single rows", "steps", "batch sizes", "seeds", "rounds", "shares", "evaluations", "splits", "halves"],
)
def test_answers_cannot_be_subtracted_down_to_fewer_rows(tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    with hostile_site(tmp_path / "ward", limits={"min_rows": LEAST}) as site:
        for request in asked:
            ask(site, **request)
        steps = {step for used in site.used for step in used.steps}
        single = asked[0].get("plan", {}).get("batch_size") == 1
        assert bool(steps) is not single  # of single rows nothing is computed at all
        for one, other in combinations(steps, 2):
            assert all(not part or len(part) >= LEAST for part in (one - other, other - one, one & other))


def test_without_groups_rows_stay_as_they_are() -> None:
    rows = ClientRows(None, torch.arange(5), torch.arange(5, 7))  # type: ignore[arg-type]
    assert in_groups(rows, 1, held_out=0.5) is rows


@pytest.mark.parametrize(
    ("count", "share", "apart"), [(37, 0.2, 8), (37, 0.0, 0), (37, 0.9, 24), (9, 0.5, 0), (5, 0.5, 0)]
)
def test_whole_groups_are_held_out_and_one_is_left(count: int, share: float, apart: int) -> None:
    rows = ClientRows(None, torch.arange(count), torch.arange(0))  # type: ignore[arg-type]
    found = in_groups(rows, LEAST, held_out=share)
    assert (len(found.held_out), len(found.train)) == (apart, count - apart)
    assert sorted([*found.train.tolist(), *found.held_out.tolist()]) == list(range(count))


def test_groups_follow_from_the_rows_alone_however_they_were_divided() -> None:
    order = torch.randperm(37, generator=torch.Generator().manual_seed(5))
    one = in_groups(ClientRows(None, torch.arange(37), torch.arange(0)), LEAST, held_out=0.2)  # type: ignore[arg-type]
    two = in_groups(ClientRows(None, order[5:], order[:5]), LEAST, held_out=0.2)  # type: ignore[arg-type]
    assert torch.equal(one.train, two.train)
    assert torch.equal(one.held_out, two.held_out)
