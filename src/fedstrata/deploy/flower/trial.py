"""A trial on one machine: a SuperLink with TLS, a SuperNode for every site, keys for all, and nothing left behind.

All of them listen on Unix sockets in a folder that nobody else may enter (``inside.py``): Flower asks its operator for
no password, so whoever reaches a SuperLink can have it run programs.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import yaml

from fedstrata.deploy.flower.inside import socket_of
from fedstrata.deploy.flower.keys import Certificates, make_certificates, make_site_key
from fedstrata.deploy.flower.remains import Remains, clear_abandoned
from fedstrata.deploy.flower.services import Home, Service, flwr, supernode
from fedstrata.deploy.flower.services import superlink as start_superlink
from fedstrata.errors import TrainingError
from fedstrata.files import private_file, private_folder, write_private
from fedstrata.process import last_words

NAME = "trial"
"""Name of the connection to the trial's SuperLink."""
PORT = 9091
"""Number that stands for the SuperLink's socket; those of SuperNodes follow."""
_WRONG = " ERROR "  # how a worker marks in its log what went wrong
_UP = 600.0  # seconds in which Flower's processes have to be up


@dataclass(slots=True)
class Trial:
    """Flower's processes of a trial.

    Attributes:
        folder: Everything that the trial writes but the run folder.
        sites: Each site's own file, as values.
        database: Whether the SuperLink keeps its state over restarts.
        remains: What has to be cleared besides the folder, once there is something; its place holds the sockets.
        link: The SuperLink.
        nodes: The SuperNode of each site.
    """

    folder: Path
    sites: Mapping[str, Mapping[str, Any]]
    database: bool = False
    remains: Remains | None = None
    link: Service | None = None
    nodes: dict[str, Service] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        """Where the server's side lives, for the ``flwr`` command."""
        return Home(self.folder / "server" / "flwr", self.sockets)

    @property
    def sockets(self) -> Path:
        """Folder of the sockets that stand for ports.

        Raises:
            TrainingError: The trial is not prepared.
        """
        if self.remains is None:
            raise TrainingError("the trial has no folder for its sockets yet; prepare it first")
        return self.remains.place

    @property
    def keys(self) -> Path:
        """Folder with the public key of every site, ``NAME.pub``: what ``flower.sites`` names."""
        return self.folder / "server" / "sites"

    @property
    def address(self) -> str:
        """Host and port of the SuperLink, as its callers name it."""
        return f"127.0.0.1:{PORT}"

    @property
    def certificates(self) -> Certificates:
        """Files of the server's identity."""
        tls = self.folder / "server" / "tls"
        return Certificates(tls / "ca.crt", tls / "server.pem", tls / "server.key")

    def prepare(self) -> None:
        """Make certificates, keys and site files."""
        for place in (self.folder, self.folder / "server", self.folder / "server" / "tls", self.folder / "sites"):
            private_folder(place)
        self.remains = Remains(self.folder)
        make_certificates(self.folder / "server" / "tls")
        private_folder(self.keys)
        for name, values in self.sites.items():
            private_folder(self.site_file(name).parent)
            write_private(self.site_file(name), yaml.safe_dump({"name": name, **values}, sort_keys=False))
            public = make_site_key(self.key(name))
            shutil.copy(public, self.keys / f"{name}.pub")

    def start_link(self) -> None:
        """Start the SuperLink and wait until it listens; again on the same socket if it ran before.

        Raises:
            TrainingError: It does not start.
        """
        self.home.connect(NAME, self.address, self.certificates.authority)
        database = self.folder / "server" / "state.db" if self.database else None
        log = self.folder / "server" / "superlink.log"
        self.link = start_superlink(PORT, self.certificates, home=self.home, log=log, database=database)
        _listens(self.link, socket_of(self.sockets, PORT))

    def register(self) -> None:
        """Tell the SuperLink every site's public key.

        Raises:
            TrainingError: It does not take one.
        """

        def one(name: str) -> None:
            flwr(["supernode", "register", str(self.keys / f"{name}.pub"), NAME, "--name", name], home=self.home)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, self.sites))

    def start_node(self, name: str, *, through: int | None = None) -> None:
        """Start a site's SuperNode.

        Args:
            name: The site.
            through: Port that it connects to in place of the SuperLink's.

        Raises:
            TrainingError: It does not start.
        """
        if name in self.nodes:
            self.nodes[name].stop()
        self.nodes[name] = supernode(
            self.site_file(name),
            self.key(name),
            f"127.0.0.1:{through or PORT}",
            authority=self.certificates.authority,
            port=PORT + 1 + list(self.sites).index(name),
            home=Home(self.folder / "sites" / name / "flwr", self.sockets),
            log=self.folder / "sites" / name / "supernode.log",
        )

    def start(
        self,
        tell: Callable[[str], None] = lambda line: None,
        *,
        through: Callable[[Path], Mapping[str, int]] | None = None,
    ) -> None:
        """Start everything and wait until every site is connected.

        Args:
            tell: Is told what is done.
            through: Is given the SuperLink's socket and returns the ports that sites connect to in its place.

        Raises:
            TrainingError: Something does not start.
        """
        self.prepare()
        tell(f"keys and certificates for {len(self.sites)} sites are made")
        self.start_link()
        self.register()
        ports = through(socket_of(self.sockets, PORT)) if through else {}
        for name in self.sites:
            self.start_node(name, through=ports.get(name))
        for node in self.nodes.values():
            node.wait_for("SuperNode ID", within=_UP)
        self.check_private()
        tell(f"SuperLink with TLS, on a socket of this user alone; {len(self.nodes)} SuperNodes are connected")

    def stop(self) -> None:
        """End everything that was started, the sites' workers, too."""
        for node in self.nodes.values():
            node.stop()
        if self.link is not None:
            self.link.stop()
        if self.remains is not None:
            self.remains.clear([self.site_file(name) for name in self.sites])

    def keep_logs(self) -> Path:
        """Copy what the trial's processes have said to a folder that stays, and return it."""
        kept = Path(tempfile.mkdtemp(prefix="fedstrata-trial-logs-"))
        for log in sorted(self.folder.rglob("*.log")):
            shutil.copyfile(log, private_file(kept / "-".join(log.relative_to(self.folder).parts)))
        return kept

    def complaints(self) -> tuple[str, ...]:
        """Return what each site's worker said last that went wrong, in its own words."""
        found = []
        for name in self.sites:
            said = last_words(self.site_file(name).parent / "state" / "worker.log")
            wrong = said.rpartition(_WRONG)[2] if _WRONG in said else ""
            block = re.split(r"^\d{4}-\d\d-\d\dT", wrong, maxsplit=1, flags=re.MULTILINE)[0].split("\n")
            lines = [line.strip() for line in block if line.strip()]
            last = [line for line in lines[-1:] if line not in lines[0]]
            found += [f"{name} says: {': '.join((lines[0], *last))}"] if lines else []
        return tuple(found)

    def check_private(self) -> None:
        """Make sure that no process of the trial listens where another user could reach it.

        Raises:
            TrainingError: One does.
        """
        started = [*([self.link] if self.link else []), *self.nodes.values()]
        for service in started:
            for port in service.ports():
                raise TrainingError(
                    f"{service.name} listens on TCP port {port}, where every user of this machine could have it run"
                    " programs; this version of Flower does not fit, install fedstrata[flower] anew"
                )

    def site_file(self, name: str) -> Path:
        """Return a site's own file."""
        return self.folder / "sites" / name / "site.yaml"

    def key(self, name: str) -> Path:
        """Return a site's private key."""
        return self.folder / "sites" / name / "key"


@contextmanager
def trial(
    sites: Mapping[str, Mapping[str, Any]],
    *,
    files: Mapping[str, str] | None = None,
    database: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[Trial]:
    """Run a trial in a folder of its own, and leave nothing behind, neither process nor file.

    Args:
        sites: Each site's own file, as values, by name.
        files: Text of files that lie in the trial's folder, which the sites' files are two folders below.
        database: Whether the SuperLink keeps its state over restarts.
        tell: Is told what is done.

    Raises:
        TrainingError: Something does not start.
    """
    clear_abandoned()
    folder = Path(tempfile.mkdtemp(prefix="fedstrata-trial-"))
    running = Trial(folder, sites, database)
    try:
        for name, text in (files or {}).items():
            write_private(folder / name, text)
        running.start(tell)
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(service: Service, address: Path) -> None:
    end = monotonic() + _UP
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(address))
        except OSError as error:
            if not service.running or monotonic() > end:
                raise TrainingError(f"{service.name} does not listen: {service.said()[-400:]}") from error
            sleep(0.1)
        else:
            return
