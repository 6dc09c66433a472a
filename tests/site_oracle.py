"""What may leave a site, worked out from its file alone and in another way than the site does it.

Blocks are known by the beginnings of their tensors' names; what answers may tell apart, by which of them use which
rows. Nothing of ``fedstrata.deploy.site`` is used here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedstrata.deploy.site.answer import Answer
from fedstrata.wire.manifest import read_manifest
from fedstrata.wire.messages import Evaluated, Failure, Probed, Reply, Update
from hostile_site import HostileSite, Used

BEGINNINGS: Mapping[str, tuple[str, ...]] = {
    "first:1": ("vit.layers.0.",),
    "last:2": ("vit.layers.4.", "vit.layers.5."),
    "2": ("vit.layers.2.",),
    "bottom:34%": ("vit.layers.0.", "vit.layers.1."),
    "/layers.[13]$/": ("vit.layers.1.", "vit.layers.3."),
    "vit.layers.3": ("vit.layers.3.",),
    "embeddings": ("vit.embeddings.",),
    "head": ("vit.layernorm.", "classifier."),
}
"""Terms of the layer language, and the tensors that they stand for in the embedded model."""
KINDS = ("declaration", "frame", "missing", "refused")


@dataclass(slots=True)
class Oracle:
    """Holds what leaves a site against its file.

    Attributes:
        site: The site.
        keys: Its file.
        answered: What each answer that left, failures included, was computed from.
    """

    site: HostileSite
    keys: Mapping[str, Any]
    answered: list[Used] = field(default_factory=list)

    def check(self, said: Mapping[str, Any], answer: Answer, before: int) -> None:
        """Check one answer.

        Args:
            said: What was asked.
            answer: What leaves.
            before: How many pieces of work had been done before it.
        """
        assert answer.said["kind"] in KINDS
        assert len(json.dumps(answer.said)) < 20_000
        if answer.said["kind"] == "declaration":
            self._pinned(said)
        if answer.said["kind"] != "frame":
            assert answer.parts == ()
            return
        reply, used = manifest_in(answer), self.site.used[before:]
        if isinstance(reply, Failure):
            assert len(answer.parts) == 1
            assert len(reply.message) < 1000
            if not used:
                return
        self._pinned(said)
        self.answered += used
        self._work(reply, used)
        self._combined()
        self._counted()
        if isinstance(reply, Failure):
            return
        fact = self.site.facts()[-1]
        assert fact["rows"] == len(used[-1].rows)
        assert "statistics" not in fact or fact["statistics"]["rows"] == len(used[0].rows)

    def _limit(self, key: str, otherwise: Any) -> Any:  # noqa: ANN401
        found = self.keys.get("limits", {}).get(key, otherwise)
        return otherwise if found is None else found

    def _pinned(self, said: Mapping[str, Any]) -> None:
        run_spec = said["run_spec"]
        for key, value in self.keys.get("pin", {}).items():
            where = run_spec["data"] if key == "held_out" else run_spec["model"]
            default = {"held_out": 0.0, "units": "blocks", "always": [], "candidates": "all"}[key]
            mine, theirs = ([v] if isinstance(v, str) else v for v in (value, where.get(key, default)))
            assert mine == theirs, key

    def _work(self, reply: Reply, used: Sequence[Used]) -> None:
        least = self._limit("min_rows", 1)
        for one in used:
            assert all(len(step) >= least for step in one.steps), one
            if one.kind == "probe":
                assert self._limit("scores", True)
                assert self._limit("sketches", False) or not one.sketched
            if one.kind == "evaluate":
                assert self._limit("evaluate", True)
            if one.kind == "train":
                assert one.plan is not None
                assert len(one.steps) <= self._limit("steps", 100_000)
                assert max(one.plan.lr, one.plan.always_lr or 0) <= self._limit("lr", 10.0)
                assert max(one.plan.lr, one.plan.always_lr or 0) * one.plan.weight_decay <= 0.1
                assert not [n for n in one.tensors if n.startswith(self._refused())]
        if isinstance(reply, Update):
            assert [one.kind for one in used] == (["probe", "train"] if reply.piggybacked else ["train"])
        probed = reply if isinstance(reply, Probed) else reply.piggybacked if isinstance(reply, Update) else None
        if probed is not None:
            self._withheld(probed)
        if isinstance(reply, Evaluated):
            assert reply.num_examples == len(used[0].rows)

    def _refused(self) -> tuple[str, ...]:
        return tuple(b for term in self._limit("refuse", []) for b in BEGINNINGS[term])

    def _withheld(self, probed: Probed) -> None:
        bench = self.site.service._runtime
        assert bench is not None
        for layer, stats in zip(bench.layers, probed.stats, strict=True):
            if any(name.startswith(self._refused()) for name in layer.tensor_names):
                assert not any(stats.sketch or ())
                assert not any(t.grad_sq or t.half_dot or t.snr_sum or t.noise_sum for t in stats.tensors)

    def _combined(self) -> None:
        """No combination of all answers so far tells of fewer rows than the file asks for.

        What is computed of sets of rows can tell apart two rows only if one of the sets has one of them and not the
        other. So the rows are divided by which sets have them.
        """
        steps = {step for one in self.answered for step in one.steps}
        alike = Counter(tuple(row in step for step in steps) for row in frozenset().union(*steps))
        assert min(alike.values(), default=10**9) >= self._limit("min_rows", 1)

    def _counted(self) -> None:
        kinds = Counter(one.kind for one in self.answered)
        for key, kind in (("rounds", "train"), ("probes", "probe"), ("evaluations", "evaluate")):
            assert kinds[kind] <= self._limit(key, 10**9)


def manifest_in(answer: Answer) -> Reply:
    """Return what a frame says."""
    head = answer.parts[0]
    size = int.from_bytes(head[8:12], "little")
    return read_manifest(head[52 : 52 + size])[0]
