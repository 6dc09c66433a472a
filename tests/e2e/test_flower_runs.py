"""Runs over a real SuperLink with TLS and registered keys: the bits of every other engine, and no byte too many."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from fedstrata.assembly.loading import load_network, load_rows
from fedstrata.config.load import load_config
from fedstrata.deploy.flower.inside import ARGUMENTS
from fedstrata.deploy.flower.trial import Trial
from fedstrata.deploy.site.runtime_dir import runtime_dir_of
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.wire.sizes import Encoding, update_bytes
from flower_deployment import ended, here, lines, model_bits, reached
from other_user import no_other_user, tries
from waiting import HANG, until

from .conftest import TAPPED, World

pytestmark = pytest.mark.enable_socket
SLACK = 64 * 1024
"""Bytes that an exchange may need beyond layers and scores, besides one percent of them."""


def layers_of(config: Path) -> LayerMap:
    loaded = load_config(config, ["engine=local"])
    return load_network(loaded, load_rows(loaded)).layers


def exchanges(run: Path, client: str, phase: str) -> list[dict[str, Any]]:
    return [e for e in lines(run / "wire.jsonl") if (e["client"], e["phase"]) == (client, phase)]


@dataclass
class Seen:
    """What can be known of a trial while a run is played in it.

    Attributes:
        ports: TCP ports on which any process of it listens.
        secrets: Tokens of the programs that Flower starts.
        commands: Command lines of all processes of the machine.
        stranger: What another user could make of it; ``None`` where there is none to try.
    """

    ports: list[int]
    secrets: list[str]
    commands: list[str]
    stranger: dict[str, Any] | None


SEEN: list[Seen] = []


def looked_at(trial: Trial) -> Seen:
    """Look at a trial at its work as its user, and try as another one."""
    services = [service for service in (trial.link, *trial.nodes.values()) if service]
    tree = [p for s in services for p in (psutil.Process(s.pid), *psutil.Process(s.pid).children(recursive=True))]
    workers = [psutil.Process(int(runtime_dir_of(trial.site_file(name)).pid.read_text())) for name in trial.sites]
    ends, arguments = [], []
    for process in (*tree, *workers):
        with suppress(psutil.NoSuchProcess):  # messengers come and go
            ends += process.net_connections("inet")
            arguments.append(json.loads(process.environ().get(ARGUMENTS, "[]")))
    secrets = [words[words.index("--token") + 1] for words in arguments if "--token" in words]
    assert trial.sockets is not None
    rooms = [runtime_dir_of(trial.site_file(name)).path for name in trial.sites]
    folders = [trial.folder, trial.sockets, *rooms]
    files = [file for folder in folders for file in (folder, *folder.rglob("*")) if not file.is_socket()]
    sockets = [str(file) for folder in folders for file in folder.rglob("*") if file.is_socket()]
    secret = [Path(f"/proc/{process.pid}/environ") for process in (*tree, *workers)]
    stranger = None if no_other_user() else tries(paths=[*files, *secret], addresses=sockets)
    assert len(sockets) >= 1 + 2 * len(trial.sites) + len(rooms) - 1  # the test looks at what is there
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    ports = [end.laddr.port for end in ends if end.status == psutil.CONN_LISTEN]
    return Seen(ports, secrets, commands, stranger)


@pytest.fixture(scope="session")
def interrupted(world: World) -> Path:
    """A run in which one site's SuperNode is ended while the site trains, and started again."""
    deployment = world.deployment
    run = deployment.folder / "interrupted"
    process = deployment.start(f"output={run}")

    def probed() -> bool:
        return len([e for e in lines(run / "wire.jsonl") if e["phase"] == "probe"]) == 2

    try:
        reached(process, probed, why="the first probe")
        SEEN.append(looked_at(deployment.trial))
        deployment.trial.nodes["client-00"].stop()
        deployment.trial.start_node("client-00")
    finally:
        code, said = ended(process)
    assert code == 0, said
    return run


