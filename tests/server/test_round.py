"""One round: the acceptance tests of the method, on a model that fits in the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fedstrata.client.resident import ResidentModel
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import Mask
from fedstrata.domain.reasons import Reason
from fedstrata.errors import AbandonedError, SelectionError
from fedstrata.runs.state import ServerState
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Bottom, HeadOnly, Top
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.protocol import Selector
from fedstrata.server.observers import Quiet
from fedstrata.server.round import play_round
from fedstrata.server.run import initial_state
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.messages import Failure, Frame, Reply, Request, Train, TrainPlan, Update
from fedstrata.wire.reply_frames import encode
from toy_runs import Assigned, toy_engine, toy_setting
from toys import copy_of, same_bits, toy_clients, toy_model

SIZES = {"a": 12, "b": 6, "c": 9}
FULL_BATCH = TrainPlan(steps=1, epochs=None, batch_size=0, lr=0.1)


def play(
    selector: Selector, *, model: ResidentModel | None = None, train: TrainPlan | None = None, rounds: int = 1
) -> ServerState:
    model = model or toy_model()
    clients = toy_clients(SIZES)
    setting = toy_setting(model, clients, selector=selector, train=train)
    state = initial_state(setting, model.weights())
    for _ in range(rounds):
        state, _record = play_round(state, setting, toy_engine(model, clients), Quiet())
    return state


def test_disjoint_masks_move_every_selected_layer_and_no_other() -> None:
    before = copy_of(toy_model().weights())
    after = play(Assigned({"a": frozenset({0}), "b": frozenset({2}), "c": frozenset()})).weights
    moved = {name.rsplit(".", 1)[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"blocks.0", "blocks.2", "head"}


@pytest.mark.parametrize("mask", [frozenset({0, 1, 2}), frozenset({1})])
def test_equal_masks_one_full_batch_step_is_a_centralised_step(mask: Mask) -> None:
    model = toy_model()
    after = play(Assigned(dict.fromkeys(SIZES, mask)), model=model, train=FULL_BATCH).weights
    net = toy_model().module.requires_grad_(True)
    rows = next(iter(toy_clients(SIZES).values())).rows
    inputs, labels = rows.take(torch.arange(len(rows)))
    nn.functional.cross_entropy(net(inputs["features"]), labels).backward()
    trained = {f"blocks.{i}" for i in mask} | {"head"}
    for name, parameter in net.named_parameters():
        if name.rsplit(".", 1)[0] in trained:
            assert parameter.grad is not None
            central = parameter.detach() - 0.1 * parameter.grad
            assert torch.allclose(after[TensorName(name)], central, atol=1e-6)


def test_full_masks_are_fedavg_to_the_bit() -> None:
    """FedAvg written down on its own: every client trains all, deltas averaged by rows, in order of name."""
    model, clients = toy_model(), toy_clients(SIZES)
    after = play(Assigned(dict.fromkeys(SIZES, frozenset({0, 1, 2}))), model=model).weights
    start = copy_of(toy_model().weights())
    setting = toy_setting(model, clients)
    sums = {name: torch.zeros_like(t) for name, t in start.items()}
    for client in sorted(SIZES):
        request = Train(ClientId(client), 0, start, frozenset({0, 1, 2}), setting.train_plan(0))
        (reply,) = toy_engine(model, clients).send([request])
        assert isinstance(reply, Update)
        for name in sums:
            sums[name] = torch.add(sums[name], reply.deltas[name], alpha=SIZES[client])
    assert same_bits(after, {name: start[name] + sums[name] / sum(SIZES.values()) for name in start})


@pytest.mark.parametrize("selector", [Top(), Bottom(), HeadOnly(), Independent(), Consensus()])
def test_the_head_trains_under_every_selector(selector: Selector) -> None:
    before = copy_of(toy_model().weights())
    assert not torch.equal(play(selector).weights[TensorName("head.bias")], before[TensorName("head.bias")])


def test_learning_rate_decay_reaches_the_update() -> None:
    model, clients = toy_model(), toy_clients(SIZES)
    setting = toy_setting(model, clients, train=FULL_BATCH, lr_decay=0.5)
    state = initial_state(setting, model.weights())
    at = {}
    for round in (0, 1):
        (reply,) = toy_engine(model, clients).send(
            [Train(ClientId("a"), round, state.weights, frozenset({0}), setting.train_plan(round))]
        )
        assert isinstance(reply, Update)
        at[round] = reply.deltas[TensorName("head.bias")]
    assert torch.allclose(at[1], 0.5 * at[0])


def test_weights_of_the_state_before_are_not_changed() -> None:
    model = toy_model()
    before = copy_of(model.weights())
    play(Top(), model=model)
    assert same_bits(model.weights(), before)


def test_same_seed_same_bits_and_another_seed_differs() -> None:
    def weights(seed: int) -> ServerState:
        model, clients = toy_model(dropout=0.2), toy_clients(SIZES)
        setting = toy_setting(model, clients, selector=Consensus(), seed=seed)
        return play_round(
            initial_state(setting, model.weights()), setting, toy_engine(model, clients, seed=seed), Quiet()
        )[0]

    assert same_bits(weights(1).weights, weights(1).weights)
    assert not same_bits(weights(1).weights, weights(2).weights)


def test_the_order_of_clients_does_not_change_the_bits() -> None:
    def weights(names: list[str]) -> ServerState:
        model, clients = toy_model(dropout=0.2), toy_clients(SIZES)
        ordered = {ClientId(n): clients[ClientId(n)] for n in names}
        setting = toy_setting(model, ordered, selector=Consensus(), budget=1)
        return play_round(initial_state(setting, model.weights()), setting, toy_engine(model, ordered), Quiet())[0]

    assert same_bits(weights(["a", "b", "c"]).weights, weights(["c", "a", "b"]).weights)


def test_the_record_proves_what_moved() -> None:
    model, clients = toy_model(), toy_clients(SIZES)
    masks = {"a": frozenset({0}), "b": frozenset({0}), "c": frozenset({2})}
    setting = toy_setting(model, clients, selector=Assigned(masks))
    state = initial_state(setting, model.weights())
    after, record = play_round(state, setting, toy_engine(model, clients), Quiet())
    by_name = {layer.name: layer for layer in record.layers}
    assert [by_name[n].contributors for n in ("blocks.0", "blocks.1", "blocks.2", "head")] == [2, 0, 1, 3]  # type: ignore[index]
    assert by_name["blocks.1"].update_norm == 0.0  # type: ignore[index]
    moved = torch.cat(
        [(after.weights[n] - state.weights[n]).flatten() for n in after.weights if n.startswith("blocks.0")]
    )
    assert by_name["blocks.0"].update_norm == pytest.approx(float(moved.norm()), rel=1e-6)  # type: ignore[index]


def test_chi2_is_one_over_the_data_mass_minus_one() -> None:
    model, clients = toy_model(), toy_clients(SIZES)
    masks = {"a": frozenset({0}), "b": frozenset({1}), "c": frozenset({0})}
    setting = toy_setting(model, clients, selector=Assigned(masks))
    _, record = play_round(initial_state(setting, model.weights()), setting, toy_engine(model, clients), Quiet())
    mass = [layer.data_mass for layer in record.layers]
    assert mass == pytest.approx([21 / 27, 6 / 27, 0.0, 1.0])
    assert record.layers[0].chi2 == pytest.approx(27 / 21 - 1)
    assert record.layers[2].chi2 is None
    shares = np.array([12, 6, 9]) / 27
    weights = np.array([12, 0, 9]) / 21
    assert record.layers[0].chi2 == pytest.approx(float(((weights - shares) ** 2 / shares).sum()))


def test_bytes_are_the_formula() -> None:
    """A block is 6 * 6 + 6 floats, the head 6 * 3 + 3; scores are 3 floats; a mask of 3 layers is one byte."""
    model, clients = toy_model(), toy_clients(SIZES)
    setting = toy_setting(model, clients, selector=Consensus(), budget=1)
    engine = toy_engine(model, clients)
    state, first = play_round(initial_state(setting, model.weights()), setting, engine, Quiet())
    _, second = play_round(state, setting, engine, Quiet())
    for client in first.clients:
        assert client.bytes_up == 4 * (42 * len(client.mask) + 21) + 4 * 3
        assert client.bytes_down == 4 * 21 + 1
    changed = {i for c in first.clients for i in c.mask}
    for client in second.clients:
        assert client.bytes_down == 4 * (42 * len(changed) + 21) + 1


def losing(model: ResidentModel, lost: dict[type, set[str]]) -> ScriptedEngine:
    clients = toy_clients(SIZES)
    engine = toy_engine(model, clients)

    def script(request: Request) -> Reply:
        if request.client in lost.get(type(request), set()):
            return Failure(request.client, request.round, "train", Reason.CLIENT_ERROR, "lost")
        (reply,) = engine.send([request])
        return reply

    return ScriptedEngine(script)


def test_a_client_that_fails_is_left_out_and_recorded() -> None:
    model = toy_model()
    setting = toy_setting(model, toy_clients(SIZES))
    state = initial_state(setting, model.weights())
    _, record = play_round(state, setting, losing(model, {Train: {"b"}}), Quiet())
    assert [c.failure for c in record.clients] == [None, "CLIENT_ERROR", None]
    assert record.clients[1].bytes_up == 0
    assert record.layers[0].contributors == 2
    assert record.layers[0].data_mass == 1.0


def test_a_round_in_which_all_fail_is_abandoned_with_the_reason() -> None:
    model = toy_model()
    setting = toy_setting(model, toy_clients(SIZES))
    state = initial_state(setting, model.weights())
    with pytest.raises(
        AbandonedError,
        match="round 1 is abandoned: 0 of 3 clients are left after training, 1 is needed; first, a: CLIENT_ERROR: lost",
    ):
        play_round(state, setting, losing(model, {Train: set(SIZES)}), Quiet())


@pytest.mark.parametrize("defect", ["extra", "missing", "shape", "nan", "larger", "rows", "impostor"])
def test_an_update_that_is_not_what_was_asked_is_refused_whole(defect: str) -> None:
    model = toy_model()
    clients = toy_clients(SIZES)
    engine = toy_engine(model, clients)
    setting = toy_setting(model, clients)
    state = initial_state(setting, model.weights())

    def script(request: Request) -> Reply | Frame:
        (reply,) = engine.send([request])
        if request.client != "b" or not isinstance(reply, Update):
            return reply
        deltas = dict(reply.deltas)
        rows, name = reply.num_examples, TensorName("blocks.1.bias")
        if defect == "extra":
            deltas[TensorName("stem.bias")] = torch.zeros(6)
        elif defect == "missing":
            del deltas[name]
        elif defect == "shape":
            deltas[name] = torch.zeros(1)
        elif defect == "nan":
            deltas[name] = deltas[name] * float("nan")
        elif defect == "rows":
            rows = 0
        elif defect == "larger":
            deltas[name] = torch.full((6,), 1e38)
        else:
            impostor = replace(reply, client=ClientId("c"))
            return Frame(ClientId("b"), encode(impostor, setting.layers.blocks(reply.mask)))
        return Update(reply.client, reply.round, reply.mask, deltas, rows, 1, 0.0, 0.0, 0.0)

    after, record = play_round(state, setting, ScriptedEngine(script), Quiet())
    reasons = {"nan": "NONFINITE", "larger": "NORM", "impostor": "AUTH"}
    assert record.clients[1].failure == reasons.get(defect, "SCHEMA")
    expected, _ = play_round(state, setting, losing(model, {Train: {"b"}}), Quiet())
    assert same_bits(after.weights, expected.weights)


def test_a_selector_over_budget_is_stopped() -> None:
    model, clients = toy_model(), toy_clients(SIZES)
    setting = toy_setting(model, clients, selector=Assigned(dict.fromkeys(SIZES, frozenset({0, 1}))), budget=1)
    with pytest.raises(SelectionError, match="over its budget"):
        play_round(initial_state(setting, model.weights()), setting, toy_engine(model, clients), Quiet())
