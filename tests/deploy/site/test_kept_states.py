"""What a trainer keeps at a site between rounds: the bits of the embedded engine, on the site's own disk and terms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.assembly.runtime import handler_of
from fedstrata.client.state_store import StateStore
from fedstrata.deploy.site.service import Service
from fedstrata.engines.local import LocalEngine
from fedstrata.wire.messages import Origin, StateVersion, Train, TrainPlan
from site_world import CLIENT, DIGITS, Server, content, facts_of, office_in

KEPT = {**DIGITS, "trainer": {"kind": "sgd", "optimizer_state": "kept"}, "train": {"optimizer": "adamw"}}
PLAN = TrainPlan(steps=2, epochs=None, batch_size=8, lr=0.01, optimizer="adamw")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    made = Server(KEPT)
    states = StateStore(tmp_path_factory.mktemp("here") / "client-states")
    made.engine = LocalEngine(handler_of(made.loaded, made.model, made.data, states))
    return made


def train(server: Server, round: int, *states: StateVersion, attempt: int = 0, mask: tuple[int, ...] = (1, 4)) -> Train:
    return Train(
        CLIENT, round, server.weights, frozenset(mask), PLAN, Origin("trial", attempt, "base"), None, tuple(states)
    )


def answered(server: Server, service: Service, request: Train) -> str:
    """Return what a site answers, once it is known to be what the embedded engine does."""
    reply = server.read(service.answer(server.work(request), server.heads(request.weights)), request)
    found = content(reply)
    assert found == content(server.local(request))
    return found


def test_rounds_at_a_site_have_the_bits_of_rounds_here_whatever_lies_between_them(
    server: Server, tmp_path: Path
) -> None:
    """It trains in the first round; the second is abandoned once and its answer lost; then it trains layer 1 again."""
    service = office_in(tmp_path)
    first = answered(server, service, train(server, 0))
    again = answered(server, office_in(tmp_path), train(server, 0))  # a worker started anew is asked the same
    assert again == first
    vain = answered(server, service, train(server, 1, (0, 0)))
    assert answered(server, service, train(server, 1, (0, 0), attempt=1)) == vain  # the same draws, the same state
    third = train(server, 2, (0, 0), mask=(1, 2))
    kept = answered(server, office_in(tmp_path), third)
    assert kept != answered(server, service, replace(third, states=()))  # the state is what makes the difference
    assert {fact["kind"] for fact in facts_of(tmp_path)} == {"update"}
    folder = tmp_path / "state" / "client-states"
    assert {p.name for p in folder.rglob("*.safetensors")} <= {"0000-0.safetensors", "0002-0.safetensors"}


@pytest.mark.parametrize("states", [((0, 0),) * 4, ((2, 0),), ((1, -1),), ((-1, 0),)])
def test_versions_that_no_training_left_are_refused(
    server: Server, tmp_path: Path, states: tuple[StateVersion, ...]
) -> None:
    _, message = server.refused(office_in(tmp_path), train(server, 2, *states))
    assert message == "the request names versions of the site's own state that no training before it has left"
    assert not (tmp_path / "state" / "client-states").exists()


@pytest.mark.parametrize("states", [3, "x", [[True, 0]], [[0.5, 0]], [["../x", 0]], [[0]], [[0, 0, 0]], {"a": 1}])
def test_versions_that_are_none_are_no_request(server: Server, tmp_path: Path, states: object) -> None:
    said = server.work(train(server, 2))
    said["request"]["states"] = states
    answer = office_in(tmp_path).answer(said, server.heads(server.weights))
    assert answer.said["kind"] == "refused"
    assert answer.said["message"].startswith("the request is not one that this version of fedstrata knows: ")


def test_a_state_that_is_not_there_is_said_and_nothing_is_begun_anew(server: Server, tmp_path: Path) -> None:
    reason, message = server.refused(office_in(tmp_path), train(server, 3, (1, 0)))
    assert reason == "CLIENT_ERROR"
    assert "what the client kept after round 2 is not there any more" in message


def test_a_site_keeps_no_more_than_its_file_allows(server: Server, tmp_path: Path) -> None:
    reason, message = server.refused(office_in(tmp_path, client_state_bytes=0), train(server, 0))
    assert reason == "CLIENT_ERROR"
    assert "bytes more than its site allows (0, client_state_bytes in its file)" in message
