"""The fault matrix over real processes: what is killed, cut off, slow or full, and what becomes of the run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any

import psutil
import pytest

from fedstrata.deploy.site.runtime_dir import runtime_dir_of
from flower_deployment import Deployment, deployed, ended, here, lines, model_bits, reached
from waiting import HANG, until

pytestmark = [pytest.mark.soak, pytest.mark.enable_socket]
VICTIM = "client-00"
KINDS = {"probe": "query.probe", "train": "train.layers", "evaluate": "evaluate"}
ROWS: list[str] = []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("flower"), database=True) as deployment:
        code, said = deployment.run(f"output={deployment.folder / 'warm'}", "train.rounds=1")
        assert code == 0, said
        yield deployment
    print("\n| fault | phase | seconds | exit | bits of the undisturbed run | losses |")
    print("|---|---|--:|--:|---|---|")
    print("\n".join(ROWS))


def deadline(world: Deployment, least: float) -> str:
    """Return a round's deadline: six times what a site usually needs here, so that the others are in time."""
    usual = median(exchange["seconds"] for exchange in lines(world.folder / "warm" / "wire.jsonl"))
    return f"round.deadline={max(least, 6 * usual):.0f}"


def told(fault: str, phase: str, run: Path, *, start: float, code: int) -> None:
    losses: dict[str, int] = {}
    for event in lines(run / "events.jsonl"):
        for reason, count in (event.get("losses") or {}).items() if event["event"] == "round" else ():
            losses[reason] = losses.get(reason, 0) + count
    model = run / "model" / "model.safetensors"
    same = ("same" if model_bits(run) == model_bits(here("local")) else "others") if model.exists() else "-"
    ROWS.append(f"| {fault} | {phase} | {monotonic() - start:.0f} | {code} | {same} | {losses or ''} |")
    print(ROWS[-1])


def once_each(run: Path) -> None:
    """No contribution counts twice: each key stands once among what the journal accepted."""
    keys = [tuple(e["key"].values()) for e in lines(run / "journal.jsonl") if e["kind"] == "accept"]
    assert len(keys) == len(set(keys))


def at_work(world: Deployment, phase: str) -> Callable[[], bool]:
    """Return whether the victim's SuperNode has taken another message of a phase since now."""
    log = world.trial.nodes[VICTIM].log
    start = log.stat().st_size

    def taken() -> bool:
        return f"Receiving: {KINDS[phase]} message" in log.read_bytes()[start:].decode(errors="replace")

    return taken


def supervised(world: Deployment) -> None:
    """Start the victim's SuperNode until it stays, as a service manager does: Flower turns it away for a minute."""
    end = monotonic() + HANG
    while monotonic() < end:
        world.trial.start_node(VICTIM)
        node = world.trial.nodes[VICTIM]
        while node.running and "SuperNode ID" not in node.said():
            sleep(0.2)
        if node.running:
            return
        node.stop()
        sleep(5)
    raise AssertionError("the SuperNode was never let in")


def begun(world: Deployment, name: str, *overrides: str) -> tuple[Path, subprocess.Popen[str], float]:
    run = world.folder / name
    return run, world.start(f"output={run}", *overrides), monotonic()


@pytest.mark.parametrize("phase", KINDS)
def test_a_supernode_is_killed_and_started_again(world: Deployment, phase: str) -> None:
    taken = at_work(world, phase)
    run, process, start = begun(world, f"killed-{phase}")
    reached(process, taken, why=phase)
    world.trial.nodes[VICTIM].kill()
    supervised(world)
    code, said = ended(process)
    told("SuperNode killed, started again", phase, run, start=start, code=code)
    assert code == 0, said
    assert model_bits(run) == model_bits(here("local"))
    once_each(run)


@pytest.mark.parametrize("phase", ["probe", "train"])
def test_a_supernode_is_killed_for_good(world: Deployment, phase: str) -> None:
    taken = at_work(world, phase)
    run, process, start = begun(world, f"gone-{phase}", deadline(world, 20.0))
    reached(process, taken, why=phase)
    world.trial.nodes[VICTIM].kill()
    code, said = ended(process)
    told("SuperNode killed for good, deadline 20 s or more", phase, run, start=start, code=code)
    supervised(world)
    assert code == 0, said
    lost = {e["client"] for e in lines(run / "events.jsonl") if e["event"] == "client" and e["failure"]}
    assert lost == {VICTIM}
    once_each(run)


