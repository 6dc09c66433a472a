"""Flower's processes: started, listened to, and gone with everything that they started themselves."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from flwr.cli.flower_config import read_superlink_connection

from fedstrata.deploy.flower import services
from fedstrata.deploy.flower.services import Home, Service, flwr, flwr_json
from fedstrata.errors import TrainingError
from waiting import HANG

Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start Python with a program as a service; whatever is left at the end of the test is killed."""
    started: list[Service] = []

    def run(program: str, **environment: str) -> Service:
        command = ["python", "-S", "-c", program]
        home, log = Home(tmp_path / "home"), tmp_path / "logs" / "service.log"
        started.append(Service("the service", command, home=home, log=log, environment=environment))
        return started[-1]

    yield run
    for service in started:
        service.kill()


class Family:
    """A program that starts another one, and a pipe that both hold open for as long as either lives."""

    def __init__(self, folder: Path) -> None:
        os.mkfifo(folder / "alive")
        self._end = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
        child = (
            "import os, sys, time; print('the child is up', flush=True); os.write(int(sys.argv[1]), b'x'); "
            "time.sleep(600)"
        )
        self.program = (
            "import os, subprocess, sys, time\n"
            f"os.set_inheritable(os.open({str(folder / 'alive')!r}, os.O_WRONLY), True)\n"
            "up, told = os.pipe()\n"
            "os.set_inheritable(told, True)\n"
            f"subprocess.Popen([sys.executable, '-S', '-c', {child!r}, str(told)], close_fds=False)\n"
            "os.read(up, 1)\n"  # whoever starts it may count on its child, on however slow a machine
        )

    def gone(self, within: float = HANG) -> bool:
        """Whether nobody holds the pipe any more."""
        readable, _, _ = select.select([self._end], [], [], within)
        return bool(readable) and os.read(self._end, 1) == b""

    def close(self) -> None:
        os.close(self._end)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    found = Family(tmp_path)
    yield found
    found.close()


ENDS: dict[str, Callable[[Service], None]] = {"stop": Service.stop, "kill": Service.kill}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_a_service_started_itself_ends_with_it(
    start: Start, family: Family, end: Callable[[Service], None]
) -> None:
    service = start(f"{family.program}time.sleep(600)")
    service.wait_for("the child is up", within=HANG)
    assert not family.gone(within=0)
    end(service)
    assert not service.running
    assert family.gone()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_a_service_left_behind_when_it_ended_is_ended_too(
    start: Start, family: Family, end: Callable[[Service], None]
) -> None:
    service = start(family.program)
    service.wait_for("the child is up", within=HANG)
    assert service.code(within=HANG) == 0
    assert not family.gone(within=0)
    end(service)
    assert family.gone()


def test_a_service_that_does_not_want_to_end_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start("import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)")
    service.wait_for("up", within=HANG)
    monkeypatch.setattr(services, "_END_LIMIT", 0.2)
    service.stop()
    assert service.code(within=0) == -9


def test_a_service_that_is_asked_to_end_may_end_in_its_own_way(start: Start) -> None:
    service = start(
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: (print('goodbye', flush=True), sys.exit(7)))\n"
        "print('up', flush=True); time.sleep(600)"
    )
    service.wait_for("up", within=HANG)
    assert service.code(within=0) is None
    service.stop()
    assert service.code(within=0) == 7
    assert service.said() == "up\ngoodbye\n"


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_ending_twice_is_ending_once(start: Start, end: Callable[[Service], None]) -> None:
    service = start("print('up')")
    service.wait_for("up", within=HANG)
    end(service)
    end(service)
    assert not service.running


def test_a_service_that_ends_before_it_says_it_is_an_error_with_its_last_words(start: Start) -> None:
    service = start("import sys; [print('line', i) for i in range(9)]; sys.exit('no such certificate')")
    with pytest.raises(TrainingError, match="the service ended with code 1: line 7 line 8 no such certificate"):
        service.wait_for("up", within=HANG)


def test_what_a_service_said_at_its_end_was_said(start: Start) -> None:
    service = start("print('up')")
    assert service.code(within=HANG) == 0
    service.wait_for("up", within=0)


def test_a_service_that_takes_too_long_is_an_error_with_its_words_so_far(start: Start) -> None:
    service = start("import time; print('starting', flush=True); time.sleep(600)")
    service.wait_for("starting", within=HANG)
    with pytest.raises(TrainingError, match=r"the service did not say 'up' within 0\.1 s: starting"):
        service.wait_for("up", within=0.1)


