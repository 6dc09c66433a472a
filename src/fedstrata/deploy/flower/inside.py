"""A program of Flower's that only its own user can reach: it listens on Unix sockets, and calls through them.

    FEDSTRATA_SOCKETS=FOLDER FEDSTRATA_ARGUMENTS='["--port", "1"]' python -m fedstrata.deploy.flower.inside PROGRAM

Flower serves on TCP ports, which every user of the machine can reach, asks whoever calls for no password, and hands its
programs their tokens as arguments, which every user can list. Here a port stands for a socket of its number in a folder
that belongs to one user; TLS and everything else is as it would be. Arguments come by a variable, which others cannot
read, also to the programs of Flower's that this one starts (decision: ``docs/adr/0017-*.md``).
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NoReturn

import httpx
import uvicorn

from fedstrata.deploy.site.runtime_dir import LONGEST_ADDRESS
from fedstrata.errors import ConfigError, nearest

SOCKETS = "FEDSTRATA_SOCKETS"
"""Variable with the folder of the sockets."""
ARGUMENTS = "FEDSTRATA_ARGUMENTS"
"""Variable with a program's arguments, as JSON."""
_THIS = "fedstrata.deploy.flower.inside"  # also where it is what was started
HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine: no call to one of them goes over a port."""

Options = dict[str, Any]


def command(program: str, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return what starts a program of Flower's privately: a command, and a variable beside ``SOCKETS``.

    Example:
        >>> command("flwr", ["list"])[1]
        {'FEDSTRATA_ARGUMENTS': '["list"]'}
    """
    return [sys.executable, "-P", "-m", _THIS, program], {ARGUMENTS: json.dumps(list(arguments))}


def socket_of(folder: Path, port: int) -> Path:
    """Return the socket that stands for a port."""
    return folder / str(port)


def main(program: str) -> None:
    """Become a program of Flower's that listens and calls through Unix sockets alone."""
    folder = Path(os.environ[SOCKETS])
    arguments = json.loads(os.environ.pop(ARGUMENTS))  # popped: whatever this process starts does not inherit them
    confine(folder)
    sys.argv = [program, *arguments]
    sys.exit(_programs()[program].load()())


def become(program: str, arguments: Sequence[str], folder: Path) -> NoReturn:
    """Turn this process into a program of Flower's whose sockets lie in a private folder.

    Args:
        program: Its name.
        arguments: As for the program.
        folder: The sockets; it is made, or belongs to this user and is closed to all but a group.

    Raises:
        ConfigError: It is no program of Flower's, or others may enter the folder.
    """
    programs = _programs()
    if program not in programs:
        raise ConfigError(f"'{program}' is no program of Flower's; {nearest(program, programs)}")
    place = folder.absolute()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.lstat()
    except OSError as error:
        raise ConfigError(f"{place} cannot be made: {error.strerror}; name another folder for the sockets") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o027:
        raise ConfigError(f"{place} is open to other users; make it yours alone: chmod 700 {place}")
    if len(os.fsencode(socket_of(place, 65535))) > LONGEST_ADDRESS:
        raise ConfigError(f"{place} is too long for the address of a socket; name a folder of a shorter path")
    words, variable = command(program, arguments)
    os.execve(words[0], words, {**os.environ, **variable, SOCKETS: str(place)})


def confine(folder: Path) -> None:
    """Have this process serve, call and start programs of Flower's through a folder of sockets.

    It takes hold of the three libraries through which Flower does so, and of nothing in Flower itself. What is called
    on other machines is called as ever.
    """
    _change(uvicorn.Config, lambda given: {**given, "uds": str(socket_of(folder, given["port"]))})
    _change(httpx.Client, lambda given: {**given, "mounts": _ways(folder, given)})
    programs = _programs()
    _change(subprocess.Popen, lambda given: _privately(given, programs), first="args")


class Sockets(httpx.BaseTransport):
    """Calls a port of this machine through the socket that stands for it; no proxy comes between.

    Args:
        folder: The sockets.
        verify: How the server's certificate is checked.
    """

    def __init__(self, folder: Path, verify: Any) -> None:  # noqa: ANN401  whatever httpx takes
        self._folder, self._verify = folder, verify
        self._ways: dict[int, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to where its port stands for.

        Raises:
            ConnectError: Nobody listens there, or it may not be entered.
        """
        port = request.url.port or 0
        if port not in self._ways:
            uds = str(socket_of(self._folder, port))
            self._ways[port] = httpx.HTTPTransport(verify=self._verify, uds=uds)
        return self._ways[port].handle_request(request)

    def close(self) -> None:
        """Close every connection."""
        for way in self._ways.values():
            way.close()


def _ways(folder: Path, given: Options) -> dict[str, httpx.BaseTransport | None]:
    """Return how a client calls: this machine through its sockets, and others as it would have."""
    here = Sockets(folder, given.get("verify", True))
    return {**(given.get("mounts") or {}), **{f"all://{host}": here for host in HOSTS}}


def _change(kind: type, change: Callable[[Options], Options], *, first: str = "") -> None:
    """Have every new object of a class be made with other options.

    Args:
        kind: The class.
        change: Is given the options by name, and returns those that count.
        first: Name of the option that may come without one.
    """
    original = kind.__init__  # type: ignore[misc]

    @wraps(original)
    def made(self: object, *given: Any, **options: Any) -> None:  # noqa: ANN401  whatever the class takes
        if first and given:
            options = change({**options, first: given[0]})
            given = (options.pop(first), *given[1:])
            original(self, *given, **options)
        else:
            original(self, *given, **change(options))

    kind.__init__ = made  # type: ignore[misc]


def _privately(given: Options, programs: Mapping[str, EntryPoint]) -> Options:
    """Return how a process is started: as it was asked for, unless it is one of Flower's programs."""
    asked = given["args"]
    if isinstance(asked, str) or not asked or asked[0] not in programs:
        return given
    words, variable = command(asked[0], asked[1:])
    return {**given, "args": words, "env": {**(given.get("env") or os.environ), **variable}}


def _programs() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="console_scripts") if point.value.startswith("flwr.")}


if __name__ == "__main__":
    main(sys.argv[1])
