"""What an actor of the cluster is: a worker that makes its handler where it is, and answers one request at a time.

What comes and goes is JSON and frames as bytes, and weights as objects of the cluster (``blocks.py``).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ray
import torch

from fedstrata.blame import told
from fedstrata.engines.protocol import ClientHandler
from fedstrata.engines.ray.blocks import Held
from fedstrata.engines.workers.main import frame_of
from fedstrata.engines.workers.worker_spec import WorkerSpec
from fedstrata.wire.requests import from_json

PACKAGES = ("fedstrata", "torch", "transformers", "numpy")
"""What has to be of one version everywhere, since the bits depend on it."""


def versions() -> dict[str, str]:
    """Return the versions of what the bits depend on, here.

    Example:
        >>> sorted(versions())
        ['fedstrata', 'numpy', 'torch', 'transformers']
    """
    return {name: _version(name) for name in PACKAGES}


def here() -> str:
    """Return this node in words: its host's name and its address in the cluster."""
    return f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"


def difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Return in words where two machines' versions differ; empty where they do not.

    Example:
        >>> difference({"torch": "2.13.0"}, {"torch": "2.12.0"})
        'it has torch 2.12.0, and the server 2.13.0; install the same'
    """
    other = next((name for name in ours if ours[name] != theirs.get(name)), None)
    return (
        "" if other is None else f"it has {other} {theirs.get(other)}, and the server {ours[other]}; install the same"
    )


class ClientActor:
    """Serves every client of the run, on one node.

    Args:
        spec: A ``WorkerSpec`` as bytes; nothing is loaded yet, so that whoever asks hears of what is missing.
    """

    def __init__(self, spec: bytes) -> None:
        self._spec = WorkerSpec.from_bytes(spec)
        self._held = Held(self._spec.layout, torch.device(self._spec.device))
        self._handler: ClientHandler | None = None

    def prepare(self, server: bytes) -> bytes:
        """Load model and rows where they lie.

        Args:
            server: The server's ``versions`` as JSON.

        Returns:
            JSON: ``node`` in words, and ``broken`` in a sentence where this node cannot do the work.
        """
        broken = difference(json.loads(server), versions())
        try:
            if not broken:
                self._handler = self._spec.recipe.make()
        except Exception as error:
            broken = told(error)
        return json.dumps({"node": here(), **({"broken": broken} if broken else {})}).encode()

    def work(self, request: bytes, objects: Mapping[str, Any]) -> bytes:
        """Answer a request with a frame.

        Args:
            request: As JSON.
            objects: The blocks that this actor lacks, by name.
        """
        if self._handler is None:
            raise RuntimeError("an actor is prepared before it works")
        self._held.take(objects)
        return frame_of(self._handler, from_json(json.loads(request), self._held.weights), self._spec.layout)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
