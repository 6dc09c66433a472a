"""What a site's file pins, no run changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedstrata.deploy.site.pins import check_pins
from fedstrata.deploy.site.run_spec import read_run_spec
from fedstrata.deploy.site.site_schema import PinSection
from fedstrata.errors import ClientError
from site_world import Server, office_in, train

SAID = {"seed": 3, "labels": ["no", "yes"], "model": {"path": "bert"}, "data": {"held_out": 0.1}}

SAME: list[tuple[str, object]] = [
    ("labels", ["no", "yes"]),
    ("head", "auto"),
    ("candidates", ["all"]),
    ("always", []),
    ("never", []),
    ("blocks", None),
    ("units", "blocks"),
    ("adapter", None),
    ("held_out", 0.1),
    ("max_length", 128),
    ("image_size", None),
    ("precision", "auto"),
    ("seed", 3),
]
OTHER: list[tuple[str, object]] = [
    ("labels", ["yes", "no"]),
    ("head", "new"),
    ("candidates", "first:2"),
    ("always", "embeddings"),
    ("never", "head"),
    ("blocks", "children"),
    ("units", "halves"),
    ("adapter", "lora"),
    ("held_out", 0.2),
    ("max_length", 64),
    ("image_size", 8),
    ("precision", "bf16"),
    ("seed", 4),
]


def test_every_key_has_its_cases() -> None:
    assert [key for key, _ in SAME] == [key for key, _ in OTHER] == list(PinSection.model_fields)


@pytest.mark.parametrize(("key", "value"), SAME)
def test_a_run_that_says_the_same_is_taken(key: str, value: object) -> None:
    check_pins(PinSection.model_validate({key: value}), read_run_spec(SAID))


@pytest.mark.parametrize(("key", "value"), OTHER)
def test_a_run_that_says_something_else_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ClientError, match=rf"and its own file pins .* \(pin\.{key}\)") as raised:
        check_pins(PinSection.model_validate({key: value}), read_run_spec(SAID))
    assert raised.value.reason == "REFUSED"


def test_what_is_not_pinned_is_the_run_s_to_say() -> None:
    check_pins(PinSection(), read_run_spec({**SAID, "model": {"path": "x", "units": "halves", "always": "first:1"}}))


def test_a_pin_holds_for_the_join_and_for_every_message(tmp_path: Path) -> None:
    server = Server()
    service = office_in(tmp_path, pin={"always": [], "units": "blocks"})
    said = server.said("join")
    said["run_spec"]["model"]["always"] = "embeddings"
    message = "the run has model.always: ['embeddings'], and its own file pins [] (pin.always)"
    assert service.answer(said, {}).said == {"kind": "refused", "message": message}
    request = train(server.weights)
    work = server.work(request) | {"run_spec": said["run_spec"]}
    reply = server.read(service.answer(work, {}), request)
    assert getattr(reply, "reason", None) == "REFUSED"
    assert service.answer(server.said("join"), {}).said["kind"] == "declaration"
