"""P17: the same seed ends in the same bits, however the run was played (the whole table: ``test_table.py``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from fedstrata.domain.layers import LayerMap
from fedstrata.engines.clock import Clock, Deadline
from fedstrata.engines.protocol import Engine
from fedstrata.selectors.consensus import Consensus
from fedstrata.server.run import RunResult
from fedstrata.wire.digests import raw
from fedstrata.wire.messages import Frame, Reply, Request, Train
from fedstrata.wire.reply_frames import encode
from fedstrata.wire.sizes import Encoding
from small_runs import after, essence, never, toy_run

ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Framing:
    """Sends every reply of an engine as bytes."""

    inner: Engine
    layers: LayerMap

    @property
    def repeatable(self) -> bool:
        return self.inner.repeatable

    @property
    def clock(self) -> Clock:
        return self.inner.clock

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply | Frame]:
        for request in requests:
            (reply,) = self.inner.send([request], deadline=deadline)
            assert not isinstance(reply, Frame)
            if isinstance(request, Train):
                yield Frame(reply.client, encode(reply, self.layers.blocks(request.mask), request.plan.encoding))
            else:
                yield Frame(reply.client, encode(reply))

    def close(self) -> None:
        self.inner.close()


def play(
    path: Path,
    encoding: Encoding,
    *,
    framed: bool = False,
    stop: Callable[[], bool] = never,
    resumed: bool = False,
    piggyback: bool = False,
) -> RunResult:
    run, weights = toy_run(
        path, selector=Consensus(), rounds=ROUNDS, dropout=0.2, per_round=3, stop=stop, piggyback=piggyback
    )
    setting = replace(run.setting, train=replace(run.setting.train, encoding=encoding))
    engine = Framing(run.engine, setting.layers) if framed else run.engine
    run = replace(run, setting=setting, engine=engine)
    return run.resume(weights) if resumed else run.start(weights)


def fingerprint(result: RunResult) -> tuple[str, object]:
    """Return the sha256 of the model, and selection log and metrics."""
    total = sha256()
    for name, tensor in sorted(result.weights.items()):
        total.update(name.encode())
        total.update(raw(tensor))
    return total.hexdigest(), essence(result.folder)


@pytest.mark.parametrize("piggyback", [False, True], ids=["plain", "piggyback"])
@pytest.mark.parametrize("encoding", Encoding)
def test_p17_replies_as_values_and_as_frames_end_in_the_same_bits(
    tmp_path: Path, encoding: Encoding, piggyback: bool
) -> None:
    local = play(tmp_path / "local", encoding, piggyback=piggyback)
    assert fingerprint(play(tmp_path / "frames", encoding, framed=True, piggyback=piggyback)) == fingerprint(local)


@pytest.mark.parametrize("piggyback", [False, True], ids=["plain", "piggyback"])
@pytest.mark.parametrize("encoding", [Encoding.FLOAT32, Encoding.INT8])
@pytest.mark.parametrize("at", [1, 3])
def test_p17_a_run_resumed_as_frames_ends_in_the_bits_of_an_unbroken_one(
    tmp_path: Path, encoding: Encoding, at: int, piggyback: bool
) -> None:
    whole = play(tmp_path / "whole", encoding, piggyback=piggyback)
    assert play(tmp_path / "broken", encoding, stop=after(at), piggyback=piggyback).state == "interrupted"
    resumed = play(tmp_path / "broken", encoding, framed=True, resumed=True, piggyback=piggyback)
    assert fingerprint(resumed) == fingerprint(whole)
