"""P1, P2, P3, P8, P9, P10: what a round makes of the updates that count (the whole table: ``test_table.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.client.resident import ResidentModel
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import LayerMap, Mask, Role
from fedstrata.engines.clock import Deadline
from fedstrata.models.partition import partition
from fedstrata.runs.journal import MemoryJournal
from fedstrata.server.observers import Quiet
from fedstrata.server.quorum import with_quorum
from fedstrata.server.recorder import Recorder
from fedstrata.server.replies import Replies
from fedstrata.server.round import play_round
from fedstrata.server.rules import Rules
from fedstrata.server.run import initial_state
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.digests import raw
from fedstrata.wire.messages import TrainPlan, Update, Weights
from frames import block
from toy_runs import Assigned, toy_engine, toy_setting
from toys import copy_of, toy_clients, toy_model

MEAN = LayerwiseMean()
PROFILE = settings(max_examples=60, deadline=None, derandomize=True)


@dataclass(frozen=True, slots=True)
class Case:
    """Up to 8 clients, each with rows and a mask over up to 10 layers of one tensor each; a head for all."""

    layers: LayerMap
    rows: tuple[int, ...]
    masks: tuple[Mask, ...]

    @property
    def clients(self) -> list[ClientId]:
        return [ClientId(f"c{i}") for i in range(len(self.rows))]

    def trainers(self, index: int) -> list[int]:
        """Return who trained a block; the last index is the head."""
        return [c for c, mask in enumerate(self.masks) if index == len(self.layers) or index in mask]

    def blocks(self) -> list[tuple[int, TensorName]]:
        everything = (*self.layers.layers, *self.layers.always)
        return [(i, b.tensors[0].name) for i, b in enumerate(everything)]

    def updates(self, deltas: Sequence[Mapping[TensorName, Tensor]]) -> list[Update]:
        return [
            Update(c, 0, mask, {s.name: own[s.name] for s in self.layers.tensors_of(mask)}, rows, 1, 1.0, 1.0, 0.0)
            for c, rows, mask, own in zip(self.clients, self.rows, self.masks, deltas, strict=True)
        ]


@st.composite
def cases(draw: st.DrawFn, *, size: int = 3) -> Case:
    layers = LayerMap(
        tuple(block(f"h.{i}", w=(size,)) for i in range(draw(st.integers(1, 10)))),
        (block("head", Role.ALWAYS, w=(size,)),),
    )
    rows = draw(st.lists(st.integers(1, 1000), min_size=1, max_size=8))
    masks = [draw(st.frozensets(st.integers(0, len(layers) - 1))) for _ in rows]
    return Case(layers, tuple(rows), tuple(masks))


def whole(case: Case, rng: np.random.Generator) -> list[dict[TensorName, Tensor]]:
    """Return deltas of whole numbers up to 8: sums of them with up to 8000 rows are exact in float32."""
    names = zeros(case)
    return [{n: torch.from_numpy(rng.integers(-8, 9, t.shape)).float() for n, t in names.items()} for _ in case.rows]


def mean(case: Case, weights: Weights, updates: Sequence[Update]) -> Weights:
    return MEAN.apply(weights, iter(updates), MEAN.init(weights, case.layers))[0]


def zeros(case: Case, dtype: torch.dtype = torch.float32) -> dict[TensorName, Tensor]:
    return {s.name: torch.zeros(s.shape, dtype=dtype) for s in case.layers.tensors_of(case.layers.everything)}


def bits(weights: Weights) -> dict[TensorName, bytes]:
    return {name: bytes(raw(tensor)) for name, tensor in weights.items()}


@PROFILE
@given(case=cases(size=8))
def test_p1_weights_of_a_layer_are_the_shares_of_its_trainers_rows(case: Case) -> None:
    """Each client sends the unit vector of its own number, so what comes out are the weights themselves."""
    units = [{n: torch.eye(8, dtype=torch.float64)[c] for n in zeros(case)} for c in range(len(case.rows))]
    shares = mean(case, zeros(case, torch.float64), case.updates(units))
    for index, name in case.blocks():
        trainers, total = case.trainers(index), sum(case.rows[c] for c in case.trainers(index))
        found = [float(share) for share in shares[name]]
        assert min(found) >= 0
        assert all(found[c] == 0 for c in range(8) if c not in trainers)
        assert all(abs(float(Fraction(found[c]) - Fraction(case.rows[c], total))) <= 1e-12 for c in trainers)
        assert abs(float(sum(map(Fraction, found)) - bool(trainers))) <= 1e-12


ODD = (0x7FC00000, 0x7FC12345, 0xFFABCDEF, 0x80000000, 0x00000001, 0xFF800000, 0x3F800000)
"""Bits of float32: two quiet and one signalling NaN with payloads, -0.0, the least denormal, -inf, 1.0."""


def odd_weights(case: Case) -> dict[TensorName, Tensor]:
    words = np.array(ODD[: prod(zeros(case)[case.blocks()[0][1]].shape)], dtype=np.uint32)
    return {n: torch.from_numpy(words.view(np.float32).copy()) for n in zeros(case)}


@PROFILE
@given(case=cases(size=7), layer_quorum=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_p2_layers_without_quorum_keep_their_bits(case: Case, layer_quorum: int, seed: int) -> None:
    weights, updates = odd_weights(case), case.updates(whole(case, np.random.default_rng(seed)))
    before = bits(weights)
    rules = Rules(layer_quorum=layer_quorum)
    asked = {
        u.client: Assignment(u.client, 0, "train", blocks=case.layers.blocks(u.mask), mask=u.mask) for u in updates
    }
    journal = MemoryJournal(keep=True)
    for u in updates:
        journal.accept(asked[u.client], u, digest="", frame=None)
    counted = with_quorum(iter(updates), asked, journal=journal, recorder=a_ledger(), rules=rules)
    after = MEAN.apply(weights, counted, MEAN.init(weights, case.layers))[0]
    for index, name in case.blocks():
        if len(case.trainers(index)) < layer_quorum:
            assert bytes(raw(after[name])) == before[name]
    assert bits(weights) == before


def a_ledger() -> Recorder:
    model, clients = toy_model(), toy_clients({"a": 3})
    setting = toy_setting(model, clients)
    return Recorder(initial_state(setting, model.weights()), setting, list(clients))


class Tied(nn.Module):
    """Two matrices that are one, a normalisation with buffers, blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem = nn.Linear(4, 4, bias=False)
            self.norm = nn.BatchNorm1d(4)
            self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
            self.again = nn.Linear(4, 4, bias=False)
            self.head = nn.Linear(4, 3)
        self.again.weight = self.stem.weight

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.norm(self.again(self.stem(features)))
        for layer in self.blocks:
            hidden = torch.tanh(layer(hidden))
        logits: Tensor = self.head(hidden)
        return logits


