"""Keeps a layer's input alone for the backward pass, and computes the layer a second time there.

The same gradients, dropout included, for one more forward pass through the layers that are trained or passed through.
Chen, Xu, Zhang and Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016, https://arxiv.org/abs/1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from fedstrata.domain.layers import LayerMap


@contextmanager
def checkpointed(model: nn.Module, layers: LayerMap, *, measured: bool = False) -> Iterator[None]:
    """Have the modules of selectable layers compute twice what a backward pass needs of them, for calls in the body.

    The backward pass may come after the body.

    Args:
        model: The network.
        layers: Its blocks.
        measured: Whether calls are measured on fake tensors: dropout need not repeat, and what is held is shown to
            whoever follows what autograd keeps.

    Example:
        See ``tests/models/test_checkpointing.py``.
    """
    modules = [module for path, module in model.named_modules() if path in _paths(layers)]
    for module in modules:
        module.__dict__["forward"] = _twice(module.forward, measured=measured)
    try:
        yield
    finally:
        for module in modules:
            del module.__dict__["forward"]


def _paths(layers: LayerMap) -> set[str]:
    return {str(path) for layer in layers for path in (layer.parts or (layer.name,))}


def _twice(forward: Callable[..., Any], *, measured: bool) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  whatever the module takes and gives
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        out = checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=not measured, **kwargs)
        if measured and any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(out)):
            _show(tree_leaves((args, kwargs)))
        return out

    return run


def _show(held: list[Any]) -> None:
    """Hand tensors to the hook for what autograd keeps, since a checkpoint keeps them without asking it."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    if hooks is not None:
        for leaf in held:
            if isinstance(leaf, Tensor):
                hooks[0](leaf)
