"""The facts of Flower that we rely on; a new minor of it has to pass these before the pin in pyproject.toml moves."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Array, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.error import Error
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.servicer.runtime.runtime_handlers import get_nodes, push_messages
from flwr.supernode.cli.flower_supernode import _try_setup_client_authentication

from fedstrata.deploy.flower.keys import make_site_key, read_public_key
from fedstrata.engines.flower.engine import KINDS
from fedstrata.engines.flower.envelope import Envelope, enclose, opened
from fedstrata.engines.flower.join import KIND


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message takes its run and its sender from the process."""
    for name, value in (("_run_id", 7), ("_node_id", 1), ("_task_id", 1)):
        monkeypatch.setattr(TaskIdentity, name, value)


def travelled(content: RecordDict) -> RecordDict:
    """Take a message's content apart as Flower sends it, and put it together again."""
    parts = {number: part.deflate() for number, part in get_all_nested_objects(content).items()}
    whole = inflate_object_from_contents(content.object_id, parts)
    assert isinstance(whole, RecordDict)
    return whole


# --- what is installed -----------------------------------------------------------------------------------------------


def test_the_installed_flower_is_the_minor_that_was_read() -> None:
    assert version("flwr").startswith("1.41.")


def test_a_grid_has_the_methods_that_ours_in_the_tests_has_and_no_more() -> None:
    methods = {"set_run", "run", "create_message", "get_node_ids", "push_messages", "pull_messages", "send_and_receive"}
    assert Grid.__abstractmethods__ == methods
    assert callable(Grid.get_nodes)


def test_the_grid_of_a_deployment_sleeps_between_two_looks_so_we_look_ourselves() -> None:
    from flwr.superlink.grid.http_grid import HttpGrid

    assert "time.sleep(3)" in inspect.getsource(HttpGrid.send_and_receive)
    assert "sleep" not in inspect.getsource(HttpGrid.pull_messages) + inspect.getsource(HttpGrid.push_messages)


# --- who is connected ------------------------------------------------------------------------------------------------


def test_a_node_says_its_key_and_when_it_was_started() -> None:
    node = NodeInfo(node_id=2**64 - 1, public_key=b"key", last_activated_at="2026-11-24T18:00:00+00:00")
    assert (node.node_id, node.public_key, node.last_activated_at[:4]) == (2**64 - 1, b"key", "2026")


def test_a_grid_is_told_of_connected_nodes_alone() -> None:
    class State:
        def get_nodes(self, run: int) -> set[int]:
            return {11}

        def get_node_info(self, *, node_ids: Sequence[int]) -> list[NodeInfo]:
            return [NodeInfo(node_id=number) for number in node_ids]

    from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState

    found = get_nodes(None, State(), type("Task", (), {"run_id": 7}))  # type: ignore[arg-type]
    assert [node.node_id for node in found.nodes] == [11]
    assert "statuses=[NodeStatus.ONLINE]" in inspect.getsource(InMemoryLinkState.get_nodes)


def test_flower_takes_a_sites_key_as_the_key_of_its_supernode(tmp_path: Path) -> None:
    public = make_site_key(tmp_path / "north")
    pair = _try_setup_client_authentication(
        argparse.Namespace(auth_supernode_private_key=str(tmp_path / "north"), auth_supernode_public_key=None)
    )
    assert pair is not None
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes

    assert public_key_to_bytes(pair[1]) == read_public_key(public)


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted({KIND, *KINDS.values()}))
def test_our_types_of_messages_are_flowers(kind: str) -> None:
    message = Message(RecordDict(), 11, kind, ttl=61.5)
    assert (message.metadata.message_type, message.metadata.dst_node_id, message.metadata.ttl) == (kind, 11, 61.5)


def test_other_types_are_refused_when_a_message_is_made() -> None:
    for kind in ("custom", "train.a.b", "train.1a"):
        with pytest.raises(ValueError):
            Message(RecordDict(), 11, kind)


