"""Bytes on the wire."""

from __future__ import annotations

import json
from pathlib import Path

from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.reasons import Reason
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.domain.versions import Versions
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.protocol import SelectorState
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.digests import manifest_of
from fedstrata.wire.messages import Failure, Frame, Reply, Request, Train
from fedstrata.wire.sizes import mask_bytes
from small_runs import SIZES, events, toy_run
from toy_runs import toy_engine
from toys import toy_clients, toy_model

BLOCK, HEAD = 4 * (6 * 6 + 6), 4 * (6 * 3 + 3)
A = ClientId("a")


def start() -> tuple[LayerMap, Versions]:
    model = toy_model()
    layers = model.layers
    manifest = manifest_of(layers.trainable, model.weights())
    return layers, Versions.at(manifest, always=[block.name for block in layers.always])


def test_a_new_client_lacks_the_head_alone() -> None:
    layers, versions = start()
    assert versions.bytes_down(A, layers) == HEAD


def test_a_client_that_was_away_lacks_what_moved_meanwhile() -> None:
    layers, versions = start()
    versions = versions.sent([A]).moved({LayerName("blocks.0"): "1", LayerName("head"): "1"})
    versions = versions.sent([]).moved({LayerName("blocks.2"): "2", LayerName("head"): "2"})
    assert versions.bytes_down(A, layers) == 2 * BLOCK + HEAD


def test_a_client_lacks_nothing_that_did_not_move() -> None:
    layers, versions = start()
    versions = versions.sent([A]).moved({LayerName("head"): "1"}).sent([A])
    assert versions.bytes_down(A, layers) == 0


def test_a_layer_that_moved_there_and_back_is_not_sent_again() -> None:
    layers, versions = start()
    first = versions.current[LayerName("blocks.0")]
    versions = versions.sent([A]).moved({LayerName("blocks.0"): "1"}).moved({LayerName("blocks.0"): first})
    assert versions.bytes_down(A, layers) == 0


def test_manifests_that_no_client_holds_are_forgotten() -> None:
    _, versions = start()
    for content in "1234":
        versions = versions.sent([A]).moved({LayerName("blocks.0"): content})
    assert len(versions.known) == 1


def test_a_mask_is_a_bit_per_layer() -> None:
    assert mask_bytes(toy_model().layers) == 1


def test_bytes_are_counted_per_client_and_in_the_summary(tmp_path: Path) -> None:
    """Up: the deltas of the mask and the head, and a score per layer. Down: what moved since last time, and a mask."""
    run, weights = toy_run(tmp_path, selector=Consensus(), rounds=4, per_round=3)
    run.start(weights)
    changed: dict[int, int] = {}
    seen: dict[str, int] = {}
    up = down = 0
    for round in events(tmp_path, "round"):
        here = [e for e in events(tmp_path, "client") if e["round"] == round["round"]]
        for e in here:
            lacked = [i for i, since in changed.items() if since > seen.get(e["client"], 0)]
            assert e["bytes_up"] == BLOCK * len(e["mask"]) + HEAD + 4 * 3
            assert e["bytes_down"] == BLOCK * len(lacked) + HEAD + 1
            up, down = up + e["bytes_up"], down + e["bytes_down"]
        assert round["bytes_up"] == sum(e["bytes_up"] for e in here)
        changed |= {i: round["round"] for e in here for i in e["mask"]}
        seen |= {e["client"]: round["round"] - 1 for e in here}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["bytes_up"], summary["bytes_down"]) == (up, down)


class OneByOne:
    """Everybody trains block 0 in round 0, block 1 in round 1, and so on, without a probe."""

    def init(self, layers: LayerMap) -> SelectorState:
        return {}

    def probes(self, round: int, cohort: object, state: SelectorState) -> tuple[ClientId, ...]:
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        return Selection(dict.fromkeys(problem.clients, frozenset({problem.round}))), state


def test_a_client_that_never_answered_is_taken_not_to_hold_what_it_was_sent(tmp_path: Path) -> None:
    """Client b is lost in round 1, before anyone knows whether block 0, which moved in round 0, reached it."""
    inner = toy_engine(toy_model(), toy_clients(SIZES, held_out=3))

    def script(request: Request) -> Reply | Frame:
        if isinstance(request, Train) and request.client == "b" and request.round == 1:
            return Failure(request.client, 1, "train", Reason.LATE, "lost")
        (reply,) = inner.send([request])
        return reply

    run, weights = toy_run(tmp_path, selector=OneByOne(), rounds=3, engine=ScriptedEngine(script))
    run.start(weights)
    down = {c: [e["bytes_down"] for e in events(tmp_path, "client") if e["client"] == c] for c in "ab"}
    assert down["a"] == [HEAD + 1, BLOCK + HEAD + 1, BLOCK + HEAD + 1]
    assert down["b"] == [HEAD + 1, BLOCK + HEAD + 1, 2 * BLOCK + HEAD + 1]
