"""A fresh interpreter that works for this process: it ends when this one does, and hears of its work over a pipe.

What is said is JSON in the messages of ``multiprocessing.connection``, of which the part that unpickles is not used.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fedstrata.process import END_LIMIT, code, end

Message = Mapping[str, Any]
_LIMIT = struct.pack("ll", 60, 0)  # seconds that a message may take; a worker without work reads at once


class Pipe:
    """One end of a stream socket.

    Example:
        >>> here, there = (Pipe(end) for end in socket.socketpair())
        >>> here.send({"n": 1})
        >>> here.close()
        >>> there.receive(), there.receive(), there.close()
        ({'n': 1}, None, None)
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = Connection(end.detach())
        self.fileno, self.close = self._end.fileno, self._end.close

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: The other end is gone.
        """
        self._end.send_bytes(json.dumps(message).encode())

    def receive(self) -> Message | None:
        """Wait for the next message and return it, or ``None`` once the other end is gone."""
        try:
            message: Message = json.loads(self._end.recv_bytes())
        except (EOFError, OSError):  # a reset: the other end was killed with something unread
            return None
        return message

    def waiting(self) -> bool:
        """Return whether there is something to receive, or the other end is gone."""
        return self._end.poll()


class Interpreter:
    """A worker process that leads a group of its own, so that Ctrl-C does not reach it.

    Args:
        module: Module that it imports as this process would; its ``main`` is called with texts: the descriptor of a
            pipe, then the arguments.
        arguments: What it is told besides.
        output: Descriptor that takes its standard output and error.
        inherited: Descriptors that it has besides its pipe.
        environment: Variables beyond this process's own.

    Raises:
        OSError: The system starts no process.
    """

    def __init__(
        self,
        module: str,
        *arguments: int,
        output: int,
        inherited: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        here, there = socket.socketpair()
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            here.setsockopt(socket.SOL_SOCKET, option, _LIMIT)
        self.pipe = Pipe(here)
        path = os.pathsep.join(p or str(Path.cwd()) for p in sys.path)
        words = [sys.executable, "-P", "-m", "fedstrata.start", str(os.getpid()), module, str(there.fileno())]
        try:
            self._process = subprocess.Popen(
                [*words, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[there.fileno(), *inherited],
                process_group=0,
                env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            )
        except OSError:
            self.pipe.close()
            raise
        finally:
            there.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> bool:
        """Return whether the process has ended; its pipe stays open while a child of its own holds it."""
        return self._process.poll() is not None

    def code(self) -> int | None:
        """Return its exit code once its pipe has ended, or ``None`` if it does not end all the same."""
        return code(self._process, within=END_LIMIT)

    def end(self, *, patience: float = 0.0) -> None:
        """Close its pipe, at which a worker without work ends by itself, and see to its end.

        Args:
            patience: Seconds that it gets to end by itself.
        """
        self.pipe.close()
        end(self._process, patience=patience)