def test_a_worker_is_killed_at_its_work(world: Deployment) -> None:
    taken = at_work(world, "train")
    run, process, start = begun(world, "worker", "train.steps=1500")
    reached(process, taken, why="training")
    worker = psutil.Process(int(runtime_dir_of(world.trial.site_file(VICTIM)).pid.read_text()))
    idle = sum(worker.cpu_times()[:2])
    until(lambda: sum(worker.cpu_times()[:2]) > idle + 1.0, why="the message has come to the worker, which trains")
    worker.kill()
    code, said = ended(process)
    told("resident worker killed", "train", run, start=start, code=code)
    assert code == 0, said
    failed = [e for e in lines(run / "events.jsonl") if e["event"] == "client" and e["failure"]]
    assert [(e["client"], e["round"], e["failure"]) for e in failed] == [(VICTIM, 1, "CLIENT_ERROR")]


@pytest.mark.parametrize("phase", ["probe", "train"])
def test_the_superlink_is_killed(world: Deployment, phase: str) -> None:
    taken = at_work(world, phase)
    run, process, start = begun(world, f"link-{phase}")
    reached(process, taken, why=phase)
    assert world.trial.link is not None
    world.trial.link.kill()
    code, said = ended(process)
    assert code == 4, said
    world.trial.start_link()
    code, said = world.run(verb=("resume", str(run)))
    told("SuperLink killed, started again, resumed", phase, run, start=start, code=code)
    assert code == 0, said
    assert model_bits(run) == model_bits(here("local"))
    once_each(run)


def test_the_serverapp_is_killed(world: Deployment) -> None:
    taken = at_work(world, "train")
    run, process, start = begun(world, "serverapp")
    reached(process, taken, why="training")
    os.kill(_serverapp(world), signal.SIGKILL)
    code, said = ended(process)
    assert code == 4, said
    assert "fedstrata resume" in said
    code, said = world.run(verb=("resume", str(run)))
    told("ServerApp killed, resumed", "train", run, start=start, code=code)
    assert code == 0, said
    assert model_bits(run) == model_bits(here("local"))
    once_each(run)


def test_a_site_is_slow(world: Deployment) -> None:
    taken = at_work(world, "train")
    run, process, start = begun(world, "slow", deadline(world, 15.0))
    reached(process, taken, why="training")
    pid = int(runtime_dir_of(world.trial.site_file(VICTIM)).pid.read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: any(e["event"] == "round" for e in lines(run / "events.jsonl")), why="a round")
    finally:
        os.kill(pid, signal.SIGCONT)
    code, said = ended(process)
    told("site stands still past the deadline of 15 s or more", "train", run, start=start, code=code)
    assert code == 0, said
    late = [e for e in lines(run / "events.jsonl") if e["event"] == "client" and e["failure"]]
    assert (late[0]["client"], late[0]["round"], late[0]["failure"]) == (VICTIM, 1, "LATE")
    once_each(run)


@pytest.mark.parametrize(
    ("free", "state_of", "outcome"),
    [(400, "new", "same"), (400, "kept", "no room for its state"), (0, "kept", "nothing leaves")],
)
def test_a_sites_disk_is_full(world: Deployment, free: int, state_of: str, outcome: str, tmp_path: Path) -> None:
    """Layers that cannot be kept are sent again; what only the site has, and cannot keep, is its own answer's loss."""
    setting = f"trainer.optimizer_state={state_of}"
    state = world.trial.site_file(VICTIM).parent / "state"
    size = f"size={max(free, 4)}k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(state)], check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    try:
        if not free:
            (state / "filler").write_bytes(b"x" * 4096)
        run, process, start = begun(world, f"full-{free}-{state_of}", setting)
        code, said = ended(process)
        told(f"site's disk has {free} kB left, state {state_of}", "all", run, start=start, code=code)
        assert code == 0, said
        failures = [e["failure_message"] for e in lines(run / "events.jsonl") if e.get("failure")]
        if outcome == "same":
            assert model_bits(run) == model_bits(here("local", setting))
            assert not failures
        elif free:
            assert failures
            assert all("what the client keeps between rounds cannot be written" in message for message in failures)
        else:
            assert VICTIM in said
            assert "nothing leaves" in said
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def _serverapp(world: Deployment) -> int:
    import psutil

    def found() -> Any:  # noqa: ANN401
        assert world.trial.link is not None
        children = psutil.Process(world.trial.link.pid).children(recursive=True)
        return [p.pid for p in children if any("flwr-serverapp" in part for part in p.cmdline())]

    pid: int = until(found, why="the ServerApp's process")[0]
    return pid
