from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError
from fedstrata.samplers.uniform import Uniform

CLIENTS = [ClientId(name) for name in "dacb"]


def test_none_is_everybody_in_order_of_name() -> None:
    assert Uniform().sample(CLIENTS, np.random.default_rng(0)) == ("a", "b", "c", "d")


def test_cohort_does_not_depend_on_the_order_of_the_clients() -> None:
    for seed in range(20):
        straight = Uniform(2).sample(CLIENTS, np.random.default_rng(seed))
        assert Uniform(2).sample(CLIENTS[::-1], np.random.default_rng(seed)) == straight
        assert list(straight) == sorted(set(straight))
        assert len(straight) == 2


def test_everybody_is_equally_likely() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(client for _ in range(2000) for client in Uniform(2).sample(CLIENTS, rng))
    assert all(abs(count / 2000 - 0.5) < 0.05 for count in counts.values())
    assert len(counts) == 4


def test_more_than_there_are_is_an_error_that_says_how_many() -> None:
    with pytest.raises(ConfigError, match="there are 4 clients"):
        Uniform(5).sample(CLIENTS, np.random.default_rng(0))


def test_an_empty_cohort_is_refused() -> None:
    with pytest.raises(ConfigError, match="clients_per_round: 0"):
        Uniform(0)
