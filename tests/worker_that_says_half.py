"""A worker that says the first half of a message, and waits for its end."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Sequence
from multiprocessing.connection import Connection


def main(pipe: Connection, _arguments: Sequence[str]) -> None:
    os.write(pipe.fileno(), struct.pack("!i", 10) + b'{"a"')
    signal.pause()
