"""Clients that stand out are named; honest ones are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import ClientRecord, RoundRecord
from fedstrata.report.blocks import Note
from fedstrata.report.outliers import FEWEST, Outlier, outliers
from fedstrata.report.sections.fairness import fairness
from fedstrata.runs.read_events import read_log
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Log, RunHeader
from fedstrata.selectors.ends import Full
from fedstrata.server.setting import Setting
from report.synthetic_run import write_run
from small_runs import toy_run
from toy_runs import toy_engine, toy_setting
from toys import toy_clients, toy_model

HEADER = RunHeader("m", 0, "x", "y", ("l.0",), always=("head",))


def log_of(losses: np.ndarray, norms: np.ndarray | None = None) -> Log:
    """Return a log of rounds with these losses, ``[rounds, clients]``; not a number is a client that was not asked."""
    sizes = np.ones_like(losses) if norms is None else norms
    rounds = []
    for t, (row, size) in enumerate(zip(losses, sizes, strict=True), start=1):
        clients = tuple(
            ClientRecord(
                t, ClientId(f"c{i:03}"), 10, loss_mean=float(x), update_norms={"head": float(s), "l.0": 50.0 * i}
            )
            for i, (x, s) in enumerate(zip(row, size, strict=True))
            if np.isfinite(x)
        )
        rounds.append(RoundRecord(t, clients, ()))
    return Log(HEADER, rounds=tuple(rounds))


@pytest.mark.parametrize("clients", [8, 10, 30, 100])
@pytest.mark.parametrize("spread", [0.02, 0.15, 0.5])
def test_honest_clients_are_hardly_ever_named(clients: int, spread: float) -> None:
    """Each client has a level of its own and noise in every round; at most 6 of 150 runs may name one."""
    rng = np.random.default_rng([clients, int(100 * spread)])
    alarms = 0
    for _ in range(150):
        level = rng.normal(0, spread, size=clients)
        losses = np.exp(level + rng.normal(0, spread, size=(4, clients)) - np.arange(4)[:, None] / 4)
        alarms += bool(outliers(log_of(losses, np.exp(rng.normal(0, spread, size=(4, clients))))))
    assert alarms <= 6


@pytest.mark.parametrize("clients", [8, 10, 30])
def test_a_client_that_keeps_its_loss_is_named_with_the_others_median(clients: int) -> None:
    rng = np.random.default_rng(clients)
    losses = np.linspace(2.3, 0.5, 6)[:, None] * np.exp(rng.normal(0, 0.08, size=(6, clients)))
    losses[:, 3] = 2.3
    (found,) = outliers(log_of(losses))
    assert (found.client, found.what) == ("c003", "loss")
    assert found.others == pytest.approx(0.86, abs=0.15)
    assert str(found).startswith("c003 stands out: its training loss is ")
    assert str(found).endswith("; look at its labels")


def test_a_client_with_large_updates_is_named() -> None:
    norms = np.ones((4, 12))
    norms[:, 5] = 40.0
    (found,) = outliers(log_of(np.ones((4, 12)), norms))
    assert (found.client, found.what) == ("c005", "update")
    assert found.value == pytest.approx(40.0)
    assert found.others == pytest.approx(1.0)


def test_a_client_that_was_asked_now_and_then_is_compared_with_those_of_its_rounds() -> None:
    losses = np.repeat(np.linspace(2.0, 0.4, 8)[:, None], 12, axis=1)
    losses[:7, 2] = np.nan
    losses[7, 2] = 2.0
    losses[:, 3:7][::2] = np.nan
    assert [found.client for found in outliers(log_of(losses))] == ["c002"]


@pytest.mark.parametrize("clients", [0, 1, FEWEST - 1])
def test_of_few_clients_nobody_is_named(clients: int) -> None:
    losses = np.ones((4, clients))
    losses[:, :1] = 50.0
    assert outliers(log_of(losses)) == ()


def shuffled(tmp_path: Path, *, labels: bool) -> Path:
    """Play ten clients on a model that learns; two labels of one may be exchanged.

    Few local steps: in many, a client with labels of its own learns them anew in every round, and its loss falls too.
    """
    model, clients = toy_model(), toy_clients({f"c{i}": 40 for i in range(10)})
    if labels:
        rows = clients[ClientId("c4")]
        torch.manual_seed(0)
        mixed = rows.rows.labels.clone()
        mixed[rows.train] = 2 - mixed[rows.train]
        clients[ClientId("c4")] = replace(rows, rows=replace(rows.rows, labels=mixed))
    run, weights = toy_run(tmp_path, rounds=20)
    plan = replace(run.setting.train, steps=2, epochs=None, batch_size=0, lr=0.5)
    setting: Setting = toy_setting(model, clients, selector=Full(), train=plan)
    replace(run, setting=setting, engine=toy_engine(model, clients)).start(weights)
    return tmp_path


@pytest.mark.parametrize("labels", [True, False])
def test_a_client_with_wrong_labels_is_named_in_a_real_run_and_nobody_else(tmp_path: Path, *, labels: bool) -> None:
    log = read_log(shuffled(tmp_path, labels=labels) / "events.jsonl")
    assert [found.client for found in outliers(log) if found.what == "loss"] == (["c4"] if labels else [])


def test_the_report_names_it(tmp_path: Path) -> None:
    def odd(record: RoundRecord) -> RoundRecord:
        clients = tuple(replace(c, loss_mean=9.0) if c.client == "client-04" else c for c in record.clients)
        return replace(record, clients=clients)

    blocks = fairness(read_run(write_run(tmp_path / "a", rounds=4, change=odd)))
    notes = [block.text for block in blocks if isinstance(block, Note)]
    assert "client-04 stands out: its training loss is 9 where the median client has 1.7; look at its labels." in notes


def test_it_is_a_sentence() -> None:
    assert str(Outlier("a", "update", 40.0, 1.0)) == (
        "a stands out: the norm of its updates is 40 where the median client has 1; look at its rows and its values"
    )
