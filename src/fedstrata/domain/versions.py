"""Versions of layers: a content hash per block, and which clients hold which.

A client starts with the pretrained checkpoint and without the ``always`` blocks (a new head is the server's). From then
on it lacks exactly the blocks whose content differs from what it was sent last. The digest of all blocks together, the
base, names the weights that a piece of work starts from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.layers import Layer, LayerMap

Manifest = Mapping[LayerName, str]
"""Content hash of each block."""


def base_of(manifest: Manifest) -> str:
    """Return the digest of a manifest: 64 hexadecimal digits, whatever the order of its blocks.

    Example:
        >>> base_of({LayerName("a"): "1", LayerName("b"): "2"}) == base_of({LayerName("b"): "2", LayerName("a"): "1"})
        True
    """
    return sha256("\n".join(f"{name} {digest}" for name, digest in sorted(manifest.items())).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Versions:
    """What the server's blocks are, and what each client was sent last.

    Attributes:
        current: Content hash of every block that clients may train.
        start: The blocks that every client holds before it is sent anything.
        seen: For each client that ever took part, the base of the weights that it was sent last.
        known: The manifest of every base in ``seen``.

    Example:
        >>> v = Versions.at({LayerName("h.0"): "x", LayerName("head"): "y"}, always=[LayerName("head")])
        >>> v.lacks(ClientId("a"), LayerName("h.0")), v.lacks(ClientId("a"), LayerName("head"))
        (False, True)
        >>> v = v.sent([ClientId("a")]).moved({LayerName("h.0"): "z"})
        >>> v.lacks(ClientId("a"), LayerName("h.0")), v.lacks(ClientId("a"), LayerName("head"))
        (True, False)
    """

    current: Manifest = field(default_factory=dict)
    start: Manifest = field(default_factory=dict)
    seen: Mapping[ClientId, str] = field(default_factory=dict)
    known: Mapping[str, Manifest] = field(default_factory=dict)

    @classmethod
    def at(cls, manifest: Manifest, *, always: Iterable[LayerName]) -> Versions:
        """Return the versions of a run that has not begun."""
        heads = set(always)
        return cls(current=manifest, start={n: d for n, d in manifest.items() if n not in heads})

    @property
    def base(self) -> str:
        """Digest of the present weights."""
        return base_of(self.current)

    def held(self, client: ClientId) -> Manifest:
        """Return the blocks that a client holds."""
        return self.known[self.seen[client]] if client in self.seen else self.start

    def lacks(self, client: ClientId, block: LayerName) -> bool:
        """Return whether a client lacks the present weights of a block."""
        return self.held(client).get(block) != self.current[block]

    def missing(self, client: ClientId, layers: LayerMap) -> tuple[Layer, ...]:
        """Return the blocks that the server has to send before a client can start."""
        held = self.held(client)
        return tuple(b for b in layers.trainable if held.get(b.name) != self.current.get(b.name))

    def bytes_down(self, client: ClientId, layers: LayerMap) -> int:
        """Return the bytes of the blocks that the server has to send before a client can start."""
        return sum(block.bytes for block in self.missing(client, layers))

    def sent(self, clients: Iterable[ClientId]) -> Versions:
        """Return the versions after these clients got what they lacked."""
        base = self.base
        seen = {**self.seen, **dict.fromkeys(clients, base)}
        known = {**self.known, base: self.current}
        return Versions(self.current, self.start, seen, {b: known[b] for b in dict.fromkeys(seen.values())})

    def moved(self, blocks: Manifest) -> Versions:
        """Return the versions after the content of some blocks changed."""
        return Versions({**self.current, **blocks}, self.start, self.seen, self.known)
