"""A site's ClientApp: every message has an answer, and whatever goes wrong is said in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.mod import arrays_size_mod, fixedclipping_mod, message_size_mod
from flwr.supercore.task_identity import TaskIdentity

from fedstrata.deploy.flower.client import Serve, client_app, named, site_file
from fedstrata.engines.flower.engine import KINDS
from fedstrata.engines.flower.envelope import Envelope, enclose, opened
from fedstrata.engines.flower.join import KIND
from fedstrata.errors import ClientError, ConfigError

EVERY = sorted({KIND, *KINDS.values()})
"""Every type of message that a server of ours sends."""


@pytest.fixture(autouse=True)
def _identity() -> Iterator[None]:
    """Be a server for the message, and a site for its answer: Flower takes both from the process."""
    before = TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 7, 1, 1
    yield
    TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = before


def context(**config: bool | float | int | str) -> Context:
    return Context(7, 100, config, RecordDict(), {})


def message(kind: str, content: RecordDict | None = None) -> Message:
    if content is None:
        content = enclose(Envelope({"kind": "work", "nonce": "n" * 32, "round": 3}, {"h.0": b"12", "h.1": b""}))
    made = Message(content, 100, kind, ttl=60.0)
    made.metadata.__dict__["_message_id"] = "m0"
    return made


def echo(envelope: Envelope, context: Context) -> Envelope:
    return Envelope({"kind": "echo", "of": envelope.said["round"]}, dict(reversed(list(envelope.blobs.items()))))


def answer(serve: Serve, *, content: RecordDict | None = None, mods: tuple[Any, ...] = ()) -> Envelope:
    reply = client_app(mods, serve=serve)(message("train.layers", content), context())
    assert not reply.has_error()
    return opened(reply.content)


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_of_message_is_answered(kind: str) -> None:
    asked = message(kind)
    reply = client_app(serve=echo)(asked, context())
    got = opened(reply.content)
    assert got.said == {"kind": "echo", "of": 3, "nonce": "n" * 32}
    assert list(got.blobs.items()) == [("h.1", b""), ("h.0", b"12")]
    assert reply.metadata.reply_to_message_id == "m0"
    assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (100, 1)


@pytest.mark.parametrize("kind", ["train", "query", "query.secrets", "train.probe", "evaluate.join"])
def test_no_other_kind_is_answered(kind: str) -> None:
    with pytest.raises(ValueError, match="function registered"):
        client_app(serve=echo)(message(kind), context())


def test_who_answers_gets_the_message_as_it_was_said_and_the_nodes_own_settings() -> None:
    seen: list[tuple[Mapping[str, Any], object]] = []

    def serve(envelope: Envelope, context: Context) -> Envelope:
        seen.append((envelope.said, context.node_config["site"]))
        return Envelope({}, {})

    client_app(serve=serve)(message("query.join"), context(site="/srv/site.yaml"))
    assert seen == [({"kind": "work", "nonce": "n" * 32, "round": 3}, "/srv/site.yaml")]


def test_the_nonce_is_repeated_whatever_the_answer_calls_one() -> None:
    assert answer(lambda envelope, context: Envelope({"nonce": "mine"}, {})).said["nonce"] == "n" * 32


def raising(error: BaseException) -> Serve:
    def serve(envelope: Envelope, context: Context) -> Envelope:
        raise error

    return serve


NOT_ANSWERED = "the site could not answer ({}); the log of its SuperNode says more"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ClientError("its disk is full"), "its disk is full"),
        (ClientError("two\nlines \x1b[2J"), "two lines  [2J"),
        (ClientError("x" * 5000), "x" * 1000),
        (RuntimeError("/srv/rows.csv row 17"), NOT_ANSWERED.format("RuntimeError")),
        (ConfigError("/srv/site.yaml:3:1: no"), NOT_ANSWERED.format("ConfigError")),
        (OSError(13, "Permission denied", "/srv/key"), NOT_ANSWERED.format("PermissionError")),
        (MemoryError(), NOT_ANSWERED.format("MemoryError")),
        (KeyError("patient 17"), NOT_ANSWERED.format("KeyError")),
    ],
)
def test_an_exception_becomes_a_sentence_that_holds_nothing_of_the_site(error: Exception, sentence: str) -> None:
    got = answer(raising(error))
    assert got.said == {"kind": "failure", "message": sentence, "nonce": "n" * 32}
    assert dict(got.blobs) == {}


@pytest.mark.parametrize("said", [{"seconds": float("nan")}, {"seconds": {1, 2}}, {"order": 5, 7: 8, "x": object()}])
def test_an_answer_that_cannot_be_sent_is_a_failure_too(said: dict[str, Any]) -> None:
    got = answer(lambda envelope, context: Envelope(said, {}))
    assert got.said["kind"] == "failure"
    assert got.said["nonce"] == "n" * 32


def test_a_process_that_is_told_to_end_ends() -> None:
    with pytest.raises(KeyboardInterrupt):
        answer(raising(KeyboardInterrupt()))


@pytest.mark.parametrize(
    "content", [RecordDict(), RecordDict({"fedstrata": ConfigRecord({"json": b'{"protocol":2,"order":[]}'})})]
)
def test_a_message_that_is_not_ours_is_answered_with_a_sentence(content: RecordDict) -> None:
    got = answer(raising(AssertionError("nobody is asked")), content=content)
    assert got.said["kind"] == "failure"
    assert "one of fedstrata's" in got.said["message"] or "version 2 of the protocol" in got.said["message"]
    assert got.said["nonce"] == ""


def test_mods_that_only_look_see_every_message(caplog: pytest.LogCaptureFixture) -> None:
    got = answer(echo, mods=(message_size_mod, arrays_size_mod))
    assert got.said["kind"] == "echo"
    assert got.blobs["h.0"] == b"12"


def test_mods_that_cannot_work_are_refused_when_the_app_is_made() -> None:
    with pytest.raises(ConfigError, match="fixedclipping_mod cannot be used with fedstrata"):
        client_app([message_size_mod, fixedclipping_mod])


def test_a_supernode_names_the_sites_own_file() -> None:
    assert str(site_file(context(site="/srv/site.yaml"))) == "/srv/site.yaml"


@pytest.mark.parametrize("config", [{}, {"site": ""}, {"site": 3}, {"site": True}, {"partition-id": 0}])
def test_a_supernode_without_a_sites_file_is_told_so(config: dict[str, bool | float | int | str]) -> None:
    with pytest.raises(ConfigError, match="the SuperNode names no site file; start it with: --node-config"):
        site_file(context(**config))
    reply = client_app()(message("query.join"), context(**config))
    assert "names no site file" in opened(reply.content).said["message"]


def test_parts_of_a_frame_are_named_by_what_they_hold() -> None:
    assert named([b"1", b"2", b"3"], ["h.0", "h.1"]) == {"/head": b"1", "h.0": b"2", "h.1": b"3"}
    assert named([], []) == {}
    with pytest.raises(ValueError):
        named([b"1"], ["h.0"])


def test_the_process_of_a_message_loads_neither_torch_nor_the_model() -> None:
    """Flower starts one for every message: what it imports is paid for every time."""
    program = (
        "import sys; from fedstrata.deploy.flower.client import client_app; client_app()\n"
        "import fedstrata.deploy.site.worker_client\n"
        "print(sorted({'torch', 'transformers', 'safetensors', 'sklearn', 'pydantic', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
