"""Identities: a client's name belongs to a registered key, and Flower says which node has the key.

Node ids are random per registration, and what a message says of its sender is the sender's word. So names are bound to
public keys, in a list that the server's operator keeps, and nodes with other keys do not exist for a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flwr.serverapp import Grid

from fedstrata.domain.ids import ClientId


@dataclass(frozen=True, slots=True)
class Node:
    """A site's present connection.

    Attributes:
        id: Flower's number of it.
        activated: When it connected last; another moment means that it was started anew.
        online: Whether it is connected.
    """

    id: int
    activated: str = ""
    online: bool = True


class Roster:
    """The sites of a run, by name.

    Args:
        keys: Public key of each site, as PEM.

    Raises:
        ValueError: Two names have the same key; it says which.
    """

    def __init__(self, keys: Mapping[ClientId, bytes]) -> None:
        self._names: dict[bytes, ClientId] = {}
        for name, key in keys.items():
            if (other := self._names.setdefault(key.strip(), name)) != name:
                raise ValueError(f"{other} and {name} have the same key; each site needs one of its own")
        self._nodes: dict[ClientId, Node] = {}
        self.strangers: frozenset[int] = frozenset()
        """Nodes whose keys are on no list."""

    @property
    def names(self) -> tuple[ClientId, ...]:
        """Every site that may take part, ascending."""
        return tuple(sorted(self._names.values()))

    @property
    def online(self) -> tuple[ClientId, ...]:
        """The sites that are connected, ascending."""
        return tuple(sorted(name for name, node in self._nodes.items() if node.online))

    def node(self, client: ClientId) -> Node | None:
        """Return a site's node if it is connected."""
        node = self._nodes.get(client)
        return node if node is not None and node.online else None

    def refresh(self, grid: Grid) -> None:
        """Ask Flower which nodes are connected."""
        found, strangers = {}, set()
        for info in grid.get_nodes():
            name = self._names.get(info.public_key.strip())
            if name is None:
                strangers.add(info.node_id)
            else:
                found[name] = Node(info.node_id, info.last_activated_at)
        self._nodes, self.strangers = found, frozenset(strangers)


class Simulated:
    """The clients of a simulation, where nodes are parts of one program and say truly which client they are.

    Args:
        nodes: Node id of each client.
    """

    def __init__(self, nodes: Mapping[ClientId, int]) -> None:
        self._nodes = {name: Node(number) for name, number in nodes.items()}

    @property
    def names(self) -> tuple[ClientId, ...]:
        """Every client, ascending."""
        return tuple(sorted(self._nodes))

    @property
    def online(self) -> tuple[ClientId, ...]:
        """Every client, ascending."""
        return self.names

    def node(self, client: ClientId) -> Node | None:
        """Return a client's node."""
        return self._nodes.get(client)

    def refresh(self, grid: Grid) -> None:
        """Do nothing: the simulated sites are fixed."""


def numbered(names: Iterable[ClientId], nodes: Mapping[int, int]) -> Simulated:
    """Return the clients of a simulation: the first name is partition 0.

    Args:
        names: Every client.
        nodes: Node id of each partition.
    """
    return Simulated({name: nodes[place] for place, name in enumerate(sorted(names))})
