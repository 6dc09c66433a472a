"""Flower's programs on sockets of one user: served, called and started without a port, an argument or a password."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn

from fedstrata.deploy.flower.inside import ARGUMENTS, SOCKETS, become, command, confine, main, socket_of
from fedstrata.errors import ConfigError


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of sockets that this process is confined to, until the test ends; its path is short."""
    from tempfile import TemporaryDirectory

    for kind in (uvicorn.Config, httpx.Client, subprocess.Popen):
        monkeypatch.setattr(kind, "__init__", kind.__init__)
    with TemporaryDirectory(prefix="sockets-", dir="/tmp") as path:
        confine(Path(path))
        yield Path(path)


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  as ASGI has it
    """Answer everything with the path that was asked for."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture
def server(folder: Path) -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(app, host="127.0.0.1", port=8000, log_level="error", lifespan="off", ws="none")
    found = uvicorn.Server(config)
    thread = threading.Thread(target=found.run)
    thread.start()
    while thread.is_alive() and not found.started:
        thread.join(0.01)
    yield found
    found.should_exit = True
    thread.join()


def test_a_port_is_a_socket_for_those_who_serve_and_for_those_who_call(folder: Path, server: uvicorn.Server) -> None:
    assert socket_of(folder, 8000).is_socket()
    assert [end for end in psutil.Process().net_connections("inet") if end.status == psutil.CONN_LISTEN] == []
    with httpx.Client(timeout=5) as client:
        assert client.get("http://127.0.0.1:8000/hello").text == "/hello"


def test_no_proxy_comes_between_and_no_port_is_called(
    folder: Path, server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for named in ("", "127.0.0.1,localhost,::1", "example.org"):
        monkeypatch.setenv("no_proxy", named)
        with httpx.Client(timeout=5) as client:
            for host in ("127.0.0.1", "localhost", "[::1]"):  # another way would meet pytest's block of ports
                assert client.get(f"http://{host}:8000/direct").text == "/direct"


def test_other_machines_are_called_as_ever(folder: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=str(request.url))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        assert client.get("https://fl.example.org:9092/v1").text == "https://fl.example.org:9092/v1"


def test_a_program_of_flowers_is_started_without_arguments_that_others_could_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, Any]] = []

    def started(self: object, args: object, **options: Any) -> None:  # noqa: ANN401  as Popen has them
        seen.append((args, options.get("env")))

    for kind in (uvicorn.Config, httpx.Client, subprocess.Popen):
        monkeypatch.setattr(kind, "__init__", kind.__init__)
    monkeypatch.setattr(subprocess.Popen, "__init__", started)
    confine(folder)
    subprocess.Popen(["flwr-serverapp", "--token", "secret"])
    subprocess.Popen(args=["flower-superexec", "--insecure"], env={"A": "b"})
    (words, variables), (_, given) = seen
    assert words == command("flwr-serverapp", [])[0]
    assert json.loads(variables[ARGUMENTS]) == ["--token", "secret"]
    assert variables.items() >= os.environ.items()
    assert given == {"A": "b", ARGUMENTS: '["--insecure"]'}


@pytest.mark.parametrize("words", [["git", "--version"], "flwr-serverapp --token x", []])
def test_another_program_is_started_as_it_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: object
) -> None:
    seen: list[Any] = []
    for kind in (uvicorn.Config, httpx.Client, subprocess.Popen):
        monkeypatch.setattr(kind, "__init__", kind.__init__)
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda self, args, **options: seen.append((args, options)))
    confine(folder)
    subprocess.Popen(words)  # type: ignore[call-overload]
    assert seen == [(words, {})]


def test_a_program_does_not_hand_its_arguments_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.superlink import cli

    def program() -> None:
        import sys

        assert (sys.argv, ARGUMENTS in os.environ) == (["flwr-serverapp", "--token", "secret"], False)

    monkeypatch.setattr("sys.argv", ["inside", "flwr-serverapp"])
    monkeypatch.setattr(cli, "flwr_serverapp", program)
    monkeypatch.setenv(SOCKETS, str(folder))
    monkeypatch.setenv(ARGUMENTS, '["--token", "secret"]')
    with pytest.raises(SystemExit) as ended:
        main("flwr-serverapp")
    assert not ended.value.code


@pytest.mark.parametrize("mode", [0o700, 0o710])
def test_a_program_is_become_with_its_sockets_in_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("os.execve", lambda *given: seen.append(given))
    monkeypatch.setattr("fedstrata.deploy.flower.inside.LONGEST_ADDRESS", 1000)
    place = tmp_path / "sockets"
    place.mkdir()
    place.chmod(mode)
    monkeypatch.chdir(tmp_path)
    become("flower-superlink", ["--port", "9091"], Path("sockets"))
    ((program, words, variables),) = seen
    assert [program, *words[1:]] == command("flower-superlink", [])[0]
    assert (variables[ARGUMENTS], variables[SOCKETS]) == ('["--port", "9091"]', str(place))


@pytest.mark.parametrize("mode", [0o701, 0o704, 0o755, 0o770, 0o777])
def test_a_folder_that_others_may_enter_holds_no_sockets(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(ConfigError, match=rf"open is open to other users; make it yours alone: chmod 700 {place}"):
        become("flower-superlink", [], place)


def test_what_cannot_be_become_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'flower-superlnk' is no program of Flower's; .*flower-superlink"):
        become("flower-superlnk", [], tmp_path)
    with pytest.raises(ConfigError, match="is too long for the address of a socket"):
        become("flower-superlink", [], tmp_path / ("x" * 100))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        become("flower-superlink", [], tmp_path / "file")
