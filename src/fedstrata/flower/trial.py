"""A trial on one machine: a SuperLink with TLS, a SuperNode for every site, keys for all, and nothing left behind."""

from __future__ import annotations

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

from fedstrata.errors import TrainingError
from fedstrata.flower.keys import Certificates, make_certificates, make_site_key
from fedstrata.flower.services import Home, Service, flwr, free_port, supernode
from fedstrata.flower.services import superlink as start_superlink
from fedstrata.site.desk import stop as stop_worker

NAME = "trial"
"""Name of the connection to the trial's SuperLink."""
_UP = 600.0  # seconds in which Flower's processes have to be up


@dataclass(slots=True)
class Trial:
    """Flower's processes of a trial.

    Attributes:
        folder: Everything that the trial writes but the run folder.
        sites: Each site's own file, as values.
        database: Whether the SuperLink keeps its state over restarts.
        port: Where the SuperLink listens.
        link: The SuperLink.
        nodes: The SuperNode of each site.
    """

    folder: Path
    sites: Mapping[str, Mapping[str, Any]]
    database: bool = False
    port: int = 0
    link: Service | None = None
    nodes: dict[str, Service] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        """Where the server's side lives, for the ``flwr`` command."""
        return Home(self.folder / "server" / "flwr")

    @property
    def keys(self) -> Path:
        """Folder with the public key of every site, ``NAME.pub``: what ``flower.sites`` names."""
        return self.folder / "server" / "sites"

    @property
    def address(self) -> str:
        """Host and port of the SuperLink."""
        return f"127.0.0.1:{self.port}"

    @property
    def certificates(self) -> Certificates:
        """Files of the server's identity."""
        tls = self.folder / "server" / "tls"
        return Certificates(tls / "ca.crt", tls / "server.pem", tls / "server.key")

    def prepare(self) -> None:
        """Make certificates, keys and site files."""
        make_certificates(self.folder / "server" / "tls")
        self.keys.mkdir(parents=True)
        for name, values in self.sites.items():
            self.site_file(name).parent.mkdir(parents=True)
            self.site_file(name).write_text(yaml.safe_dump({"name": name, **values}, sort_keys=False), encoding="utf-8")
            public = make_site_key(self.key(name))
            shutil.copy(public, self.keys / f"{name}.pub")

    def start_link(self) -> None:
        """Start the SuperLink and wait until it listens; again on the same port if it ran before.

        Raises:
            TrainingError: It does not start.
        """
        self.port = self.port or free_port()
        self.home.connect(NAME, self.address, self.certificates.authority)
        database = self.folder / "server" / "state.db" if self.database else None
        log = self.folder / "server" / "superlink.log"
        self.link = start_superlink(self.port, self.certificates, home=self.home, log=log, database=database)
        _listens(self.link, self.port)

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
            f"127.0.0.1:{through or self.port}",
            authority=self.certificates.authority,
            port=free_port(),
            home=Home(self.folder / "sites" / name / "flwr"),
            log=self.folder / "sites" / name / "supernode.log",
        )

    def start(
        self,
        tell: Callable[[str], None] = lambda line: None,
        *,
        through: Callable[[int], Mapping[str, int]] | None = None,
    ) -> None:
        """Start everything and wait until every site is connected.

        Args:
            tell: Is told what is done.
            through: Is given the SuperLink's port and returns the ports that sites connect to in its place.

        Raises:
            TrainingError: Something does not start.
        """
        self.prepare()
        tell(f"keys and certificates for {len(self.sites)} sites are made")
        self.start_link()
        self.register()
        ports = through(self.port) if through else {}
        for name in self.sites:
            self.start_node(name, through=ports.get(name))
        for node in self.nodes.values():
            node.wait_for("SuperNode ID", within=_UP)
        tell(f"SuperLink at {self.address} with TLS; {len(self.nodes)} SuperNodes are connected")

    def stop(self) -> None:
        """End everything that was started, the sites' workers, too."""
        for node in self.nodes.values():
            node.stop()
        if self.link is not None:
            self.link.stop()
        for name in self.sites:
            if self.site_file(name).exists():
                stop_worker(self.site_file(name))

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
    folder = Path(tempfile.mkdtemp(prefix="fedstrata-trial-"))
    running = Trial(folder, sites, database)
    try:
        for name, text in (files or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
        running.start(tell)
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(service: Service, port: int) -> None:
    end = monotonic() + _UP
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError as error:
            if not service.running or monotonic() > end:
                raise TrainingError(f"{service.name} does not listen: {service.said()[-400:]}") from error
            sleep(0.1)
        else:
            return
