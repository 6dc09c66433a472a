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
_MOST_BYTES = 2**27  # of a message
_LIMIT = struct.pack("ll", 60, 0)  # seconds that a message may take; a worker without work reads at once


def send(pipe: Connection, message: Message) -> None:
    """Send a message.

    Raises:
        OSError: The other end is gone.

    Example:
        >>> from multiprocessing import Pipe
        >>> here, there = Pipe()
        >>> send(here, {"n": 1})
        >>> here.close()
        >>> receive(there), receive(there), there.close()
        ({'n': 1}, None, None)
    """
    pipe.send_bytes(json.dumps(message).encode())


def receive(pipe: Connection) -> Message | None:
    """Wait for the next message and return it, or ``None`` once the other end is gone."""
    try:
        message: Message = json.loads(pipe.recv_bytes(_MOST_BYTES))
    except (EOFError, OSError):  # a reset: the other end was killed with something unread
        return None
    return message


class Interpreter:
    """A worker process that leads a group of its own, so that Ctrl-C does not reach it.

    Args:
        module: Module that it imports as this process would; its ``main`` is called with a pipe and the arguments.
        arguments: What it is told when it starts.
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
        for one in (here, there):
            one.setblocking(True)  # whatever socket.setdefaulttimeout says
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            here.setsockopt(socket.SOL_SOCKET, option, _LIMIT)
        self.pipe = Connection(here.detach())
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