def test_the_bits_are_those_of_the_local_engine_though_a_site_was_started_anew_at_its_work(interrupted: Path) -> None:
    assert model_bits(interrupted) == model_bits(here("local"))
    events = lines(interrupted / "events.jsonl")
    assert [len(e["failure"] or "") for e in events if e["event"] == "client"] == [0] * 4


def test_a_trial_listens_on_no_port_and_shows_no_token(interrupted: Path) -> None:
    (seen,) = SEEN
    assert seen.ports == []
    assert seen.secrets
    assert [line for line in seen.commands if any(secret in line for secret in seen.secrets)] == []


def test_another_user_of_the_machine_reaches_and_reads_nothing_of_a_trial(interrupted: Path) -> None:
    (seen,) = SEEN
    if seen.stranger is None:
        pytest.skip(str(no_other_user()))
    assert (seen.stranger["reached"], seen.stranger["read"]) == ([], [])
    assert seen.stranger["commands"]
    assert [line for line in seen.stranger["commands"] if any(secret in line for secret in seen.secrets)] == []


def test_the_bits_are_those_of_the_local_engine_in_a_simulation() -> None:
    assert model_bits(here("flower-simulation")) == model_bits(here("local"))


def test_the_server_sends_what_a_site_lacks_and_the_site_what_it_trained(interrupted: Path, world: World) -> None:
    """Expected from the masks in the event log and the sizes in the model, and counted by the engine."""
    layers = layers_of(world.deployment.config)
    blocks = {block.name: block for block in layers.trainable}
    events = lines(interrupted / "events.jsonl")
    masks = [e["mask"] for e in events if e["event"] == "client" and e["client"] == TAPPED]
    head = [block.name for block in layers.always]
    moved = [
        [layer["name"] for layer in event["layers"] if layer["contributors"]]
        for event in events
        if event["event"] == "round"
    ]
    down = [e["layers_down"] for e in lines(interrupted / "wire.jsonl") if e["client"] == TAPPED]
    assert down == [[], head, [], [], moved[0], [], moved[1]]
    for exchange, mask in zip(exchanges(interrupted, TAPPED, "train"), masks, strict=True):
        deltas = update_bytes(layers.blocks(frozenset(mask)), Encoding.FLOAT32)
        assert deltas <= exchange["bytes_up"] <= 1.01 * deltas + SLACK
    for exchange in lines(interrupted / "wire.jsonl"):
        sent = sum(blocks[name].bytes for name in exchange["layers_down"])
        assert sent <= exchange["bytes_down"] <= 1.01 * sent + SLACK


def test_the_socket_carries_what_is_counted_within_a_percent_and_64_kib(interrupted: Path, world: World) -> None:
    mine = [e for e in lines(interrupted / "wire.jsonl") if e["client"] == TAPPED]
    before = world.tap.at(mine[0]["at"])
    for exchange in mine[1:]:
        after = world.tap.at(exchange["at"])
        down, up = after[0] - before[0], after[1] - before[1]
        before = after
        assert exchange["bytes_down"] <= down <= 1.01 * exchange["bytes_down"] + SLACK, exchange
        assert exchange["bytes_up"] <= up <= 1.01 * exchange["bytes_up"] + SLACK, exchange


def test_a_superlink_that_dies_costs_no_round_and_a_piggybacking_probe_costs_no_exchange(world: World) -> None:
    deployment, piggybacks = world.deployment, "probe.piggyback=true"
    run = deployment.folder / "piggybacking"
    process = deployment.start(f"output={run}", piggybacks)

    def first_round_done() -> bool:
        return any(e["event"] == "round" for e in lines(run / "events.jsonl"))

    try:
        reached(process, first_round_done, why="the first round")
        assert deployment.trial.link is not None
        deployment.trial.link.kill()
    finally:
        code, said = ended(process)
    assert code == 4, said
    assert "the SuperLink does not answer" in said
    assert f"fedstrata resume {run}" in said
    assert not (run / "model").exists()
    deployment.trial.start_link()
    code, said = deployment.run(verb=("resume", str(run)))
    assert code == 0, said
    assert model_bits(run) == model_bits(here("local", piggybacks))
    phases = [(e["phase"], e["round"]) for e in lines(run / "wire.jsonl") if e["client"] == TAPPED and e["round"] == 2]
    assert ("train", 2) in phases
    assert ("probe", 2) not in phases


