"""Worker processes: the bits of the local engine, in order, on weights that nobody changes under their hands."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.stats import Statistic
from fedstrata.engines.local import LocalEngine
from fedstrata.engines.processes import ProcessEngine, environments
from fedstrata.engines.workers.worker_spec import Recipe
from fedstrata.errors import ConfigError, TrainingError
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import (
    Evaluated,
    Frame,
    Origin,
    Probe,
    Probed,
    ProbePlan,
    Reply,
    Request,
    Train,
    TrainPlan,
    Update,
    Weights,
)
from fedstrata.wire.sizes import Encoding
from toys import copy_of, same_bits
from worker_engines import LAYERS, WEIGHTS, asked, failed, have_ready, play, read, told, workers
from worker_recipes import toy_handler

ALL = 4 * sum(t.elements for t in LAYERS.tensors_of(LAYERS.everything))
CLIENTS = [ClientId(name) for name in "cabdhgfe"]


@pytest.fixture(scope="module")
def engine() -> Iterator[ProcessEngine]:
    """Two workers, for tests that leave them alive."""
    with workers(2) as made:
        yield made


def work(encoding: Encoding = Encoding.FLOAT32) -> list[Request]:
    """Return for each client a probe, a training, an evaluation, and the training that it is piggybacked on.

    Masks are from none to all.
    """
    origin = Origin("run", 1, "base")
    probe = ProbePlan(0, 4, frozenset(Statistic), Hashing(3, 16))
    plan = TrainPlan(steps=3, epochs=None, batch_size=3, lr=0.1, optimizer="momentum", encoding=encoding)
    masks = [frozenset({i for i in range(3) if number >> i & 1}) for number in range(8)]
    return [
        *(Probe(c, 2, WEIGHTS, probe, origin) for c in CLIENTS),
        *(Train(c, 2, WEIGHTS, mask, plan, origin) for c, mask in zip(CLIENTS, masks, strict=True)),
        *asked(*CLIENTS),
        *(Train(c, 1, WEIGHTS, mask, plan, origin, probe) for c, mask in zip(CLIENTS, masks, strict=True)),
    ]


def content(reply: object) -> str:
    assert isinstance(reply, Probed | Update | Evaluated)
    return content_of(reply)


def local(requests: list[Request]) -> list[Reply]:
    return list(LocalEngine(toy_handler()).send(requests))


@pytest.mark.parametrize("encoding", Encoding)
def test_the_bits_are_those_of_the_local_engine(engine: ProcessEngine, encoding: Encoding) -> None:
    ours, theirs = play(engine, work(encoding)), local(work(encoding))
    assert [content(r) for r in ours] == [content(r) for r in theirs]
    assert [(r.client, r.origin) for r in theirs] == [(r.client, r.origin) for r in ours if isinstance(r, Reply)]
    one, other = ours[15], theirs[15]
    assert isinstance(one, Update)
    assert isinstance(other, Update)
    assert same_bits(one.deltas, other.deltas)
    for fresh, laden in zip(ours[:8], ours[24:], strict=True):
        assert isinstance(laden, Update)
        assert content(laden.piggybacked) == content(fresh)


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_workers_changes_nothing(count: int, engine: ProcessEngine) -> None:
    with workers(count) as other:
        assert [content(r) for r in play(other, work())] == [content(r) for r in play(engine, work())]


def test_replies_come_in_request_order_whoever_is_first(engine: ProcessEngine) -> None:
    names = ["steady", "a", "b", "steady", "c", "a"]
    assert [r.client for r in engine.send(asked(*names))] == names


def test_two_workers_share_the_work(engine: ProcessEngine) -> None:
    have_ready(engine)
    assert {told(r) for r in play(engine, asked("process", "process"))} == set(engine.pids)


def test_no_request_no_reply(engine: ProcessEngine) -> None:
    assert list(engine.send([])) == []


def test_requests_are_drawn_as_workers_are_free(engine: ProcessEngine) -> None:
    """The second worker answers everything that the window lets it, while the first is at its first request."""
    have_ready(engine)
    drawn: list[str] = []

    def requests() -> Iterator[Request]:
        for request in asked("steady", *"abcdefgh" * 3):
            drawn.append(request.client)
            yield request

    replies = engine.send(requests())
    assert drawn == []
    next(replies)
    assert len(drawn) == 2 * 2 + 2
    assert len(list(replies)) == 24


def test_two_sends_at_a_time_get_their_own_replies(engine: ProcessEngine) -> None:
    one, other = engine.send(asked("a", "b", "c")), engine.send(asked("d", "e", "f"))
    assert [r.client for pair in zip(one, other, strict=True) for r in pair] == list("adbecf")


def test_what_a_client_raises_is_its_failure_and_the_others_finish(engine: ProcessEngine) -> None:
    raised, refused, full, fine = play(engine, asked("raises", "refuse", "allocate", "a"))
    reason, said = failed(raised)
    assert reason == "CLIENT_ERROR"
    assert said.startswith("MemoryError: without a message; it was raised in your own code: raises (")
    assert failed(refused) == ("NONFINITE", "the loss became nan")
    assert "can't allocate memory" in failed(full)[1]
    assert isinstance(fine, Evaluated)


def test_a_client_without_data_is_a_failure_with_a_hint(engine: ProcessEngine) -> None:
    (reply,) = play(engine, asked("nobody"))
    assert "no data for client nobody" in failed(reply)[1]


def test_an_answer_that_cannot_be_sent_is_a_failure(engine: ProcessEngine) -> None:
    (reply,) = play(engine, [Train(ClientId("strange"), 0, WEIGHTS, frozenset({1}), TrainPlan())])
    assert failed(reply) == ("CLIENT_ERROR", "its answer cannot be sent: KeyError: 'blocks.1.weight'")


def test_what_a_client_says_is_logged_in_this_process(engine: ProcessEngine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        play(engine, asked("talk", "a", "talk"))
    assert [r.getMessage().partition(": ")[2] for r in caplog.records] == ["talk speaks"] * 2


def moved(block: str, by: float) -> Weights:
    return {n: t + by if n.startswith(f"{block}.") else t for n, t in WEIGHTS.items()}


def test_workers_see_new_weights_and_only_blocks_that_changed_are_written(engine: ProcessEngine) -> None:
    names, new = ("sum", "steady", "sum", "sum"), moved("blocks.1", 1.0)
    before, written = [told(r) for r in play(engine, asked(*names))], engine.bytes_copied
    assert written >= ALL
    after = [told(r) for r in play(engine, asked(*names, weights=new))]
    assert [a - b for a, b in zip(after, before, strict=True)] == [42_000, 0, 42_000, 42_000]
    play(engine, asked("sum", weights=copy_of(new)))
    assert engine.bytes_copied == written + LAYERS.layers[1].bytes


def test_weights_are_not_overwritten_while_a_client_works_on_the_old_ones(engine: ProcessEngine) -> None:
    others = asked("sum", weights=moved("blocks.0", 1.0))
    steady, before, after, again = play(engine, [*asked("steady", "sum"), *others, *asked("sum")])
    assert told(steady) == 1
    assert told(after) - told(before) == 42_000
    assert told(again) == told(before)


def test_one_send_after_the_other_gets_its_own_answers(engine: ProcessEngine) -> None:
    for _ in range(20):
        assert [r.client for r in engine.send(asked("a", "b", "c"))] == ["a", "b", "c"]


def test_a_reply_is_a_frame_of_its_client(engine: ProcessEngine) -> None:
    (request,) = asked("a")
    (reply,) = engine.send([request])
    assert isinstance(reply, Frame)
    assert read(request, reply) == local([request])[0]


def test_answers_are_repeatable(engine: ProcessEngine) -> None:
    assert engine.repeatable
    assert engine.clock.now() < inf


def test_each_worker_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-7")
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments(3, "cuda")] == ["2", "GPU-7", "2"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments(2, "cuda")] == ["0", "1"]
    assert environments(2, "cpu") == [{}, {}]


def test_a_system_without_descriptors_to_inherit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedstrata.engines.processes.os.name", "nt")
    with pytest.raises(ConfigError, match="use engine: local"):
        ProcessEngine(LAYERS, WEIGHTS, Recipe("worker_recipes:toy"), workers=1)


def test_weights_of_another_model_are_refused(engine: ProcessEngine) -> None:
    with pytest.raises(TrainingError, match="the weights lack"):
        list(engine.send(asked("a", weights={TensorName("other"): next(iter(WEIGHTS.values()))})))
    assert len(list(engine.send(asked("a")))) == 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_shared_memory_has_no_names(engine: ProcessEngine) -> None:
    play(engine, asked("a"))
    links = [str(entry.readlink()) for entry in Path(f"/proc/{engine.pids[0]}/fd").iterdir()]
    files = [link for link in links if link.startswith(("/dev/shm", "/tmp"))]
    assert files
    assert all(link.endswith("(deleted)") for link in files)


def test_ctrl_c_is_the_servers_business(engine: ProcessEngine) -> None:
    have_ready(engine)
    before = engine.pids
    for pid in before:
        os.kill(pid, signal.SIGINT)
    play(engine, asked("a", "b"))
    assert engine.pids == before
