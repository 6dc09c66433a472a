"""What the engine does over a cluster; on real nodes, with one killed, it is ``tests/e2e/test_ray_cluster.py``."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch

from fedstrata.domain.ids import ClientId
from fedstrata.engines.clock import Deadline, VirtualClock
from fedstrata.engines.local import LocalEngine
from fedstrata.engines.workers.worker_spec import Recipe
from fedstrata.errors import TrainingError
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import Evaluated, Frame, Probed, Reply, Request, Train, TrainPlan, Update
from worker_engines import LAYERS, WEIGHTS, asked, failed, read, told
from worker_recipes import toy_handler

pytest.importorskip("ray", reason="Ray is not installed")
from fedstrata.engines.ray import blocks
from fedstrata.engines.ray.actor import difference
from fedstrata.engines.ray.cluster import Connection, Need
from fedstrata.engines.ray.engine import RayEngine
from scripted_ray import Reference, Scripted, died

ALL = sum(WEIGHTS[n].nbytes for b in LAYERS.trainable for n in b.tensor_names)
Cluster = Callable[..., tuple[Scripted, RayEngine]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return what makes an engine over a scripted cluster, one seat per node unless said otherwise."""

    def make(*nodes: str | None, seats: int = 0, recipe: str = "toy", start: float = 1e9) -> tuple[Scripted, RayEngine]:
        scripted = Scripted(list(nodes))
        for module in ("seats", "blocks"):
            monkeypatch.setattr(f"fedstrata.engines.ray.{module}.ray", scripted)
        engine = RayEngine(
            Connection("here:1", ours=False),
            LAYERS,
            WEIGHTS,
            Recipe(f"worker_recipes:{recipe}"),
            need=Need(2, 0.5),
            actors=seats or len(nodes),
            clock=VirtualClock(),
            start_timeout=start,
        )
        return scripted, engine

    return make


def work() -> list[Request]:
    plan = TrainPlan(steps=3, epochs=None, batch_size=3, lr=0.1)
    return [Train(ClientId(c), 2, WEIGHTS, frozenset({n % 3}), plan) for n, c in enumerate("cabdhgfe")]


def contents(requests: list[Request], replies: list[Frame | object]) -> list[str]:
    found = []
    for request, reply in zip(requests, replies, strict=True):
        answer = read(request, reply) if isinstance(reply, Frame) else reply
        assert isinstance(answer, Probed | Update | Evaluated)
        found.append(content_of(answer))
    return found


def expected(requests: list[Request]) -> list[str]:
    return contents(requests, list(LocalEngine(toy_handler()).send(requests)))


def answers(engine: RayEngine, requests: list[Request]) -> list[Reply]:
    return [read(q, r) for q, r in zip(requests, engine.send(requests), strict=True)]  # type: ignore[misc]


def test_the_bits_are_those_of_the_local_engine_on_actors_that_reserve_what_they_need(cluster: Cluster) -> None:
    ray, engine = cluster("one", "two")
    assert contents(work(), list(engine.send(work()))) == expected(work())
    assert all(actor.clients for actor in ray.started)
    for actor in ray.started:
        assert actor.reserved == {"num_cpus": 2, "num_gpus": 0.5, "scheduling_strategy": "SPREAD"}


def test_a_version_of_a_block_is_handed_to_the_cluster_once(cluster: Cluster) -> None:
    ray, engine = cluster("one", "two")
    list(engine.send(work()))
    assert engine.bytes_put == ALL
    assert len(ray.handed) == 1 + len(LAYERS.trainable)  # the spec, and an object per block
    changed = LAYERS.layers[1].tensor_names
    other = {name: tensor + (name in changed) for name, tensor in WEIGHTS.items()}
    here = 10**6 + round(1e3 * sum(float(t.sum()) for t in other.values()))
    assert [told(r) for r in answers(engine, asked("sum", "sum", "sum", weights=other))] == [here] * 3
    assert engine.bytes_put == ALL + sum(other[name].nbytes for name in changed)


