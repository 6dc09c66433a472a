"""What a model is trained for and judged by: classes of a whole input, or the right one of several continuations.

A question's row has choices c of tokens c_1 .. c_n after a prompt p, and the score of a choice is its length-normalised
log-likelihood, in nats::

    score(c) = 1/n sum_t log P(c_t | p, c_1 .. c_(t-1))

The prediction is the choice with the largest score, and the training loss of a row is the right choice's, negated. So a
step forwards the right choice alone. Logits are computed at the scored tokens alone: a vocabulary is a thousand times
wider than a hidden state, and most tokens are the prompt's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from fedstrata.domain.scored import BESIDES, CHOICES, PLACES, SHARES, TARGETS
from fedstrata.errors import ModelError
from fedstrata.models.frozen_bf16 import mixed

Reduction = Literal["sum", "mean"]
"""Whether the losses of a batch's rows are added up or averaged."""

ANSWER = 8
"""Tokens that an answer is taken for where there are no rows to tell."""


class Objective(Protocol):
    """Turns a model's logits into a loss, and into right and wrong."""

    def logits(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return what the loss is made of; autocast may be on.

        Args:
            model: The network.
            inputs: A batch, with what the objective needs besides the model's own inputs.
        """
        ...

    def loss(self, logits: Tensor, inputs: Mapping[str, Tensor], labels: Tensor, *, reduction: Reduction) -> Tensor:
        """Return the training loss over the rows of a batch, in nats, float32.

        Args:
            logits: Of the batch.
            inputs: The batch.
            labels: Shape ``[rows]``, int64.
            reduction: Sum or mean over the rows.
        """
        ...

    def judge(self, logits: Tensor, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the training loss of each row of a batch, in nats, and the label that is predicted for it.

        Args:
            logits: Of a batch to judge (``TensorRows.judged``).
            inputs: The batch.
            labels: Shape ``[rows]``, int64.

        Returns:
            Losses, shape ``[rows]``, float64, and labels, shape ``[rows]``, int64.
        """
        ...

    def shaped(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch that has shapes alone, with the further inputs that the objective needs.

        Args:
            inputs: What the model takes.
        """
        ...


@dataclass(frozen=True, slots=True)
class Classification:
    """Cross-entropy of one logit per class; the class with the largest is predicted, of equal ones the first.

    Example:
        >>> logits, labels = torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.tensor([1, 0])
        >>> round(float(Classification().loss(logits[:1], {}, labels[:1], reduction="mean")), 4)
        0.6931
        >>> Classification().judge(logits, {}, labels)[1].tolist()
        [0, 0]
    """

    def logits(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return class logits. Shape ``[rows, classes]``."""
        return run(model, inputs)

    def loss(self, logits: Tensor, inputs: Mapping[str, Tensor], labels: Tensor, *, reduction: Reduction) -> Tensor:
        """Return the cross-entropy."""
        return nn.functional.cross_entropy(logits.float(), labels, reduction=reduction)

    def judge(self, logits: Tensor, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return each row's cross-entropy and its most likely class."""
        logits = logits.float()
        return nn.functional.cross_entropy(logits, labels, reduction="none").double(), logits.argmax(dim=-1)

    def shaped(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch as it is."""
        return dict(inputs)


@dataclass(frozen=True, slots=True)
class Choice:
    """Length-normalised log-likelihood of continuations; of equal ones the first is predicted.

    Example:
        See ``tests/models/test_objective.py``.
    """

    def logits(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the logits that predict the scored tokens. Shape ``[scored tokens, vocabulary]``.

        The model's own code runs; before its head, which is a map of single tokens, the other tokens are left out.

        Raises:
            ModelError: The model's logits are not those of its output embeddings, token by token.
        """
        places = inputs[PLACES]

        def keep_scored(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (args[0].flatten(0, 1)[places][None], *args[1:])

        handle = output_head(model).register_forward_pre_hook(keep_scored, prepend=True)
        try:
            logits = run(model, {name: tensor for name, tensor in inputs.items() if name not in BESIDES})
        finally:
            handle.remove()
        if logits.shape[:2] != (1, len(places)):
            raise ModelError(
                f"the logits of a {type(model).__name__} are not made of single tokens; it cannot do multiple-choice"
            )
        return logits[0]

    def loss(self, logits: Tensor, inputs: Mapping[str, Tensor], labels: Tensor, *, reduction: Reduction) -> Tensor:
        """Return the negative scores of the right choices, which are the only texts of the batch."""
        total = (_surprise(logits, inputs) * inputs[SHARES]).sum()
        return total if reduction == "sum" else total / len(labels)

    def judge(self, logits: Tensor, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negative score of each right choice, and the best choice, of equally good ones the first."""
        text = inputs[PLACES].div(inputs["input_ids"].shape[1], rounding_mode="floor").cpu()
        nats = torch.bincount(text, weights=_surprise(logits, inputs).detach().double().cpu())
        counts, labels = inputs[CHOICES].cpu(), labels.cpu()
        there = torch.arange(int(counts.max())) < counts[:, None]
        scores = torch.full(there.shape, float("-inf"), dtype=torch.float64)
        scores[there] = -nats / torch.bincount(text)
        return -scores[torch.arange(len(labels)), labels], scores.argmax(dim=1)

    def shaped(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch with answers of ``ANSWER`` tokens, or of all tokens but one if there are fewer."""
        rows, length = inputs["input_ids"].shape
        scored = rows * max(1, min(ANSWER, length - 1))
        whole = torch.zeros(scored, dtype=torch.int64)
        return {**inputs, PLACES: whole, TARGETS: whole.clone(), SHARES: torch.zeros(scored)}


OBJECTIVES: Mapping[str, Objective] = {
    "image-classification": Classification(),
    "text-classification": Classification(),
    "multiple-choice": Choice(),
}
"""The objective of each task."""


def run(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return a model's logits for a batch, given by keyword if the model takes what ``transformers`` models take.

    Example:
        >>> run(nn.Identity(), {"x": torch.ones(1, 2)}).tolist()
        [[1.0, 1.0]]
    """
    takes = _takes(model)
    with mixed(model):
        if takes & {"pixel_values", "input_ids"}:
            # a decoder would build a key-value cache that nobody reads
            output = model(**inputs, **({"use_cache": False} if "use_cache" in takes else {}))
        else:
            output = model(next(iter(inputs.values())))
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits


def _takes(model: nn.Module) -> frozenset[str]:
    """Return the names of what a network's forward takes; read once where it is that of the class."""
    forward: Callable[..., Any] = model.forward
    shared = getattr(type(model), "forward", None)
    return _names(shared) if getattr(forward, "__func__", None) is shared else _names.__wrapped__(forward)


@lru_cache(maxsize=64)
def _names(forward: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)


def output_head(model: nn.Module) -> nn.Module:
    """Return the module that makes logits of hidden states: the language-model head.

    Raises:
        ModelError: The model has none.

    Example:
        See ``tests/models/test_causal_head.py``.
    """
    find = getattr(model, "get_output_embeddings", None)
    head = find() if find is not None else None
    if not isinstance(head, nn.Module):
        raise ModelError(f"a {type(model).__name__} has no language-model head; it cannot do multiple-choice")
    return head


def _surprise(logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the negative log-likelihood of each scored token, in nats. Shape ``[scored tokens]``, float32."""
    return nn.functional.cross_entropy(logits.float(), inputs[TARGETS], reduction="none")
