"""Every round's error, measured: within its bound, and no bit of the run is another for it."""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import pytest

from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import RoundRecord, TheoryRecord
from fedstrata.runs.read_events import read_log
from fedstrata.selectors.bound import Bound
from fedstrata.selectors.common import Common
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Both, Bottom, Full, HeadOnly, Top
from fedstrata.selectors.fixed import FixedLayers
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.periodic import Periodic
from fedstrata.selectors.protocol import Selector
from fedstrata.selectors.random import Random
from fedstrata.selectors.warmup import Warmup
from fedstrata.server.rules import Rules
from gradients import error_terms, explicit
from small_runs import SIZES, after, essence, toy_run
from toys import BLOCKS, same_bits, toy_clients, toy_model

SELECTORS: list[Selector] = [
    Full(),
    HeadOnly(),
    Top(),
    Bottom(),
    Both(),
    FixedLayers("1"),
    Random(),
    Independent(),
    Common(),
    Consensus(),
    Consensus(rho=inf),
    Consensus(rho=-1.0),
    Bound(),
    Periodic(every=2, inner=Independent()),
    Warmup(rounds=1, inner=Random()),
]


def rounds_of(path: Path) -> tuple[RoundRecord, ...]:
    return read_log(path / "events.jsonl").rounds


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_every_round_is_within_its_bound(selector: Selector, tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, selector=selector, exact=True, budget=3 if selector == Full() else 1, per_round=3)
    run.start(weights)
    for record in rounds_of(tmp_path):
        theory = record.theory
        assert theory is not None
        assert not theory.estimated
        assert theory.error <= theory.bound * (1 + 1e-9)
        assert [one.data_mass for one in theory.layers] == [one.data_mass for one in record.layers[:BLOCKS]]
        assert theory.missing_layers == sum(one.gradient_sq for one in theory.layers if one.data_mass == 0)
        assert (theory.bound == 0) == (selector == Full())


def test_the_first_round_by_every_gradient_written_out(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, selector=Random(), exact=True, rounds=1)
    run.start(weights)
    (record,) = rounds_of(tmp_path)
    gradients, losses = explicit(toy_model(), toy_clients(SIZES, held_out=3))
    shares = np.array([12, 6, 9, 7]) / 34
    masks = np.array([[layer in client.mask for layer in range(BLOCKS)] for client in record.clients])
    terms, theory = error_terms(gradients, shares, masks), record.theory
    assert theory is not None
    assert theory.error == pytest.approx(terms.error, rel=1e-5)
    assert theory.missing_layers == pytest.approx(terms.missing_layers, rel=1e-5)
    assert theory.wrong_weights == pytest.approx(terms.wrong_weights, rel=1e-5)
    assert theory.loss_before == pytest.approx(float(shares @ losses), rel=1e-6)


def test_a_round_ends_where_the_next_begins(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, exact=True)
    run.start(weights)
    first, second, third = (record.theory for record in rounds_of(tmp_path))
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.loss_after, second.loss_after) == pytest.approx((second.loss_before, third.loss_before))


def test_measuring_changes_no_bit_of_the_run(tmp_path: Path) -> None:
    found = []
    for exact in (False, True):
        run, weights = toy_run(tmp_path / str(exact), selector=Consensus(), exact=exact, dropout=0.5, per_round=2)
        result = run.start(weights)
        log = essence(tmp_path / str(exact))
        for event in log["events"]:
            assert (event.pop("theory", None) is not None) == (exact and event["event"] == "round")
        found.append((log, {name: tensor.tolist() for name, tensor in result.weights.items()}))
    assert found[0] == found[1]


def test_sketches_estimate_what_is_exact(tmp_path: Path) -> None:
    """One run, measured both ways: a sketch of 4,096 numbers for 42 coordinates is off by a few percent."""
    run, weights = toy_run(tmp_path, selector=Consensus(), exact=True, sketch=4096)
    exact: list[TheoryRecord] = []
    run.start(weights)
    exact += [record.theory for record in rounds_of(tmp_path) if record.theory]
    run, weights = toy_run(tmp_path / "sketch", selector=Consensus(), sketch=4096)
    run.start(weights)
    for one, record in zip(exact, rounds_of(tmp_path / "sketch"), strict=True):
        other = record.theory
        assert other is not None
        assert other.estimated
        assert other.error <= other.bound * (1 + 1e-9)
        assert (other.error, other.missing_layers, other.wrong_weights) == pytest.approx(
            (one.error, one.missing_layers, one.wrong_weights), rel=0.1
        )


def test_rounds_without_probes_are_not_estimated(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, selector=Periodic(every=2, inner=Consensus()), sketch=16, rounds=4)
    run.start(weights)
    assert [record.theory is not None for record in rounds_of(tmp_path)] == [True, False, True, False]


def test_rounds_in_which_only_some_are_probed_are_not_estimated(tmp_path: Path) -> None:
    selector = Periodic(every=2, inner=Consensus())
    run, weights = toy_run(tmp_path, selector=selector, sketch=16, rounds=5, per_round=3)
    run.start(weights)
    probed = [sum(bool(client.scores) for client in record.clients) for record in rounds_of(tmp_path)]
    assert [record.theory is not None for record in rounds_of(tmp_path)] == [count == 3 for count in probed]
    assert {1, 2} & set(probed)


def test_the_selector_of_least_bound_has_the_bound_that_it_chose(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, selector=Bound(sketch=64))
    run.start(weights)
    for record in rounds_of(tmp_path):
        assert record.theory is not None
        assert record.certificate is not None
        assert record.theory.bound == pytest.approx(-float(record.certificate["objective"]), rel=1e-6)
        assert record.certificate["rule"] == "enumeration"


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_run_by_sketches_that_piggyback_is_resumed_to_the_same_bits(tmp_path: Path, stop_after: int) -> None:
    run, weights = toy_run(tmp_path / "whole", selector=Bound(sketch=16), rounds=4, piggyback=True)
    whole = run.start(weights)
    path = tmp_path / "parts"
    run, weights = toy_run(path, selector=Bound(sketch=16), rounds=4, piggyback=True, stop=after(stop_after))
    run.start(weights)
    run, weights = toy_run(path, selector=Bound(sketch=16), rounds=4, piggyback=True)
    assert same_bits(run.resume(weights).weights, whole.weights)
    assert [r.certificate for r in rounds_of(path)] == [r.certificate for r in rounds_of(tmp_path / "whole")]


def test_a_layer_below_its_quorum_is_a_missing_one(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, selector=Top(), exact=True, rounds=1, rules=Rules(layer_quorum=5))
    run.start(weights)
    (record,) = rounds_of(tmp_path)
    assert record.theory is not None
    assert record.theory.wrong_weights == 0
    assert record.theory.error == pytest.approx(record.theory.missing_layers)
    assert record.theory.missing_layers == pytest.approx(sum(one.gradient_sq for one in record.theory.layers))


def test_only_clients_whose_update_counted_are_looked_at(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, exact=True, rounds=1, per_round=2)
    run.start(weights)
    (record,) = rounds_of(tmp_path)
    assert record.theory is not None
    assert run.instrument is not None
    (a, b) = [client.client for client in record.clients]
    share = SIZES[a] / (SIZES[a] + SIZES[b])
    wanted = run.instrument.loss(weights, {ClientId(a): share, ClientId(b): 1 - share})
    assert record.theory.loss_before == pytest.approx(wanted, rel=1e-6)
