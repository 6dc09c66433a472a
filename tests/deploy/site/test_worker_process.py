"""The real worker behind the real desk: a process of its own, the same bits, and the model loaded once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedstrata.deploy.site.worker_client import ask, status, stop
from site_world import Server, content, log_of, probe, train, write_site
from waiting import HANG


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fs-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    path = write_site(tmp_path / "ward", limits={"refuse": "0"})
    yield path
    stop(path)
    shutil.rmtree(folder)


def test_a_worker_works_like_the_embedded_engine_and_loads_once(site: Path) -> None:
    server = Server()
    weights = server.moved("vit.layers.4")
    word = ask(site, server.said("join"), {}, timeout=HANG)
    assert word.said["kind"] == "declaration", word.words
    sent = server.blobs(["vit.layers.4"], weights) | server.heads(weights)
    for request in (train(weights, (1, 4)), train(weights, (5,), round=1)):
        answer = ask(site, server.work(request), sent, timeout=HANG)
        assert content(server.read(answer, request)) == content(server.local(request))
        sent = {}
    refused = server.read(ask(site, server.work(train(weights, (0,))), {}, timeout=HANG), train(weights, (0,)))
    assert getattr(refused, "reason", None) == "REFUSED"
    measured = ask(site, server.work(probe(weights)), {}, timeout=HANG)
    assert measured.said["kind"] == "frame"
    found = status(site)
    assert found is not None
    assert Path(found["log"]).read_text().count("loaded the model") == 1
    assert len(log_of(site.parent)) == 5
    assert stop(site)
    assert status(site) is None
