"""The facts of Flower that we rely on; a new minor of it has to pass these before the pin in pyproject.toml moves."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Array, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.error import Error
from flwr.common import constant
from flwr.common.args import try_obtain_server_certificates
from flwr.common.config import parse_config_args
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from flwr.supercore import constant as core
from flwr.supercore import telemetry
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink
from flwr.superlink.servicer.runtime.runtime_handlers import get_nodes, push_messages
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode, _try_setup_client_authentication

import fedstrata
from fedstrata.engines.flower.engine import KINDS
from fedstrata.engines.flower.envelope import Envelope, enclose, opened
from fedstrata.engines.flower.join import KIND
from fedstrata.flower import services, trial
from fedstrata.flower.keys import make_certificates, make_site_key, read_public_key

SRC = Path(fedstrata.__file__).parent


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


def test_the_programs_that_we_start_are_flowers() -> None:
    ours = {"flwr", "flower-superlink", "flower-supernode"}
    assert ours <= {point.name for point in entry_points(group="console_scripts") if point.value.startswith("flwr.")}


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


# --- processes -------------------------------------------------------------------------------------------------------


class Recorded:
    """Takes the place of a service and keeps the command."""

    def __init__(self, name: str, command: Sequence[str], **options: object) -> None:
        self.command = list(command)


@pytest.mark.parametrize("database", [None, Path("state.db")])
def test_a_superlink_takes_our_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path | None
) -> None:
    monkeypatch.setattr(services, "Service", Recorded)
    files = make_certificates(tmp_path)
    service: Any = services.superlink(
        18000, files, home=services.Home(tmp_path), log=tmp_path / "log", database=database
    )
    assert service.command[0] == "flower-superlink"
    read = _parse_args_run_superlink().parse_args(service.command[1:])
    assert (read.host, read.port, read.insecure, read.enable_supernode_auth) == ("127.0.0.1", 18000, False, True)
    assert read.database == ("state.db" if database else core.FLWR_IN_MEMORY_DB_NAME)
    assert try_obtain_server_certificates(read) == tuple(
        f.read_bytes() for f in (files.authority, files.certificate, files.key)
    )


@pytest.mark.parametrize("site", ["site.yaml", "st mary's/site.yaml", "höhe/a\\b.toml", 'the "old" one/site.yaml'])
def test_a_supernode_takes_our_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    monkeypatch.setattr(services, "Service", Recorded)
    home, log = services.Home(tmp_path), tmp_path / "log"
    service: Any = services.supernode(
        tmp_path / site,
        tmp_path / "key",
        "fl.example.org:8000",
        authority=tmp_path / "ca.crt",
        port=9094,
        home=home,
        log=log,
    )
    assert service.command[0] == "flower-supernode"
    read = _parse_args_run_supernode().parse_args(service.command[1:])
    assert (read.superlink, read.host, read.port) == ("fl.example.org:8000", "127.0.0.1", 9094)
    assert (read.root_certificates, read.insecure) == (str(tmp_path / "ca.crt"), False)
    assert str(read.auth_supernode_private_key) == str(tmp_path / "key")
    assert parse_config_args([read.node_config]) == {"site": str(tmp_path / site)}


def test_a_supernode_says_what_a_trial_waits_for() -> None:
    assert '"SuperNode ID' in inspect.getsource(start_client_internal)
    assert '"SuperNode ID"' in inspect.getsource(trial)


def test_flower_is_kept_quiet_by_the_names_that_it_reads() -> None:
    assert telemetry.FLWR_TELEMETRY_ENABLED in ("0", "1")
    names = {
        "FLWR_TELEMETRY_ENABLED",
        core.FLWR_DISABLE_UPDATE_CHECK,
        constant.FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION,
    }
    assert names <= set(services._QUIET)


# --- the command -----------------------------------------------------------------------------------------------------


JSON = ["--format", "json"]
CALLS: dict[str, list[str]] = {"flwr": [], "flwr_json": JSON}
"""Our two functions that call Flower's command, and what each adds to the words that it is given."""


def calls() -> list[list[str]]:
    """Every call of Flower's command in our code, with 1 for values, and the name of a connection where one may be."""
    files = (file for file in sorted(SRC.rglob("*.py")) if file.name != "services.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    found = (n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in CALLS)
    written = [_words(n.args[0]) + CALLS[n.func.id] for n in found if isinstance(n.args[0], ast.List)]  # type: ignore[attr-defined]
    return [*written, ["supernode", "list", "trial", *JSON]]


def test_answers_in_json_are_asked_for_as_the_command_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def flwr(arguments: Sequence[str], **options: object) -> str:
        asked.append(list(arguments))
        return '{"success": true, "runs": []}'

    monkeypatch.setattr(services, "flwr", flwr)
    assert services.flwr_json(["list"], home=None)["runs"] == []
    assert asked == [["list", *JSON]]


def _words(arguments: ast.expr) -> list[str]:
    assert isinstance(arguments, ast.List)
    return [_word(word) for word in arguments.elts]


def _word(word: ast.expr) -> str:
    if isinstance(word, ast.Constant):
        return str(word.value)
    return "trial" if isinstance(word, ast.Starred) else "1"


@pytest.mark.filterwarnings("ignore:The 'is_flag' and:DeprecationWarning")  # Flower's own
def test_flowers_command_has_every_verb_and_option_that_we_use() -> None:
    from flwr.cli.app import typer_click_object

    used = calls()
    assert {words[0] for words in used} >= {"run", "list", "stop", "supernode"}
    for words in used:
        command: Any = typer_click_object
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        context = command.make_context(command.name, list(words))
        assert not context.args, f"{command.name} does not know {context.args}"


def test_flower_answers_in_json_with_the_names_that_we_read() -> None:
    from flwr.cli.ls import _to_json
    from flwr.cli.run.run import _run_with_control_api

    assert '"run-id"' in inspect.getsource(_run_with_control_api)
    assert all(f'"{name}"' in inspect.getsource(_to_json) for name in ("runs", "run-id", "status", "status-details"))
    assert json.loads(_to_json([]))["runs"] == []
