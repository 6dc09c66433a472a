"""A cluster of two Ray nodes on this machine, with ports, a folder and a token of its own: for tests of clusters."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


class TwoNodes:
    """The cluster: a node that this process may connect through, and another one that may be killed.

    Args:
        process: The process that runs both nodes (``ray_nodes.py``).
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._answer()

    def kill_other(self) -> None:
        """Kill the other node's processes; its actors and tasks end with it."""
        self._tell("kill")

    def start_other(self) -> None:
        """Start another node in the place of the killed one."""
        self._tell("start")

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("cluster: "):
                return line.removeprefix("cluster: ").strip()
        raise AssertionError("the nodes' process has ended")


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Start a cluster of two nodes, which takes calls with a token alone, and end what was started for it."""
    pytest.importorskip("ray", reason="Ray is not installed")
    import ray

    with (
        tempfile.TemporaryDirectory(prefix="fs-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        _variables(folder),
        subprocess.Popen(
            [sys.executable, str(TESTS / "ray_nodes.py"), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            yield TwoNodes(process)
        finally:
            ray.shutdown()


@contextmanager
def _variables(folder: str) -> Iterator[None]:
    """Have Ray's processes find the tests' handlers, no cluster but this one, and a token, until the block is left."""
    from ray._private.authentication_test_utils import reset_auth_token_state

    before = dict(os.environ)
    os.environ |= {
        "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [before.get("PYTHONPATH")])]),
        "RAY_TMPDIR": folder,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    os.environ.pop("RAY_ADDRESS", None)
    reset_auth_token_state()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        reset_auth_token_state()
