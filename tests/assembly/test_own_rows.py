"""What a site reads of its own file is what the server would read of it: the same rows, in order, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedstrata.assembly.loading import load_network, load_rows
from fedstrata.assembly.runtime import handler_of
from fedstrata.client.resident import ResidentModel
from fedstrata.config.load import Loaded
from fedstrata.data.tensors import ClientRows, FederatedData
from fedstrata.domain.ids import ClientId
from fedstrata.domain.stats import Statistic
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import Evaluate, Probe, ProbePlan, Train, TrainPlan
from site_rows import SEED, SITES, of_files, of_site


def taken(rows: ClientRows, indices: Tensor) -> dict[str, Tensor]:
    inputs, labels = rows.rows.take(indices)
    return {**inputs, "labels": labels}


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_sites_own_rows_are_those_of_the_whole_table_in_the_same_order(home: Path, kind: str) -> None:
    whole = load_rows(of_files(home, kind))
    assert list(whole.clients) == list(SITES)
    for site, rows in whole.clients.items():
        own = load_rows(of_site(home, kind, site, whole.labels))
        assert list(own.clients) == [site]
        theirs = own.clients[ClientId(site)]
        for part in ("train", "held_out"):
            indices = getattr(rows, part), getattr(theirs, part)
            assert len(indices[0]) == len(indices[1]) > 0
            assert same(taken(rows, indices[0]), taken(theirs, indices[1]))
            for one, other in zip(*indices, strict=True):
                assert same(taken(rows, one[None]), taken(theirs, other[None]))


def test_sites_with_short_texts_are_padded_less_and_so_the_test_above_says_something(home: Path) -> None:
    whole = load_rows(of_files(home, "text"))
    own = load_rows(of_site(home, "text", "north", whole.labels))
    widths = [data.clients[ClientId("north")].rows.inputs["input_ids"].shape[1] for data in (whole, own)]
    assert widths[1] < widths[0]


def replies(loaded: Loaded, data: FederatedData, site: str) -> list[str]:
    """Return the content of every answer of a client that has these rows."""
    network = load_network(loaded, data)
    handler = handler_of(loaded, ResidentModel(network.model, network.layers), data)
    client, weights = ClientId(site), ResidentModel(network.model, network.layers).weights()
    probe = ProbePlan(2, 3, frozenset({Statistic.NORM, Statistic.HALVES}))
    requests = [
        Probe(client, 1, weights, probe),
        Train(client, 1, weights, frozenset({0}), TrainPlan(epochs=2, batch_size=4, lr=0.1)),
        Evaluate(client, 1, weights),
    ]
    return [content_of(handler.handle(request)) for request in requests]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_site_answers_from_its_own_rows_with_the_bits_of_the_whole_table(home: Path, kind: str) -> None:
    loaded = of_files(home, kind)
    whole = load_rows(loaded)
    for site in SITES:
        own = of_site(home, kind, site, whole.labels)
        assert replies(own, load_rows(own), site) == replies(loaded, whole, site)


def test_another_seed_holds_other_rows_out(home: Path) -> None:
    labels = ("bad", "good")
    first, again = (
        load_rows(of_site(home, "text", "south", labels, seed=seed)).clients[ClientId("south")]
        for seed in (SEED, SEED + 1)
    )
    assert not torch.equal(first.held_out, again.held_out)
