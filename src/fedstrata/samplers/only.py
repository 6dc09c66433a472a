"""The same named clients in every round, such as one client that trains alone.

Random streams are named by round and client, so a client that trains alone has the batches that it would have had among
the others: a local-only baseline differs from the federated run in nothing but the others' updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Only:
    """The named clients make up every cohort.

    Attributes:
        clients: A client's name, or several, each once.

    Example:
        >>> Only("b").sample([ClientId("b"), ClientId("a")], np.random.default_rng(0))
        ('b',)
    """

    clients: str | tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse an empty cohort, and a name that is given twice."""
        names = self._names()
        if not names:
            raise ConfigError("sampler 'only' has clients: []; name at least one client")
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise ConfigError(f"sampler 'only' has clients: {', '.join(names)}; name '{twice}' once")

    def sample(self, clients: Sequence[ClientId], rng: np.random.Generator) -> tuple[ClientId, ...]:
        """Return the named clients, ascending by name; nothing is drawn.

        Raises:
            ConfigError: A name that no client has.
        """
        for name in self._names():
            if name not in clients:
                raise ConfigError(
                    f"sampler 'only' has clients: {', '.join(self._names())}, but no client is called '{name}';"
                    f" {nearest(name, sorted(clients))}"
                )
        return tuple(sorted(ClientId(name) for name in self._names()))

    def _names(self) -> tuple[str, ...]:
        return (self.clients,) if isinstance(self.clients, str) else self.clients