@settings(max_examples=8, deadline=None, derandomize=True)
@given(masks=st.lists(st.frozensets(st.integers(0, 2)), min_size=3, max_size=3))
def test_p2_buffers_keep_their_bits_and_tied_weights_are_one_tensor(masks: list[Mask]) -> None:
    net = Tied()
    model = ResidentModel(net, partition(net))
    names = [s.name for s in model.layers.tensors_of(model.layers.everything)]
    assert len(names) == len(set(names))
    assert len({model.weights()[n].data_ptr() for n in names}) == len(names)
    buffers = {TensorName(n): b.clone() for n, b in net.named_buffers()}
    before = bits(model.weights())
    clients = toy_clients({"a": 12, "b": 6, "c": 9})
    setting = toy_setting(model, clients, selector=Assigned(dict(zip(clients, masks, strict=True))))
    after, _ = play_round(initial_state(setting, model.weights()), setting, toy_engine(model, clients), Quiet())
    assert bits({TensorName(n): b for n, b in net.named_buffers()}) == bits(buffers)
    trained = {s.name for mask in masks for s in model.layers.tensors_of(mask)}
    assert all((bits(after.weights)[n] == before[n]) or n in trained for n in names)


@PROFILE
@given(case=cases(), seed=st.integers(0, 2**32 - 1), order=st.randoms(use_true_random=False))
def test_p3_the_order_in_which_messages_come_changes_no_bit(case: Case, seed: int, order: object) -> None:
    rng = np.random.default_rng(seed)
    deltas = [
        {n: torch.from_numpy(rng.normal(size=t.shape)).float() for n, t in zeros(case).items()} for _ in case.rows
    ]
    updates = case.updates(deltas)
    shuffled = list(updates)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    start = zeros(case)
    assert bits(mean(case, start, list(delivered(case, updates)))) == bits(
        mean(case, start, list(delivered(case, shuffled)))
    )


