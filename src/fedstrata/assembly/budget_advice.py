"""What would fit where a budget does not: the same run with one thing changed, priced again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fedstrata.costs.protocol import CostModel, Facts, Workload
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.wire.sizes import Encoding

Advise = Callable[[ClientId, Cost, ClientRound, Sequence[Mask]], str]
"""Says what would fit a client's budget: for one of these masks, on such a visit; empty if nothing would."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """Prices what a configuration could be instead.

    Attributes:
        cost: How masks are priced.
        facts: What is priced now; its profiles are measured already.
        adapter: Whether adapters take the place of the layers' weights now.
        units: Whether a layer is half a block now.
    """

    cost: CostModel
    facts: Facts
    adapter: bool
    units: str

    def __call__(self, client: ClientId, budget: Cost, visit: ClientRound, masks: Sequence[Mask]) -> str:
        """Return what would fit, as the end of a sentence."""
        fits = [
            words for words, facts, at in self._changes(client, visit) if self._fits(facts, client, budget, at, masks)
        ]
        scarce = any(unit.startswith("bytes") for unit in budget.limited())
        others = ["model.adapter: lora"] if scarce and not self.adapter else []
        others += ["model.units: halves"] if scarce and self.units != "halves" and masks[0] else []
        said = f"; what would fit: {', or '.join(fits)}" if fits else ""
        return said + (f"; {' or '.join(others)} asks for less, too" if others else "")

    def _fits(self, facts: Facts, client: ClientId, budget: Cost, visit: ClientRound, masks: Sequence[Mask]) -> bool:
        prices = self.cost.bind(facts).prices(client, visit)
        return any(prices.of(mask).fits(budget) for mask in masks)

    def _changes(self, client: ClientId, visit: ClientRound) -> Iterator[tuple[str, Facts, ClientRound]]:
        """Yield each change in words, with what is priced after it."""
        facts, work = self.facts, self.facts.workloads[client]
        rows = sum(count for count, _ in work.probe)
        if visit.probes and max((count for count, _ in work.probe), default=0) > 1:
            single = tuple((1, length) for count, length in work.probe for _ in range(count))
            batches = facts.probe.batches * facts.probe.batch_size
            same = f" with probe.batches: {batches}, which measures the same {rows} rows" if batches else ""
            yield f"probe.batch_size: 1{same}", self._with(client, replace(work, probe=single)), visit
        if visit.probes:
            yield "a selector that needs no probe, such as top or random", facts, replace(visit, probes=0)
        if max(count for count, _ in work.train) > 1:
            one = tuple((1, length) for _, length in work.train)
            yield "train.batch_size: 1", self._with(client, replace(work, train=one)), visit
        if facts.train.encoding is not Encoding.INT8:
            yield "upload.encoding: int8", replace(facts, train=replace(facts.train, encoding=Encoding.INT8)), visit

    def _with(self, client: ClientId, work: Workload) -> Facts:
        return replace(self.facts, workloads={client: work})


def nothing(_client: ClientId, _budget: Cost, _visit: ClientRound, _masks: Sequence[Mask]) -> str:
    """Give no advice."""
    return ""
