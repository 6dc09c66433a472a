"""Flower's own processes: a SuperLink, SuperNodes, and the ``flwr`` command, started and ended by their ids."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

from fedstrata.deploy.flower.inside import SOCKETS
from fedstrata.deploy.flower.inside import command as private_command
from fedstrata.deploy.flower.keys import Certificates
from fedstrata.deploy.flower.quoting import node_setting, toml
from fedstrata.errors import TrainingError
from fedstrata.files import private_file, private_folder, write_private
from fedstrata.parents import bound
from fedstrata.process import code, end

_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "NO_COLOR": "1",
}
"""Flower talks to nobody but itself."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_POLL = 0.1
_END_LIMIT = 60.0  # seconds in which a process that is asked to end may end in its own way
_VERB_LIMIT = 600.0  # seconds for a verb of Flower's own, which imports much


@dataclass(frozen=True, slots=True)
class Home:
    """A folder that Flower keeps its settings and apps in, one per machine that is played.

    Attributes:
        path: ``FLWR_HOME``.
        sockets: Folder of the sockets that stand for ports, where nobody else is to reach any; ``None`` uses ports.
    """

    path: Path
    sockets: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables of every process that lives there: no telemetry, no installation from the network."""
        private = {SOCKETS: str(self.sockets)} if self.sockets else {}
        return {**_environment(), "FLWR_HOME": str(self.path), **private}

    def connect(self, name: str, address: str, authority: Path | None) -> None:
        """Tell the ``flwr`` command of a SuperLink, and make it the one that is meant by default.

        Args:
            name: Name of the connection.
            address: Host and port.
            authority: Certificate that the server is checked against; ``None`` speaks without TLS.
        """
        trust = f"root-certificates = {toml(str(authority.absolute()))}" if authority else "insecure = true"
        section = f"[superlink.{toml(name)}]\naddress = {toml(address)}\n{trust}\n"
        text = f"[superlink]\ndefault = {toml(name)}\n\n{section}"
        private_folder(self.path)
        write_private(self.path / "config.toml", text)


class Service:
    """One of Flower's long-lived processes, with what it starts itself.

    Args:
        name: For messages.
        command: Program of Flower's and its arguments.
        home: Where it lives.
        log: File that takes what it says.
        environment: Variables beyond the home's.

    Raises:
        TrainingError: It cannot be started.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, home: Home, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.log = name, log
        private_folder(log.parent)
        try:
            with private_file(log).open("ab") as file:
                self._start = file.tell()  # what is said before this is another life's
                words, variables = _started(command, {**home.environment, **(environment or {})})
                self._process = subprocess.Popen(
                    bound(words, signal.SIGTERM),  # who is killed ends nothing any more
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    umask=0o077,
                )
        except OSError as error:
            raise TrainingError(
                f"{command[0]} cannot be started: {error.strerror}; install it with: pip install 'fedstrata[flower]'"
            ) from error

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group, too."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ports(self) -> tuple[int, ...]:
        """Return the TCP ports on which it, or what it started, listens."""
        found: list[int] = []
        with suppress(psutil.NoSuchProcess):
            me = psutil.Process(self.pid)
            for process in (me, *me.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    ends = process.net_connections(kind="inet")
                    found += [end.laddr.port for end in ends if end.status == psutil.CONN_LISTEN]
        return tuple(found)

    def code(self, *, within: float) -> int | None:
        """Return its exit code, or ``None`` if it still runs after so many seconds."""
        return code(self._process, within=within)

    def said(self) -> str:
        """Return what it has said so far."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")

    def kill(self) -> None:
        """End it and everything that it started, at once."""
        end(self._process)

    def stop(self) -> None:
        """Ask it to end, and see to it that nothing of its group is left."""
        if self.running:
            self._process.terminate()
        end(self._process, patience=_END_LIMIT)

    def wait_for(self, text: str, *, within: float) -> None:
        """Wait until it has said something.

        Raises:
            TrainingError: It ended, or took longer.
        """
        limit = monotonic() + within
        while True:
            running = self.running  # before the look: what it said at its end counts
            if text in self.said():
                return
            if not running:
                raise TrainingError(f"{self.name} ended with code {self._process.returncode}: {self._last_words()}")
            if monotonic() > limit:
                raise TrainingError(f"{self.name} did not say '{text}' within {within:g} s: {self._last_words()}")
            sleep(_POLL)

    def _last_words(self) -> str:
        return " ".join(self.said().strip().splitlines()[-3:])[-400:]


def superlink(port: int, certificates: Certificates, *, home: Home, log: Path, database: Path | None = None) -> Service:
    """Start a SuperLink with TLS and authentication of sites on the loopback interface.

    Args:
        port: Where it listens.
        certificates: Who it is.
        home: Where it lives.
        log: File that takes what it says.
        database: File that keeps its state over restarts; ``None`` keeps it in memory.
    """
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--enable-supernode-auth"]
    arguments += ["--ssl-ca-certfile", str(certificates.authority), "--ssl-certfile", str(certificates.certificate)]
    arguments += ["--ssl-keyfile", str(certificates.key), "--disable-runtime-dependency-installation"]
    arguments += ["--database", str(database)] if database else []
    return Service("the SuperLink", ["flower-superlink", *arguments], home=home, log=log)


def supernode(site: Path, key: Path, superlink: str, *, authority: Path, port: int, home: Home, log: Path) -> Service:
    """Start a SuperNode of a site.

    Args:
        site: The site's own file.
        key: The site's private key.
        superlink: Host and port of the server.
        authority: Certificate that the server is checked against.
        port: Where the SuperNode serves its own ClientApp, on the loopback interface.
        home: Where it lives.
        log: File that takes what it says.
    """
    arguments = ["--root-certificates", str(authority), "--superlink", superlink, "--host", "127.0.0.1"]
    arguments += ["--port", str(port), "--auth-supernode-private-key", str(key), "--node-config"]
    arguments += [node_setting("site", str(site.absolute()))]
    return Service(f"the SuperNode of {site.parent.name}", ["flower-supernode", *arguments], home=home, log=log)


def flwr(arguments: Sequence[str], *, home: Home | None, timeout: float = _VERB_LIMIT) -> str:
    """Run Flower's own command and return what it printed.

    Args:
        arguments: Its verb and arguments.
        home: Where it finds its connections; ``None`` for the user's own.
        timeout: Seconds that it may take.

    Raises:
        TrainingError: It failed, or took longer.
    """
    try:
        command, environment = _started(["flwr", *arguments], home.environment if home else _environment())
        done = subprocess.run(
            bound(command), env=environment, capture_output=True, text=True, timeout=timeout, check=False, umask=0o077
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrainingError(f"flwr {arguments[0]} did not work: {error}") from error
    if done.returncode:
        words = " ".join((done.stderr + done.stdout).split())
        raise TrainingError(f"flwr {arguments[0]} failed with code {done.returncode}: {words[-400:]}")
    return done.stdout


def flwr_json(arguments: Sequence[str], *, home: Home | None, timeout: float = _VERB_LIMIT) -> dict[str, Any]:
    """Run Flower's own command and return what it answers as JSON; where it fails, it exits with 0 and says so there.

    Args:
        arguments: Its verb and arguments, without the format.
        home: Where it finds its connections; ``None`` for the user's own.
        timeout: Seconds that it may take.

    Raises:
        TrainingError: It failed, or took longer.
    """
    said = flwr([*arguments, "--format", "json"], home=home, timeout=timeout)
    try:
        answer = json.loads(said)
    except ValueError as error:
        raise TrainingError(f"flwr {arguments[0]} answers something else than JSON: {said[:200]}") from error
    if not isinstance(answer, dict) or not answer.get("success", True):
        why = str(answer.get("error-message", "")) if isinstance(answer, dict) else said
        last = why.strip().splitlines()[-1:] or ["no reason given"]
        raise TrainingError(f"flwr {arguments[0]} failed: {last[0].strip(' .')[:400]}")
    return answer


def _started(command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the words and variables that start a program of Flower's, privately where the environment says so."""
    if environment.get(SOCKETS):
        words, arguments = private_command(command[0], command[1:])
        return words, {**environment, **arguments}
    program = Path(sys.executable).with_name(command[0])
    if not program.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(program))
    return [str(program), *command[1:]], dict(environment)


def _environment() -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)  # Flower's processes start each other by name
    path = os.pathsep.join([binaries, os.environ.get("PATH", "")])
    direct = {name: _direct(os.environ.get(name, "")) for name in ("no_proxy", "NO_PROXY")}
    cache = os.environ.get("FEDSTRATA_CACHE")  # sites' processes have folders of their own
    whole = {"FEDSTRATA_CACHE": str(Path(cache).absolute())} if cache else {}
    return {**os.environ, **_QUIET, **direct, **whole, "PATH": path}


def _direct(named: str) -> str:
    """Return the names that are reached without a proxy: those that were given, and this machine's own."""
    return ",".join(filter(None, [named, *_LOOPBACK]))
