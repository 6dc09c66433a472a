"""A tap on the wire: forwards a socket, counts every byte of both directions, and cuts or holds when told to."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time


@dataclass
class Tap:
    """Forwards connections on a socket of its own, beside the target, to the target."""

    target: Path
    port: int = 9000
    """Number that its socket stands for."""
    down: int = 0
    """Bytes from the server to the site."""
    up: int = 0
    log: list[tuple[float, int, int]] = field(default_factory=list)
    """Moments with what had gone down and up by then."""

    def __post_init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._closed = threading.Event()
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.target.with_name(str(self.port))))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def at(self, moment: float) -> tuple[int, int]:
        """Return what had gone down and up by a moment."""
        with self._lock:
            before = [(down, up) for when, down, up in self.log if when <= moment]
        return before[-1] if before else (0, 0)

    def hold(self) -> None:
        """Let nothing through, as a network does that loses everything."""
        self._open.clear()

    def go_on(self) -> None:
        """Let everything through again."""
        self._open.set()

    def close(self) -> None:
        """End it and every connection."""
        self._open.set()
        self._closed.set()
        self._listener.close()
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                site, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(site,), daemon=True).start()

    def _connect(self, site: socket.socket) -> None:
        """Reach the server, as long as that takes: a wire does not close a connection because the server is down."""
        while not self._closed.is_set():
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.target))
            except OSError:
                server.close()
                self._closed.wait(0.2)
                continue
            self._ends |= {site, server}
            threading.Thread(target=self._pump, args=(site, server, True), daemon=True).start()
            self._pump(server, site, False)
            return

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                self._open.wait()
                self._count(len(data), up=up)
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size: int, *, up: bool) -> None:
        with self._lock:
            self.up, self.down = self.up + size * up, self.down + size * (not up)
            self.log.append((time(), self.down, self.up))
