"""What a site refuses is a block of its own model, whatever the run makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from fedstrata.deploy.site.refusal import refused_layers
from fedstrata.domain.layer_language import LayerSpec
from fedstrata.errors import ClientError, ConfigError, LayerError
from fedstrata.models.form import Form, Lora
from fedstrata.models.hub import load_model
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.partition import partition

LABELS = [str(i) for i in range(10)]


def digits(**model: Any) -> LoadedModel:  # noqa: ANN401
    return load_model("embedded:vit-digits", task="image-classification", labels=LABELS, form=Form(**model))


def refused(terms: LayerSpec, **model: Any) -> list[str]:  # noqa: ANN401
    loaded = digits(**model)
    return [str(loaded.layers.names[i]) for i in sorted(refused_layers(terms, loaded.model, loaded.layers))]


def test_nothing_refused_is_nothing() -> None:
    assert refused([]) == refused("none") == []


@pytest.mark.parametrize(
    ("terms", "model", "expected"),
    [
        ("first:1", {}, ["vit.layers.0"]),
        ("first:1", {"candidates": "3-5"}, []),
        ("first:4", {"candidates": "3-5"}, ["vit.layers.3"]),
        ("last:1", {"candidates": "0-2"}, []),
        ("last:1", {"never": "last:1"}, []),
        ("bottom:34%", {"candidates": "1-5"}, ["vit.layers.1"]),
        ("vit.layers.2", {"never": "0"}, ["vit.layers.2"]),
        ("/layers.[01]$/", {}, ["vit.layers.0", "vit.layers.1"]),
        ("embeddings", {}, []),
    ],
)
def test_terms_count_and_name_the_blocks_of_the_model(
    terms: LayerSpec, model: Mapping[str, object], expected: list[str]
) -> None:
    assert refused(terms, **model) == expected


def test_a_refused_block_covers_both_halves_and_a_half_may_be_named_alone() -> None:
    halves = digits(units="halves").layers.names
    assert refused("first:1", units="halves") == list(halves[:2])
    assert refused(["vit.layers.0", -1], units="halves") == [*halves[:2], *halves[-2:]]
    assert refused([str(halves[3])], units="halves") == [halves[3]]


def test_a_refused_block_covers_what_is_put_beside_its_weights() -> None:
    pytest.importorskip("peft")
    loaded = digits(adapter=Lora(2, 2))
    assert refused_layers("first:1", loaded.model, loaded.layers) == {0}
    assert any("lora" in name for name in loaded.layers.layers[0].tensor_names)


@pytest.mark.parametrize("terms", ["first:1", "vit.layers.0", "all", "embeddings", "head"])
def test_a_run_that_has_everyone_train_a_refused_block_is_refused(terms: str) -> None:
    always = {"embeddings": "embeddings", "head": []}.get(terms, "first:1")
    with pytest.raises(ClientError, match=r"the run has everyone train vit\.|classifier") as raised:
        refused(terms, always=always)
    assert raised.value.reason == "REFUSED"


class Tied(nn.Module):
    """Two blocks that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
        self.blocks[2].weight = self.blocks[0].weight
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_a_block_that_shares_a_weight_with_a_refused_one_is_refused_too() -> None:
    net = Tied()
    layers = partition(net)
    assert refused_layers("blocks.2", net, layers) == {0, 2}
    assert refused_layers("blocks.0", net, layers) >= {0}


def test_a_term_that_names_nothing_is_an_error() -> None:
    with pytest.raises(LayerError, match=r"no block is named 'vit\.layers\.9'"):
        refused("vit.layers.9")


def test_a_model_without_a_list_of_blocks_needs_the_site_s_own_word() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.Tanh())
    layers = partition(net, blocks="children")
    with pytest.raises(ConfigError, match=r"say where they are in pin\.blocks"):
        refused_layers("first:1", net, layers)
    assert refused_layers("first:1", net, layers, "children") == {0}