def delivered(case: Case, messages: Sequence[Update]) -> Iterator[Update]:
    """Yield the updates as an replies hands them on that gets them in this order."""
    masks = dict(zip(case.clients, case.masks, strict=True))
    asked = [Assignment(c, 0, "train", mask=m, blocks=case.layers.blocks(m)) for c, m in masks.items()]
    replies = Replies(asked, journal=MemoryJournal(), deadline=Deadline(), population=masks, lost=lambda *_: None)
    for message in messages:
        replies.receive(message)
        yield from (one.reply for one in replies.ready() if isinstance(one.reply, Update))


@PROFILE
@given(case=cases(), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_p8_messages_that_come_up_to_five_times_count_once(case: Case, seed: int, data: st.DataObject) -> None:
    updates = case.updates(whole(case, np.random.default_rng(seed)))
    times = data.draw(st.lists(st.integers(1, 5), min_size=len(updates), max_size=len(updates)))
    repeated = data.draw(st.permutations([u for u, n in zip(updates, times, strict=True) for _ in range(n)]))
    start, got = zeros(case), list(delivered(case, repeated))
    assert [u.client for u in got] == case.clients
    assert bits(mean(case, start, got)) == bits(mean(case, start, updates))


@PROFILE
@given(case=cases(), seed=st.integers(0, 2**32 - 1), exponent=st.integers(-8, 8), sign=st.sampled_from([1.0, -1.0]))
def test_p9_the_mean_of_scaled_deltas_is_the_scaled_mean(case: Case, seed: int, exponent: int, sign: float) -> None:
    """Powers of two scale without rounding, so both sides agree to the bit."""
    deltas, scale = whole(case, np.random.default_rng(seed)), sign * 2.0**exponent
    scaled = [{n: d * scale for n, d in own.items()} for own in deltas]
    plain = mean(case, zeros(case), case.updates(deltas))
    assert all(
        torch.equal(moved, plain[name] * scale) for name, moved in mean(case, zeros(case), case.updates(scaled)).items()
    )


@PROFILE
@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_p9_the_mean_is_the_mean_of_fractions_rounded_once(case: Case, seed: int) -> None:
    deltas = whole(case, np.random.default_rng(seed))
    after = mean(case, zeros(case), case.updates(deltas))
    for index, name in case.blocks():
        trainers = case.trainers(index)
        for at, value in enumerate(after[name].tolist()):
            total = sum(case.rows[c] for c in trainers) or 1
            exact = sum((Fraction(case.rows[c] * int(deltas[c][name][at]), total) for c in trainers), Fraction(0))
            assert value == float(np.float32(np.float64(exact.numerator) / np.float64(exact.denominator)))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(copies=st.integers(1, 8), rows=st.integers(3, 12), mask=st.frozensets(st.integers(0, 2)))
def test_p10_identical_clients_are_one_centralised_step(copies: int, rows: int, mask: Mask) -> None:
    one = next(iter(toy_clients({"a": rows}).values()))
    clients = {ClientId(f"c{i}"): one for i in range(copies)}
    model = toy_model()
    plan = TrainPlan(steps=1, epochs=None, batch_size=0, lr=0.1)
    setting = toy_setting(model, clients, selector=Assigned(dict.fromkeys(clients, mask)), train=plan)
    after, _ = play_round(initial_state(setting, model.weights()), setting, toy_engine(model, clients), Quiet())
    start = copy_of(toy_model().weights())
    net = toy_model().module.requires_grad_(requires_grad=True)
    inputs, labels = one.rows.take(torch.arange(rows))
    nn.functional.cross_entropy(net(inputs["features"]), labels).backward()
    trained = {s.name for s in model.layers.tensors_of(mask)}
    for name, parameter in net.named_parameters():
        if TensorName(name) in trained:
            assert parameter.grad is not None
            assert torch.allclose(
                after.weights[TensorName(name)], start[TensorName(name)] - 0.1 * parameter.grad, atol=1e-6
            )
