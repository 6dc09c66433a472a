from __future__ import annotations

import numpy as np
import pytest

from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError
from fedstrata.samplers.only import Only

CLIENTS = [ClientId(name) for name in ("photo", "sketch", "art", "cartoon")]


def test_the_named_client_is_every_cohort() -> None:
    assert all(Only("art").sample(CLIENTS, np.random.default_rng(seed)) == ("art",) for seed in range(5))


def test_several_are_in_order_of_name() -> None:
    assert Only(("sketch", "art")).sample(CLIENTS, np.random.default_rng(0)) == ("art", "sketch")


def test_a_name_that_nobody_has_is_an_error_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError,
        match=r"sampler 'only' has clients: art, skech, but no client is called 'skech'; did you mean 'sketch'\?",
    ):
        Only(("art", "skech")).sample(CLIENTS, np.random.default_rng(0))


def test_nobody_or_somebody_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"clients: \[\]; name at least one client"):
        Only(())
    with pytest.raises(ConfigError, match=r"clients: art, photo, art; name 'art' once"):
        Only(("art", "photo", "art"))