def test_a_site_without_a_network_is_late_and_the_others_are_not(interrupted: Path, world: World) -> None:
    """The others get six times what they usually need here, and 15 seconds at least.

    On a slow machine that is longer than Flower waits for a node's sign of life, and then it is Flower that says so.
    """
    deployment = world.deployment
    run, usual = deployment.folder / "late", median(e["seconds"] for e in lines(interrupted / "wire.jsonl"))
    deadline = f"round.deadline={max(15.0, 6 * usual):.0f}"
    process = deployment.start(f"output={run}", deadline, "train.rounds=1", "evaluate.every=1")

    def probed() -> bool:
        return len([e for e in lines(run / "wire.jsonl") if e["phase"] == "probe"]) == 2

    try:
        reached(process, probed, why="the probe")
        world.tap.hold()
        rounds = run / "events.jsonl"
        reached(process, lambda: any(e["event"] == "round" for e in lines(rounds)), why="the round's end")
    finally:
        world.tap.go_on()
        code, said = ended(process)
    assert code == 0, said
    clients = {e["client"]: e["failure"] for e in lines(run / "events.jsonl") if e["event"] == "client"}
    why = clients.pop(TAPPED)
    assert set(clients.values()) == {None}
    if why != "LATE":
        [lost] = [e["outcome"] for e in lines(run / "wire.jsonl") if (e["client"], e["phase"]) == (TAPPED, "train")]
        assert (why, "Node Unavailable" in lost) == ("CLIENT_ERROR", True)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["rounds"] == 1


def test_a_site_says_in_plain_words_what_left_it(interrupted: Path, world: World) -> None:
    log = (world.deployment.trial.site_file(TAPPED).parent / "state" / "left.log").read_text()
    rows = len(load_rows(load_config(world.deployment.config, ["engine=local"])).clients[ClientId(TAPPED)].train)
    assert f"{rows} training rows" in log
    assert "round 0: sent" in log or "round 1: sent" in log


def test_an_unregistered_key_is_refused(world: World) -> None:
    from fedstrata.deploy.flower.keys import make_site_key
    from fedstrata.deploy.flower.services import Home, supernode

    folder = world.deployment.folder / "stranger"
    (folder).mkdir()
    make_site_key(folder / "key")
    trial = world.deployment.trial
    stranger = supernode(
        folder / "site.yaml",
        folder / "key",
        trial.address,
        authority=trial.certificates.authority,
        port=9500,
        home=Home(folder / "flwr", trial.sockets),
        log=folder / "log",
    )
    try:
        assert stranger.code(within=HANG) not in (None, 0)
        assert "SuperNode ID" not in stranger.said()
    finally:
        stranger.stop()


def test_a_server_with_another_certificate_is_refused_by_the_site(world: World) -> None:
    from fedstrata.deploy.flower.keys import make_certificates
    from fedstrata.deploy.flower.services import Home, supernode

    folder = world.deployment.folder / "wary"
    other = make_certificates(folder / "tls")
    trial = world.deployment.trial
    wary = supernode(
        folder / "site.yaml",
        trial.key("client-00"),
        trial.address,
        authority=other.authority,
        port=9500,
        home=Home(folder / "flwr", trial.sockets),
        log=folder / "log",
    )
    try:
        until(lambda: "Connection attempt failed" in wary.said() or not wary.running, why="a refusal")
        assert "SuperNode ID" not in wary.said()
    finally:
        wary.stop()