def test_a_message_without_a_time_to_live_lives_for_twelve_hours() -> None:
    assert Message(RecordDict(), 11, KIND, ttl=None).metadata.ttl == 12 * 3600


def test_an_answer_names_the_message_that_it_answers() -> None:
    asked = Message(RecordDict(), 11, KIND)
    asked.metadata.__dict__["_message_id"] = "m0"
    for answer in (Message(RecordDict(), reply_to=asked), Message(Error(5, "gone"), reply_to=asked)):
        assert answer.metadata.reply_to_message_id == "m0"
        assert answer.metadata.src_node_id == 11
    assert (answer.has_error(), answer.error.code, answer.error.reason) == (True, 5, "gone")


def test_the_numbers_of_errors_mean_what_they_meant() -> None:
    numbers = [ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, ErrorCode.NODE_UNAVAILABLE]
    assert numbers == [3, 4, 5]
    assert (ErrorCode.CLIENT_APP_RAISED_EXCEPTION, ErrorCode.CLIENT_APP_CRASHED) == (2, 8)


def test_a_message_that_flower_does_not_take_has_an_empty_number() -> None:
    class State:
        def start_session(self, run: int) -> str:
            return "s"

        def store_message_and_object_tree(self, *arguments: object) -> tuple[bool, list[str]]:
            return False, []

    assert pushed(State()).message_ids == [""]


def pushed(state: object) -> Any:  # noqa: ANN401  a message of protobuf's
    from flwr.common.serde import message_to_proto
    from flwr.proto.message_pb2 import ObjectTree
    from flwr.proto.runtime_pb2 import PushAppMessagesRequest

    message = Message(RecordDict(), 11, KIND)
    message.metadata.__dict__["_message_id"] = message.object_id
    request = PushAppMessagesRequest(messages_list=[message_to_proto(message)], message_object_trees=[ObjectTree()])
    return push_messages(request, state, type("Task", (), {"run_id": 7}))  # type: ignore[arg-type]


def test_a_configuration_holds_bytes_and_metrics_do_not() -> None:
    assert ConfigRecord({"json": b"\xff"})["json"] == b"\xff"
    with pytest.raises(TypeError):
        MetricRecord({"json": b"x"})  # type: ignore[dict-item]


def test_an_array_keeps_bytes_of_a_type_that_flower_does_not_know() -> None:
    array = Array(dtype="uint8", shape=(3,), stype="fedstrata.bytes", data=b"123")
    assert (array.data, array.stype) == (b"123", "fedstrata.bytes")
    with pytest.raises(TypeError):
        array.numpy()


@pytest.mark.parametrize(
    "blobs",
    [{}, {"/head": b"1", "h.1": b"", "h.0": b"1"}, {"big": bytes(range(256)) * 2**15}],
    ids=["none", "few", "8 MiB"],
)
def test_what_is_said_and_the_blobs_survive_flowers_journey(blobs: dict[str, bytes]) -> None:
    sent = Envelope({"kind": "frame", "nonce": "n", "text": "höher \N{GRINNING FACE}"}, blobs)
    got = opened(travelled(enclose(sent)))
    assert got == sent
    assert list(got.blobs) == list(blobs)


def test_apps_are_told_their_settings() -> None:
    context = Context(7, 11, {"site": "/srv/site.yaml"}, RecordDict(), {"config": "run.yaml"})
    assert (context.node_config["site"], context.run_config["config"]) == ("/srv/site.yaml", "run.yaml")


def test_a_server_app_hands_its_grid_to_our_function() -> None:
    app, seen = ServerApp(), list[object]()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        seen.extend([grid, context])

    app("grid", "context")  # type: ignore[arg-type]
    assert seen == ["grid", "context"]


def test_a_simulation_is_started_as_we_start_it() -> None:
    parameters = list(inspect.signature(run_simulation).parameters)
    assert parameters[:3] == ["server_app", "client_app", "num_supernodes"]
    assert "backend_config" in parameters
