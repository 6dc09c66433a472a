"""Piggybacked probes: a client measures for the next round while it trains in this one, and so is asked once.

Its scores are then one aggregate old. What a mask may cost depends on whose probe is piggybacked, and whom the selector
will want in the next round on the masks. So a client whose mask is chosen on scores, and whom the selector as it stands
will want, is priced with a piggybacked probe, if it can pay for that with no layer at all. Once masks are chosen, the
probes of those are piggybacked who are wanted, train, and can pay for their mask and the probe.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.selectors.protocol import Selector, SelectorState
from fedstrata.server.setting import Setting

Visits = Mapping[ClientId, ClientRound]


@dataclass(frozen=True, slots=True)
class Piggyback:
    """The piggybacked probes of one round, which measure for the next.

    Attributes:
        setting: Prices and budgets.
        selector: Says whom it wants probed.
        round: The round whose updates carry the statistics.
        cohort: Clients of the next round's first attempt; empty where nothing is piggybacked.
    """

    setting: Setting
    selector: Selector
    round: int
    cohort: tuple[ClientId, ...]

    @classmethod
    def after(cls, setting: Setting, selector: Selector, round: int, *, last: bool) -> Piggyback:
        """Return the piggybacked probes of a round; the last round has none."""
        cohort = setting.cohort(round + 1, 0) if setting.piggyback and not last else ()
        return cls(setting, selector, round, cohort)

    def wanted(self, memory: SelectorState) -> frozenset[ClientId]:
        """Return the clients whose scores the selector will need in the next round, if this is its memory then."""
        return frozenset(self.selector.probes(self.round + 1, self.cohort, memory) if self.cohort else ())

    def with_room(
        self, visits: Visits, scored: Container[ClientId], memory: SelectorState
    ) -> dict[ClientId, ClientRound]:
        """Return the visits that masks are priced for.

        Args:
            visits: What is certain.
            scored: Clients whose masks are chosen on scores in this round.
            memory: The selector's, before it selects.
        """
        wanted = frozenset(c for c in self.wanted(memory) if c in scored)
        return more(visits, self._able(dict.fromkeys(wanted, frozenset()), visits))

    def carriers(self, masks: Mapping[ClientId, Mask], visits: Visits, memory: SelectorState) -> frozenset[ClientId]:
        """Return the clients whose probe is piggybacked.

        Args:
            masks: Who trains what.
            visits: What is certain.
            memory: The selector's, after it selected.
        """
        wanted = self.wanted(memory)
        return self._able({c: mask for c, mask in masks.items() if c in wanted}, visits)

    def _able(self, masks: Mapping[ClientId, Mask], visits: Visits) -> frozenset[ClientId]:
        """Return the clients whose budgets pay for their mask and one probe more."""
        prices = self.setting.prices(masks, more(visits, masks))
        return frozenset(c for c, price in prices.items() if price.fits(self.setting.profiles[c].budget))


def more(visits: Visits, clients: Container[ClientId]) -> dict[ClientId, ClientRound]:
    """Return visits with one probe more for some clients."""
    return {c: replace(v, probes=v.probes + 1) if c in clients else v for c, v in visits.items()}