def test_what_a_dead_node_was_asked_is_asked_again_elsewhere_and_nothing_else(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    ray, engine = cluster("one", "two", "one", seats=2)

    def once() -> Reference:
        del ray.does["a"]
        return died()

    ray.does["a"] = once
    with caplog.at_level(logging.WARNING):
        assert contents(work(), list(engine.send(work()))) == expected(work())
    counts = [sum(actor.clients.count(c) for actor in ray.started) for c in "cabdhgfe"]
    assert counts == [1, 2, 1, 1, 1, 1, 1, 1]
    assert "client a: ActorDiedError: The actor died unexpectedly before finishing this task." in caplog.text
    assert len(ray.started) == 3  # another actor took the seat


def test_the_others_go_on_while_there_is_no_room_for_a_new_actor(cluster: Cluster) -> None:
    ray, engine = cluster("one", "two")  # and nothing for a third actor

    def once() -> Reference:
        del ray.does["a"]
        return died()

    ray.does["a"] = once
    assert contents(work(), list(engine.send(work()))) == expected(work())
    assert len(engine.nodes) == 1


def test_a_client_whose_work_ends_three_actors_has_failed(cluster: Cluster) -> None:
    ray, engine = cluster(*["one"] * 5, seats=1)
    ray.does["b"] = died
    replies = answers(engine, asked("b", "process"))
    reason, message = failed(replies[0])
    assert reason == "CLIENT_ERROR"
    assert message.startswith("its work ended 3 actors, the last one on node one: ActorDiedError: The actor died")
    assert "\n" not in message
    assert told(replies[1])


def test_an_actor_at_work_at_the_deadline_is_ended_and_its_client_late(cluster: Cluster) -> None:
    ray, engine = cluster("one", "one", "two", seats=2)
    clock = engine.clock
    assert isinstance(clock, VirtualClock)

    def late() -> Reference:
        clock.advance_to(6.0)
        return Reference(done=False)

    ray.does["b"] = late
    (reply,) = engine.send(asked("b"), deadline=Deadline.after(5.0, clock))
    assert failed(reply) == ("LATE", "not done within the deadline")  # type: ignore[arg-type]
    assert len(ray.killed) == 1
    assert told(*answers(engine, asked("process")))


def test_a_node_that_lacks_a_path_is_named_in_a_sentence_when_the_run_begins(cluster: Cluster) -> None:
    _, engine = cluster("gpu-7 (10.0.0.7)", recipe="broken")
    with pytest.raises(TrainingError) as error:
        list(engine.send(asked("a")))
    said = "node gpu-7 (10.0.0.7) of the Ray cluster cannot take part: ConfigError: no model here"
    assert str(error.value).startswith(said)


def test_a_node_that_lacks_a_path_later_ends_nothing_while_others_go_on(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ray, engine = cluster("one", "two", "new", seats=2)

    def once() -> Reference:
        monkeypatch.setattr("worker_recipes.toy", lambda arguments: 1 / 0)
        del ray.does["a"]
        return died()

    ray.does["a"] = once
    with caplog.at_level(logging.WARNING):
        assert contents(work(), list(engine.send(work()))) == expected(work())
    assert "node new of the Ray cluster cannot take part: ZeroDivisionError" in caplog.text
    assert "1 actors go on" in caplog.text


def test_actors_that_end_before_they_are_ready_end_the_run_after_three(cluster: Cluster) -> None:
    ray, engine = cluster(*["dying"] * 4, seats=1)
    with pytest.raises(TrainingError, match=r"actors of the Ray cluster do not start: ActorDiedError.*; tried 3 times"):
        list(engine.send(asked("a")))
    assert len(ray.started) == 3


def test_a_cluster_without_room_is_not_waited_for_for_ever(cluster: Cluster) -> None:
    _, engine = cluster(None, start=0.0)
    with pytest.raises(TrainingError, match=r"no node with 2 cores and 0\.5 GPUs free"):
        list(engine.send(asked("a")))


def test_closing_ends_all_actors_and_nothing_can_be_sent(cluster: Cluster) -> None:
    ray, engine = cluster("one", "two")
    engine.close()
    assert ray.killed == ray.started
    with pytest.raises(TrainingError, match="the engine is closed"):
        engine.send(asked("a"))


def test_other_versions_on_a_node_are_said() -> None:
    assert difference({"torch": "2", "numpy": "1"}, {"torch": "2", "numpy": "1"}) == ""
    assert "it has numpy 3, and the server 1" in difference({"torch": "2", "numpy": "1"}, {"torch": "2", "numpy": "3"})


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_tensors_come_out_with_their_bits_and_where_kernels_want_them(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    from fedstrata.domain.ids import LayerName, TensorName
    from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
    from fedstrata.engines.workers.layout import Layout

    name, tensor = TensorName("w"), torch.arange(15).to(dtype)[: int(np.prod(shape))].reshape(shape)
    block = Layer(LayerName("h"), Role.LAYER, (TensorSpec(name, shape),))
    layout = Layout.of(LayerMap((block,)), {name: tensor})
    place = blocks.Held(layout, torch.device("cpu"))
    flat = blocks._flat(tensor)
    moved = np.empty(flat.nbytes + 8, np.uint8)[8:]  # as if it came from a place that kernels do not like
    moved[:] = flat
    found = place._tensors_of(block, [moved])[name]
    assert found.dtype == dtype
    assert torch.equal(found, tensor)
    assert found.data_ptr() % 64 == 0
