"""The thin caller and the worker's processes: one per site, warm, replaced when it is gone, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from fedstrata.deploy.site import worker_client as desk
from fedstrata.deploy.site.answer import Answer
from fedstrata.deploy.site.channel import Channel
from fedstrata.deploy.site.runtime_dir import runtime_dir_of
from fedstrata.deploy.site.worker_client import ask, status, stop
from fedstrata.locks import Lock
from site_world import write_site
from toy_worker import COMMAND
from waiting import HANG, until

ROWS = {"train": "rows.csv", "text": "note"}


@pytest.fixture(autouse=True, scope="module")
def runtime() -> Iterator[None]:
    """Have rooms in a folder of the tests' own, and toy workers that can be imported."""
    folder = Path(tempfile.mkdtemp(prefix="fs-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        yield
    shutil.rmtree(folder)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """Return a site's file, and leave no worker of it behind."""
    path = write_site(tmp_path / "ward", data=ROWS)
    yield path
    stop(path, timeout=HANG)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the file of a site whose worker is left as it is."""
    path = write_site(tmp_path_factory.mktemp("shared"), data=ROWS)
    call(path)
    yield path
    assert log_of(path).count(" serves ") == 1
    stop(path, timeout=HANG)


def call(
    path: Path,
    do: str = "echo",
    *,
    timeout: float = HANG,
    layers: Mapping[str, bytes] | None = None,
    **more: str,
) -> Answer:
    return ask(path, {"do": do, **more}, layers or {}, timeout=timeout, worker=COMMAND)


def processes(path: Path) -> list[int]:
    """Return the processes that were started for a site."""
    there = psutil.process_iter(["cmdline", "status"])
    return [p.pid for p in there if str(path) in (p.info["cmdline"] or []) and p.info["status"] != psutil.STATUS_ZOMBIE]


def log_of(path: Path) -> str:
    return (path.parent / "state" / "worker.log").read_text()


def gone(path: Path) -> bool:
    """Wait until no worker of a site lives, and return whether that came about."""
    lock = Lock(runtime_dir_of(path).life)
    ended = lock.take(within=HANG)
    lock.release()
    return ended


def test_the_caller_needs_nothing_heavy() -> None:
    heavy = "torch", "numpy", "pydantic", "yaml", "transformers", "safetensors", "multiprocessing", "pickle"
    code = f"import sys, fedstrata.deploy.site.worker_client; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_second_message_finds_the_worker_warm(shared: Path) -> None:
    blobs = {"h.0": bytes(range(256)) * 5000, "head": b""}
    first = call(shared, layers=blobs, text="ä\n")
    assert (first.parts, first.blocks, first.said["text"]) == ((b"head", *blobs.values()), ("h.0", "head"), "ä\n")
    second = call(shared)
    assert (second.said["pid"], second.said["made"]) == (first.said["pid"], first.said["made"])
    assert status(shared, timeout=HANG) == {
        "pid": first.said["pid"],
        "version": version("fedstrata"),
        "log": str(shared.parent / "state" / "worker.log"),
        "state": str(shared.parent / "state"),
    }


CALLER = """
import sys
from pathlib import Path
from fedstrata.deploy.site.worker_client import ask
from toy_worker import COMMAND
print(ask(Path(sys.argv[1]), {"do": "echo"}, {}, worker=COMMAND).said["pid"])
"""


def test_callers_who_race_get_one_worker_which_outlives_them(site: Path) -> None:
    run = partial(subprocess.run, [sys.executable, "-c", CALLER, str(site)], capture_output=True, text=True, check=True)
    with ThreadPoolExecutor(3) as pool:
        pids = {future.result().stdout.strip() for future in [pool.submit(run) for _ in range(3)]}
    assert pids == {str(call(site).said["pid"])}
    assert log_of(site).count(" serves ") == 1
    assert len(processes(site)) == 2  # the one that serves, and the one that waits for it


def test_a_worker_that_is_stuck_in_compiled_code_ends_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_GRACE", "0.3")
    path = write_site(tmp_path / "ward", data=ROWS, limits={"seconds": 0.1})
    try:
        answer = call(path, "spin")
        assert answer.said == {
            "kind": "crashed",
            "message": "the site's worker ended while it worked: it exited with code 1",
        }
    finally:
        stop(path)


def test_a_worker_that_crashes_is_told_of_and_replaced(site: Path) -> None:
    pids = [call(site).said["pid"]]
    raised = call(site, "raise")
    assert raised.said == {
        "kind": "crashed",
        "message": "the site's worker ended while it worked: it exited with code 1",
    }
    assert raised.words == "ValueError: row 17 of rows.csv is odd"
    pids.append(call(site).said["pid"])
    killed = call(site, "kill")
    assert killed.said["message"].endswith("ended while it worked: it was killed (SIGKILL), perhaps out of memory")
    assert f"worker {pids[-1]} of site ward serves" in killed.words
    pids.append(call(site).said["pid"])
    os.kill(pids[-1], signal.SIGKILL)  # between two messages
    pids.append(call(site).said["pid"])
    assert len(set(pids)) == 4


def test_a_stranger_is_turned_away_and_the_worker_stays(shared: Path) -> None:
    pid = call(shared).said["pid"]
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(str(runtime_dir_of(shared).socket))
        with pytest.raises((EOFError, ConnectionError)):
            Channel(end, HANG).introduce(b"x" * 32)
    assert call(shared).said["pid"] == pid
    assert "turned a caller away: the caller does not know the key" in log_of(shared)


def test_what_asks_for_nothing_is_turned_away(shared: Path) -> None:
    pid = call(shared).said["pid"]
    odds: list[dict[str, Any]] = [
        {},
        {"said": 5, "layers": []},
        {"said": {}, "layers": ["h"]},
        {"said": {}, "layers": 7},
    ]
    for odd in odds:
        caller = desk._Caller(shared, monotonic() + HANG, COMMAND)
        with caller.connected() as end:
            channel, _ = caller.greeted(end)
            channel.send(odd)
            with pytest.raises((EOFError, ConnectionError)):
                channel.receive()
    assert call(shared).said["pid"] == pid


def test_a_worker_whose_key_is_gone_is_replaced(site: Path) -> None:
    pid = call(site).said["pid"]
    (runtime_dir_of(site).path / "key").unlink()
    assert call(site).said["pid"] != pid


def test_a_worker_ends_when_nobody_asks(tmp_path: Path) -> None:
    path = write_site(tmp_path, data=ROWS, idle=0.2)
    call(path)
    assert gone(path)
    assert not runtime_dir_of(path).socket.exists()
    assert log_of(path).endswith("the worker ends: nobody has asked for 0.2 s\n")
    assert (status(path), processes(path), stop(path, timeout=HANG)) == (None, [], False)


def test_another_site_file_needs_another_worker(site: Path) -> None:
    pid = call(site).said["pid"]
    site.write_text(site.read_text() + "name: other\n")
    assert call(site).said["pid"] != pid
    assert "the worker ends: the site's file is another one now" in log_of(site)
    assert "of site other serves" in log_of(site)


def test_a_worker_of_another_version_is_replaced(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = call(site).said["pid"]
    versions = iter(["0.0.1"])
    real = version("fedstrata")
    monkeypatch.setattr("fedstrata.deploy.site.worker_client.version", lambda name: next(versions, real))
    assert call(site).said["pid"] != pid
    assert log_of(site).count("the worker ends: it was asked to") == 1


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    yield path
    let_go(path)


def let_go(fifo: Path) -> None:
    """Let whoever waits at a pipe go on."""
    with suppress(OSError):
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))


def once_at_work(fifo: Path) -> int:
    """Wait until somebody waits at a pipe, and return its other end."""
    (end,) = until(lambda: _opened(fifo), why="somebody at the pipe")
    return end


def _opened(fifo: Path) -> list[int]:
    try:
        return [os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)]
    except OSError:
        return []


def test_who_comes_while_it_works_waits_for_its_turn_or_goes(shared: Path, fifo: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first: Future[Answer] = pool.submit(call, shared, "wait", fifo=str(fifo))
        held = once_at_work(fifo)
        late = call(shared, timeout=0.2)
        second = pool.submit(call, shared)
        assert not second.done()
        os.close(held)
        assert first.result(HANG).said["pid"] == second.result(HANG).said["pid"]
    assert late.said == {"kind": "late", "message": "the site's worker did not answer within 0.2 s"}


def test_a_caller_who_goes_away_changes_nothing(shared: Path, fifo: Path) -> None:
    pid = call(shared).said["pid"]
    caller = desk._Caller(shared, monotonic() + HANG, COMMAND)
    with caller.connected() as end:
        channel, _ = caller.greeted(end)
        channel.send({"said": {"do": "wait", "fifo": str(fifo)}, "layers": []})
        held = once_at_work(fifo)
    os.close(held)
    assert call(shared).said["pid"] == pid


def test_a_busy_worker_is_stopped_too(site: Path, fifo: Path) -> None:
    call(site)
    with ThreadPoolExecutor(1) as pool:
        lost: Future[Answer] = pool.submit(call, site, "wait", fifo=str(fifo))
        held = once_at_work(fifo)
        assert stop(site, timeout=HANG)
        os.close(held)
        assert lost.result(HANG).said["message"].endswith("ended while it worked: it was killed (SIGTERM)")
    assert not runtime_dir_of(site).socket.exists()
    assert (processes(site), status(site)) == ([], None)


@pytest.mark.parametrize("stopped", [True, False])
def test_stop_leaves_nothing_behind(site: Path, stopped: bool) -> None:
    if stopped:
        call(site)
    assert stop(site, timeout=HANG) is stopped
    assert not runtime_dir_of(site).socket.exists()
    assert processes(site) == []


def test_a_site_file_that_is_wrong_is_told_of_here_alone(site: Path) -> None:
    site.write_text("nmae: x\n")
    answer = call(site)
    assert answer.said == {"kind": "crashed", "message": "the site's worker does not start"}
    assert answer.words == f"{site}:1:1: nmae: no such key; did you mean 'name'?"
    site.unlink()
    assert call(site).words.startswith(f"there is no site file {site}")


def test_two_files_may_not_share_a_state_folder(site: Path) -> None:
    call(site)
    other = site.with_name("other.yaml")
    other.write_text(site.read_text())
    answer = call(other)
    assert answer.said["message"] == "the site's worker does not start"
    assert "each site's file needs a state folder of its own" in answer.words


def test_a_program_that_is_not_there_is_told_of(site: Path) -> None:
    answer = ask(site, {}, {}, worker=("/no/such/program",))
    assert answer.said == {"kind": "crashed", "message": "the site's worker cannot be started"}
    answer = ask(site, {}, {}, worker=(sys.executable, "-c", "pass"))
    assert answer.said == {"kind": "crashed", "message": "the site's worker does not start"}


def test_a_room_that_cannot_be_had_anywhere_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fs-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    mine = folder / f"fedstrata-{os.getuid()}"
    mine.mkdir()
    mine.chmod(0o755)
    monkeypatch.setattr("fedstrata.deploy.site.runtime_dir._places", lambda: [mine])
    answer = call(write_site(tmp_path, data=ROWS))
    assert answer.said == {"kind": "crashed", "message": "the site's worker cannot be reached"}
    assert "is not a folder of this user alone" in answer.words
    shutil.rmtree(folder)
