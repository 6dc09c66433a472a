"""Splits a transformer block into its attention half and its MLP half, by the names of its children.

A norm goes with the half that it serves. Names tell which, with one exception: ``post_attention_layernorm`` stands
before the MLP in pre-norm blocks such as Llama's, and closes the attention half in blocks that norm twice (Gemma 2) or
afterwards alone (OLMo 2). A child with parameters whose name tells nothing is an error, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from fedstrata.errors import ModelError

ATTENTION, MLP = "attention", "mlp"
"""What the halves of a block are called, after the block's path."""

_NORM = re.compile(r"norm|^ln_|_ln$|^ln\d")
_TABLE: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), half)
    for pattern, half in (
        (r"mlp|ffn|(^|_)ff$|feed_?forward|expert|moe", MLP),
        (r"attn|attention|^sa_", ATTENTION),
        (r"^(input_layernorm|layernorm_before|ln)$|(norm|ln|scale|lambda|gamma|ls|drop_path|dropout)_?1$", ATTENTION),
        (r"^(layernorm_after|final_layer_norm)$|(norm|ln|scale|lambda|gamma|ls|drop_path|dropout)_?2$", MLP),
        (r"^(intermediate|output|output_layer_norm|fc\d|linear\d|wi(_\d)?|wo|(gate|up|down)_proj)$|^act", MLP),
    )
)


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a block.

    Attributes:
        name: ``attention`` or ``mlp``.
        parts: Paths inside the block, of modules or of single parameters, in registration order.
    """

    name: str
    parts: tuple[str, ...]

    def holds(self, path: str) -> bool:
        """Return whether a path inside the block is one of the parts or lies in one.

        Example:
            >>> Half("mlp", ("mlp",)).holds("mlp.up.weight"), Half("mlp", ("mlp",)).holds("mlp_norm.weight")
            (True, False)
        """
        return any(path == part or path.startswith(f"{part}.") for part in self.parts)


def halves(block: nn.Module, path: str) -> tuple[Half, Half]:
    """Return the attention half and the MLP half of a block, in the order in which they run.

    Cross-attention belongs to the attention half. Children without parameters whose names tell nothing (a dropout
    that both halves use) belong to neither.

    Args:
        block: The block.
        path: Its path in the model, for messages.

    Raises:
        ModelError: The block has no attention or no MLP, or a child that could belong to either.

    Example:
        >>> block = nn.ModuleDict({"self_attn": nn.Linear(2, 2), "mlp": nn.Linear(2, 2), "norm1": nn.LayerNorm(2)})
        >>> [(half.name, half.parts) for half in halves(block, "h.0")]
        [('attention', ('self_attn', 'norm1')), ('mlp', ('mlp',))]
    """
    children = dict(_children(block))
    found: dict[str, list[str]] = {ATTENTION: [], MLP: []}
    unknown: list[str] = []
    for name, child in children.items():
        half = _half_of(_word(name, child), children)
        if half is not None:
            found[half].append(name)
        elif isinstance(child, nn.Parameter) or next(child.parameters(), None) is not None:
            unknown.append(name)
    for half, parts in found.items():
        if all(_NORM.search(name) for name in parts):
            raise ModelError(
                f"model.units: {_what(block, path, children)} has no part that reads like {_NOUNS[half]}; {_ADVICE}"
            )
    if unknown:
        raise ModelError(
            f"model.units: {_what(block, path, children)}: nothing tells which half '{unknown[0]}' is of; {_ADVICE}"
        )
    return Half(ATTENTION, tuple(found[ATTENTION])), Half(MLP, tuple(found[MLP]))


_NOUNS = {ATTENTION: "attention", MLP: "an MLP"}
_ADVICE = "set model.units to blocks"


def _children(block: nn.Module) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield what a block consists of; of a block that is one list of sub-layers (T5), the members of that list."""
    own = list(block.named_parameters(recurse=False))
    inner = list(block.named_children())
    if len(inner) == 1 and not own and isinstance(inner[0][1], (nn.ModuleList, nn.Sequential)):
        prefix, members = inner[0]
        yield from ((f"{prefix}.{name}", child) for name, child in members.named_children())
        return
    yield from inner
    yield from own


def _word(name: str, child: nn.Module | nn.Parameter) -> str:
    """Return the word that tells what a child is: its name, or that of its class if it has but a number."""
    last = name.rpartition(".")[2]
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(child).__name__) if last.isdigit() else last
    return word.lower()


def _half_of(word: str, children: Sequence[str] | dict[str, nn.Module | nn.Parameter]) -> str | None:
    if word == "post_attention_layernorm":
        before_mlp = "input_layernorm" in children and "pre_feedforward_layernorm" not in children
        return MLP if before_mlp else ATTENTION
    return next((half for pattern, half in _TABLE if pattern.search(word)), None)


def _what(block: nn.Module, path: str, children: Sequence[str] | dict[str, nn.Module | nn.Parameter]) -> str:
    names = ", ".join(f"'{name}'" for name in children) or "none"
    return f"block '{path}' ({type(block).__name__}, its children: {names})"
