"""What runs inside a worker process: a request comes in, a frame goes out, until the server's end of the pipe is gone.

    python -m fedstrata.start PARENT fedstrata.engines.workers.main PIPE ARENA AREA BYTES

ARENA and AREA are inherited descriptors: the weights, and the file that replies are written to. When the worker starts,
AREA holds BYTES of spec.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing.connection import Connection

import torch

from fedstrata.blame import told
from fedstrata.domain.reasons import Reason
from fedstrata.engines.local import answer, failure
from fedstrata.engines.protocol import ClientHandler
from fedstrata.engines.workers.arena import Mount
from fedstrata.engines.workers.layout import Layout
from fedstrata.engines.workers.shared import read_at, write_at
from fedstrata.engines.workers.worker_spec import WorkerSpec
from fedstrata.interpreter import receive, send
from fedstrata.wire.messages import Reply, Request, Train
from fedstrata.wire.reply_frames import encode
from fedstrata.wire.requests import from_json
from fedstrata.wire.sizes import Encoding


def main(pipe: Connection, arguments: Sequence[str]) -> None:
    """Serve until the server's end of the pipe is gone."""
    arena, area, length = map(int, arguments)
    for descriptor in (arena, area):
        os.set_inheritable(descriptor, False)  # a program that a client starts must not keep them open
    spec = WorkerSpec.from_bytes(read_at(area, length))
    layout = spec.layout
    try:
        mount = Mount(layout, arena, torch.device(spec.device))
        handler = spec.recipe.make()
    except Exception as error:
        send(pipe, {"broken": told(error)})
        raise
    send(pipe, {"ready": True})
    while (message := receive(pipe)) is not None:
        request = from_json(message["request"], mount.weights(message["manifest"]))
        data = frame_of(handler, request, layout)
        send(pipe, {"number": message["number"], "bytes": _written(area, data, request)})


def frame_of(handler: ClientHandler, request: Request, layout: Layout) -> bytes:
    """Return a client's answer as a frame; an answer that cannot be one is the client's failure."""
    reply: Reply = answer(handler, request)
    try:
        if not isinstance(request, Train):
            return encode(reply)
        return encode(reply, layout.layers.blocks(request.mask), request.plan.encoding)
    except Exception as error:
        message = f"its answer cannot be sent: {told(error)}"
        return encode(failure(request, Reason.CLIENT_ERROR, message), (), Encoding.FLOAT32)


def _written(area: int, data: bytes, request: Request) -> int:
    """Write a frame, or if there is no room for it the failure to do so, and return its bytes."""
    try:
        write_at(area, data, 0)
    except OSError as error:
        data = encode(failure(request, Reason.CLIENT_ERROR, f"no room for the answer in memory: {error.strerror}"))
        write_at(area, data, 0)
    return len(data)
