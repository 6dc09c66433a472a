"""Uniform client sampling without replacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every client is as likely as any other to be in the cohort.

    Attributes:
        clients_per_round: Size of the cohort; ``None`` for everybody in every round.

    Example:
        >>> names = [ClientId("b"), ClientId("a")]
        >>> Uniform().sample(names, np.random.default_rng(0))
        ('a', 'b')
    """

    clients_per_round: int | None = None

    def __post_init__(self) -> None:
        """Refuse an empty cohort."""
        if self.clients_per_round is not None and self.clients_per_round < 1:
            raise ConfigError(
                f"sampler 'uniform' has clients_per_round: {self.clients_per_round}; it must be 1 or more"
            )

    def sample(self, clients: Sequence[ClientId], rng: np.random.Generator) -> tuple[ClientId, ...]:
        """Return the cohort, ascending by name.

        Raises:
            ConfigError: More clients per round than there are.
        """
        names = sorted(clients)
        if self.clients_per_round is None:
            return tuple(names)
        if self.clients_per_round > len(names):
            raise ConfigError(
                f"sampler 'uniform' has clients_per_round: {self.clients_per_round}, but there are"
                f" {len(names)} clients; set it to {len(names)} or fewer, or leave it out for all"
            )
        drawn = rng.choice(len(names), size=self.clients_per_round, replace=False)
        return tuple(names[i] for i in sorted(drawn))
