"""Which of a run's blocks a site refuses: by the blocks of its own model, whatever the run makes of them.

A run may select from some layers alone, cut blocks into halves, freeze blocks or have everybody train them. So terms
count and name the blocks that the model has by itself, and whatever shares a parameter with one of those is refused. A
name or a pattern may name a layer of the run besides, such as a half.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from torch import nn

from fedstrata.domain.layer_language import LayerSpec, counts_layers, parse_blocks, split_terms
from fedstrata.domain.layers import Layer, LayerMap, Mask
from fedstrata.domain.reasons import Reason
from fedstrata.errors import ClientError, ConfigError, LayerError, ModelError
from fedstrata.models.partition import partition


def refused_layers(
    terms: LayerSpec, model: nn.Module, layers: LayerMap, blocks: str | Sequence[str] | None = None
) -> Mask:
    """Return the layers of a run that a site refuses.

    Args:
        terms: What the site refuses, in the layer language.
        model: The site's model, as the run has it.
        layers: The run's blocks of it.
        blocks: Where the model's blocks are, by the site's own word; ``None`` looks for them.

    Raises:
        ConfigError: The model's blocks cannot be found.
        LayerError: A term names no block.
        ClientError: Everybody has to train a refused block.

    Example:
        ``tests/deploy/site/test_refusal.py`` has a run that cuts a refused block into halves.
    """
    wanted = split_terms(terms)
    if not wanted:
        return frozenset()
    refused = _parameters(wanted, model, layers, _own_blocks(model, blocks))
    mine = {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)}

    def touches(block: Layer) -> bool:
        return any(mine[name] in refused for name in block.tensor_names)

    trained = [block.name for block in layers.always if touches(block)]
    if trained:
        raise ClientError(
            f"the run has everyone train {trained[0]} (model.always and the head), and its own limits refuse that block"
            " (limits.refuse)",
            reason=Reason.REFUSED,
        )
    return frozenset(index for index, layer in enumerate(layers) if touches(layer))


def _own_blocks(model: nn.Module, blocks: str | Sequence[str] | None) -> LayerMap:
    try:
        return partition(model, blocks=blocks)
    except ModelError as error:
        advice = "say where they are in pin.blocks"
        raise ConfigError(f"limits.refuse needs the model's blocks: {error}; {advice}") from error


def _parameters(terms: Sequence[str], model: nn.Module, layers: LayerMap, own: LayerMap) -> set[int]:
    """Return the ids of the parameters of all blocks that the terms name."""
    found: set[int] = set()
    for term in terms:
        named = _named(term, own, layers)
        for block in named:
            found |= _of(block, model)
    return found


def _named(term: str, own: LayerMap, layers: LayerMap) -> tuple[Layer, ...]:
    """Return the blocks that a term names, of the model and of the run.

    Raises:
        LayerError: It names none of either.
    """
    of_run: tuple[Layer, ...] = ()
    if not counts_layers(term) and term not in ("head", "embeddings"):
        with suppress(LayerError):
            of_run = parse_blocks([term], layers)
    try:
        return (*parse_blocks([term], own), *of_run)
    except LayerError:
        if of_run:
            return of_run
        raise


def _of(block: Layer, model: nn.Module) -> set[int]:
    """Return the ids of the parameters of a block and of whatever lies inside it, those that it shares too."""
    paths = [f"{path}." for path in (block.parts or (block.name,))]
    own = {*block.tensor_names, block.name}
    return {
        id(p)
        for name, p in model.named_parameters(remove_duplicate=False)
        if name in own or any(name.startswith(path) for path in paths)
    }
