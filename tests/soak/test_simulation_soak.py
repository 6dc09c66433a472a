"""Ray's services while a run is played in Flower's simulation: without its token they do nothing for anybody."""

from __future__ import annotations

import http.client
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import psutil
import pytest

from flower_deployment import CONFIG, FEDSTRATA
from waiting import until

pytestmark = [pytest.mark.soak, pytest.mark.enable_socket]
ASKED = (
    "NodeInfoGcsService/GetAllNodeInfo",
    "InternalKVGcsService/InternalKVKeys",
    "JobInfoGcsService/AddJob",
    "NodeManagerService/GetSystemConfig",
    "NodeManagerService/RequestWorkerLease",
    "NodeManagerService/ShutdownRaylet",
    "ObjectManagerService/Push",
    "ObjectManagerService/Pull",
    "CoreWorkerService/PushTask",
    "CoreWorkerService/Exit",
)
SERVICES = {"NodeInfoGcsService", "NodeManagerService", "ObjectManagerService", "CoreWorkerService"}


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_without_its_token_ray_does_nothing_for_anybody(tmp_path: Path, token: str) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG)
    command = [FEDSTRATA, "run", "run.yaml", "--engine", "flower-simulation", "--set", "output=out"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)
    try:
        log = tmp_path / "out" / "events.jsonl"
        until(lambda: process.poll() is not None or (log.exists() and '"round"' in log.read_text()), why="a round")
        assert process.poll() is None, (tmp_path / "said").read_text()
        answers = {answer for address in listening(process.pid) for answer in answers_of(address, token)}
    finally:
        process.terminate()
        process.wait()
    assert {service for service, _ in answers} >= SERVICES
    assert {code for _, code in answers} == {"UNAUTHENTICATED"}


def listening(pid: int) -> set[tuple[str, int]]:
    """Return where a process and its children listen."""
    found = set()
    me = psutil.Process(pid)
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            ends = process.net_connections(kind="inet")
            found |= {(end.laddr.ip, end.laddr.port) for end in ends if end.status == psutil.CONN_LISTEN}
    return {("127.0.0.1" if ip in ("::", "0.0.0.0") else ip, port) for ip, port in found}


def answers_of(address: tuple[str, int], token: str) -> Iterator[tuple[str, str]]:
    """Yield service and status of each call that something there answers."""
    header = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(":".join(map(str, address)), options=[("grpc.enable_http_proxy", 0)]) as channel:
        for method in ASKED:
            try:
                channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=60, metadata=header)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
            if code not in ("UNIMPLEMENTED", "UNAVAILABLE"):  # another service, or one that speaks HTTP alone
                yield method.partition("/")[0], code
    with suppress(OSError, ValueError, http.client.HTTPException):  # what speaks gRPC alone
        request = urllib.request.Request(f"http://{address[0]}:{address[1]}/get_or_create_runtime_env", data=b"")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60)
            yield "HTTP", "OK"
        except urllib.error.HTTPError as error:
            yield "HTTP", "UNAUTHENTICATED" if error.code in (401, 403) else str(error.code)
