"""What every sampler owes its callers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from every_kind import every
from fedstrata.domain.ids import ClientId
from fedstrata.samplers.protocol import Sampler

SAMPLERS: list[Sampler] = every(
    "sampler",
    {"kind": "uniform", "clients_per_round": 1},
    {"kind": "uniform", "clients_per_round": 3},
    {"kind": "only", "clients": "always"},
)
NAMED = [ClientId("here"), ClientId("always")]
others = st.lists(st.text("abc", min_size=1, max_size=4).map(ClientId), min_size=1, max_size=10, unique=True)
names = others.flatmap(lambda found: st.permutations([*NAMED, *found]))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@given(clients=names, seed=st.integers(0, 100))
def test_cohort_is_known_distinct_sorted_and_not_empty(sampler: Sampler, clients: list[ClientId], seed: int) -> None:
    cohort = sampler.sample(clients, np.random.default_rng(seed))
    assert cohort
    assert set(cohort) <= set(clients)
    assert list(cohort) == sorted(set(cohort))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@given(clients=names, seed=st.integers(0, 100))
def test_order_of_the_clients_does_not_matter(sampler: Sampler, clients: list[ClientId], seed: int) -> None:
    straight = sampler.sample(clients, np.random.default_rng(seed))
    assert sampler.sample(sorted(clients, reverse=True), np.random.default_rng(seed)) == straight
