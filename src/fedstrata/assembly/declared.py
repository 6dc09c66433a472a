"""What sites declare when they join, as a run's setting needs it: limits, refused layers, rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from fedstrata.costs.protocol import Pricing
from fedstrata.costs.refusing import Refusing, within
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.card import ClientData, DataCard
from fedstrata.domain.cost import Cost
from fedstrata.domain.formatting import listing
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.errors import ConfigError, nearest
from fedstrata.wire.declaration import Declaration

UNKNOWN_LABELS = "labels per site are not known to the server"


@dataclass(frozen=True, slots=True)
class Declared:
    """The sites of a run; none where clients work on this machine.

    Attributes:
        sites: Each site's declaration, ascending by name.
        absent: Who may take part and has not joined, so that tables of budgets and machines may name it.
    """

    sites: Mapping[ClientId, Declaration] = field(default_factory=dict)
    absent: tuple[ClientId, ...] = ()

    def refused(self, client: ClientId, layers: LayerMap) -> frozenset[int]:
        """Return the indices of the layers that a client refuses."""
        names = self.sites[client].refused if client in self.sites else ()
        return frozenset(i for i, layer in enumerate(layers) if layer.name in names)

    def idle(self, layers: LayerMap) -> frozenset[ClientId]:
        """Return the sites that refuse every layer that they could be given."""
        mine = frozenset(i for i, layer in enumerate(layers) if not layer.tied_with)
        return frozenset(c for c in self.sites if mine and mine <= self.refused(c, layers))

    def priced(self, pricing: Pricing, layers: LayerMap) -> Pricing:
        """Return prices that rule out, for each client, the layers that it refuses."""
        refused = {client: self.refused(client, layers) for client in self.sites}
        return Refusing(pricing, refused) if any(refused.values()) else pricing

    def budget(self, client: ClientId, assigned: Cost, layers: LayerMap) -> Cost:
        """Return the configuration's budget of a client, no larger in any unit than the site's own limit."""
        limits = self.sites[client].budget if client in self.sites else {}
        capped = Cost(**{unit: min(value, limits.get(unit, value)) for unit, value in assigned.items()})
        return within(capped, len(layers)) if self.refused(client, layers) else capped

    def notes(self, layers: LayerMap) -> Iterator[str]:
        """Yield what has to be said of refused layers, one sentence each.

        Raises:
            ConfigError: A site refuses a block that everyone trains, so that it could never take part.
        """
        always = {block.name for block in layers.always}
        known = {block.name for block in (*layers.layers, *layers.always, *layers.never)}
        for client, said in self.sites.items():
            for name in said.refused:
                if name in always:
                    raise ConfigError(
                        f"site {client} refuses {name}, which everyone trains (model.always and the head), so it could"
                        " never take part; leave the site out, or let it refuse less"
                    )
                if name not in known:
                    hint = nearest(name[:80], known)
                    yield f"site {client} refuses '{name[:80]}', which is no layer of this model; {hint}"
            mine = [name for name in layers.names if name in said.refused]
            if client in self.idle(layers):
                yield f"site {client} refuses every layer; it trains what everyone trains, and no layer"
            elif mine:
                yield f"site {client} refuses {listing(mine)}; it is given none of them"


def check_rows(data: FederatedData, sites: Mapping[ClientId, Declaration]) -> None:
    """Hold sites to the rows that the configuration gives them, where those are at hand (a trial).

    Raises:
        ConfigError: The first site that has no rows here, or other rows than these.
    """
    for client, said in sites.items():
        if client not in data.clients:
            raise ConfigError(f"site {client} has no rows in the configuration's data; {nearest(client, data.clients)}")
        rows = data.clients[client]
        if (said.num_examples, said.held_out) != (len(rows.train), len(rows.held_out)):
            raise ConfigError(
                f"site {client} declares {said.num_examples} training rows and {said.held_out} held out, and the"
                f" configuration gives it {len(rows.train)} and {len(rows.held_out)}; let its site.yaml name those rows"
            )


def declared_card(card: DataCard, sites: Mapping[ClientId, Declaration]) -> DataCard:
    """Return the data card of a server that has test rows alone, with the rows that its sites declare.

    Example:
        >>> declared_card(DataCard(clients={}), {ClientId("a"): Declaration(9, 1)}).rows_kept
        10
    """
    return replace(
        card,
        rows_kept=sum(said.num_examples + said.held_out for said in sites.values()),
        clients={client: ClientData(said.num_examples, said.held_out) for client, said in sites.items()},
        warnings=(*card.warnings, UNKNOWN_LABELS),
    )
