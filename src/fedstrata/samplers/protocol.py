"""What a sampler is: the cohort of a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fedstrata.domain.ids import ClientId


class Sampler(Protocol):
    """Chooses which clients take part in a round."""

    def sample(self, clients: Sequence[ClientId], rng: np.random.Generator) -> tuple[ClientId, ...]:
        """Return the cohort in ascending order of name, whatever the order of ``clients``."""
        ...