def test_what_was_said_in_another_life_does_not_count(start: Start) -> None:
    start("print('up')").wait_for("up", within=HANG)
    again = start("import time; print('starting', flush=True); time.sleep(600)")
    again.wait_for("starting", within=HANG)
    assert again.said() == "starting\n"
    assert again.log.read_text() == "up\nstarting\n"


def test_words_that_are_no_text_are_words_too(start: Start) -> None:
    start("import os; os.write(1, b'\\xff up')").wait_for("\N{REPLACEMENT CHARACTER} up", within=HANG)


def test_a_program_that_is_not_installed_is_an_error_with_the_way_to_it(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no-such-program cannot be started: .*; install it with: pip install"):
        Service("it", ["no-such-program"], home=Home(tmp_path), log=tmp_path / "log")


def test_a_service_lives_in_its_home_and_is_quiet(start: Start, tmp_path: Path) -> None:
    names = ("FLWR_HOME", "FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK", "MORE")
    service = start(f"import os; print([os.environ[n] for n in {names}])", MORE="x")
    service.wait_for(str([str(tmp_path / "home"), "0", "1", "x"]), within=HANG)


def test_flowers_programs_find_each_other_in_a_home_of_ours_and_in_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []

    def run(command: object, *, env: dict[str, str], **options: object) -> CompletedProcess[str]:
        seen.append(env)
        return CompletedProcess("flwr", 0, "done", "")

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setenv("FLWR_HOME", "the user's")
    monkeypatch.setenv("FEDSTRATA_CACHE", "here/cache")
    monkeypatch.setenv("no_proxy", "example.org")
    assert [flwr(["list"], home=home) for home in (Home(tmp_path), None)] == ["done", "done"]
    assert [env["FLWR_HOME"] for env in seen] == [str(tmp_path), "the user's"]
    for env in seen:
        assert env["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
        assert env["FLWR_TELEMETRY_ENABLED"] == "0"
        assert env["FEDSTRATA_CACHE"] == str(Path("here/cache").absolute())  # its processes have other folders
        assert env["no_proxy"] == "example.org,127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("authority", "insecure"),
    [("ca.crt", False), ('of "st\\mary"/ca.crt', False), ("höhe/ca.crt", False), (None, True)],
)
def test_flower_reads_the_connection_that_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: str | None, insecure: bool
) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.connect("trial", "127.0.0.1:18000", tmp_path / authority if authority else None)
    monkeypatch.setenv("FLWR_HOME", str(home.path))
    for name in (None, "trial"):
        found = read_superlink_connection(name)
        assert (found.name, found.address, found.insecure) == ("trial", "127.0.0.1:18000", insecure)
        assert found.root_certificates == (str(tmp_path / authority) if authority else None)


def test_a_certificate_is_found_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Home(tmp_path).connect("trial", "127.0.0.1:18000", Path("ca.crt"))
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    assert read_superlink_connection().root_certificates == str(tmp_path / "ca.crt")


def test_a_connection_that_is_told_again_replaces_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for port in (1, 2):
        Home(tmp_path).connect("trial", f"127.0.0.1:{port}", None)
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    assert read_superlink_connection().address == "127.0.0.1:2"


def test_flowers_command_says_what_it_prints(tmp_path: Path) -> None:
    assert version("flwr") in flwr(["--version"], home=Home(tmp_path))


def test_a_verb_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"flwr nosuchverb failed with code 2: .*No such command 'nosuchverb'"):
        flwr(["nosuchverb"], home=Home(tmp_path))


def test_a_verb_that_takes_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"flwr list did not work: .*timed out after 0\.01"):
        flwr(["list"], home=Home(tmp_path), timeout=0.01)


def test_an_answer_in_json_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "flwr", lambda *arguments, **options: '{"success": true, "run-id": "7"}')
    assert flwr_json(["run", "app"], home=None)["run-id"] == "7"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('{"success": false, "error-message": "Error:\\n  no such run. \\n"}', "flwr list failed: no such run$"),
        ('{"success": false}', "flwr list failed: no reason given"),
        ("[]", "flwr list failed: "),
        ("Hello", "flwr list answers something else than JSON: Hello"),
    ],
)
def test_an_answer_in_json_that_says_no_is_an_error(monkeypatch: pytest.MonkeyPatch, said: str, why: str) -> None:
    monkeypatch.setattr(services, "flwr", lambda *arguments, **options: said)
    with pytest.raises(TrainingError, match=why):
        flwr_json(["list"], home=None)
