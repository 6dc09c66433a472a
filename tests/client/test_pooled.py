"""Clients that are evaluated together: the sums of each are those that a plain loop over its rows gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fedstrata.client.handler import Handler
from fedstrata.client.seen import Seen
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import ClientError
from fedstrata.wire.messages import Evaluate, Evaluated, Weights
from toys import copy_of, named, toy_clients, toy_model

SIZES = {"a": 3, "b": 4, "c": 5}
HELD = 4


class Counted:
    """A handler of toy clients, and how many rows each forward pass had."""

    def __init__(self) -> None:
        self.model = toy_model(dropout=0.5)
        self.clients = toy_clients(SIZES, held_out=HELD)
        self.handler = Handler(self.model, self.clients, Seeds(0), eval_batch=64)
        self.passes: list[int] = []
        self.model.module.register_forward_pre_hook(self._count)

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.passes.append(len(inputs[0]))

    def ask(self, client: str, weights: Weights, together: str = "") -> tuple[float, int]:
        reply = self.handler.handle(Evaluate(ClientId(client), 0, weights, together=tuple(named(*together))))
        assert isinstance(reply, Evaluated)
        assert reply.num_examples == HELD
        return reply.loss_sum, reply.correct


def plain(world: Counted, client: str, weights: Weights) -> tuple[float, int]:
    """Return the sums by a loop over single rows, in float64."""
    net, own = toy_model().module.eval().double(), world.clients[ClientId(client)]
    net.load_state_dict({**net.state_dict(), **{name: t.double() for name, t in weights.items()}})
    loss, right = 0.0, 0
    for row in own.held_out.tolist():
        logits = net(own.rows.inputs["features"][row][None].double())[0]
        label = int(own.rows.labels[row])
        loss -= float(logits.log_softmax(dim=0)[label])
        right += int(logits.argmax()) == label
    return loss, right


def test_together_or_alone_in_any_order_sums_are_those_of_a_plain_loop() -> None:
    world = Counted()
    weights = copy_of(world.model.weights())
    alone = {c: world.ask(c, weights) for c in SIZES}
    for order in ("abc", "cba", "bb"):
        found = {c: world.ask(c, weights, "abc") for c in order}
        assert found == {c: alone[c] for c in found}
    for client in SIZES:
        loss, right = plain(world, client, weights)
        assert alone[client][0] == pytest.approx(loss, abs=1e-5)
        assert alone[client][1] == right


def test_rows_are_passed_once_for_all_whoever_asks_first_and_again_for_other_weights() -> None:
    world = Counted()
    first, other = copy_of(world.model.weights()), copy_of(world.model.weights())
    for client in "bac":
        world.ask(client, first, "abc")
    assert world.passes == [3 * HELD]
    world.ask("a", other, "abc")
    assert world.passes == [3 * HELD] * 2
    world.ask("a", other, "ab")
    assert world.passes == [3 * HELD] * 2 + [2 * HELD]


def test_weights_of_which_one_tensor_is_new_are_other_weights() -> None:
    world = Counted()
    first = copy_of(world.model.weights())
    before = world.ask("a", first, "abc")
    name = next(iter(first))
    moved = {**first, name: first[name] + 1.0}
    assert Seen(first).again({**first})
    assert not Seen(first).again(moved)
    assert not Seen(first).again({n: t for n, t in first.items() if n != name})
    assert world.ask("a", moved, "abc") != before


def test_weights_that_are_gone_are_not_seen_again_and_not_kept_alive() -> None:
    weights = {"w": torch.ones(2)}
    seen = Seen(weights)  # type: ignore[arg-type]
    weights["w"] = torch.ones(2)
    assert not seen.again(weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("together", "message"),
    [
        ("bc", "the clients to evaluate together have to name client a, and nobody twice"),
        ("aba", "the clients to evaluate together have to name client a, and nobody twice"),
        ("abx", "no data for client x; known: a, b, c"),
    ],
)
def test_pools_that_cannot_be_are_refused(together: str, message: str) -> None:
    world = Counted()
    with pytest.raises(ClientError, match=message):
        world.ask("a", world.model.weights(), together)
