"""Errors that a model's own code raises, and how many tokens it takes: both are reported before the first round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any

from torch import Tensor

from fedstrata.errors import FedstrataError, ModelError

_AFTER_PADDING = frozenset({"camembert", "data2vec-text", "esm", "longformer", "mpnet", "roberta", "xlm-roberta"})
"""Types of models whose positions begin behind the padding's number, so that the first ones are never used."""
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def most_tokens(config: object, tokenizer: object) -> int:
    """Return how many tokens of a text a model has positions for, as far as it and its tokenizer say.

    Example:
        >>> from types import SimpleNamespace as Facts
        >>> most_tokens(Facts(max_position_embeddings=64), Facts(model_max_length=10**30))
        64
        >>> most_tokens(Facts(max_position_embeddings=514, model_type="roberta", pad_token_id=1), Facts())
        512
    """
    positions = getattr(config, "max_position_embeddings", None)
    limits = [n for n in (positions, getattr(tokenizer, "model_max_length", None)) if isinstance(n, int) and n > 0]
    if positions in limits and getattr(config, "model_type", None) in _AFTER_PADDING:
        limits.append(positions - 1 - (getattr(config, "pad_token_id", None) or 0))
    return min(limits, default=2**31)


@contextmanager
def blaming_the_model(module: object, inputs: Mapping[str, Tensor]) -> Iterator[None]:
    """Let what a model raises while it judges rows be the model's error, with the likely cause.

    Raises:
        ModelError: Something was raised inside; errors of fedstrata and want of memory are passed on.
    """
    try:
        yield
    except FedstrataError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        if any(words in str(error).lower() for words in _OUT_OF_MEMORY):
            raise
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:300] or 'without a message'}"
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
        raise ModelError(
            f"the model ({type(module).__name__}) fails on the data's rows ({shapes}) with {told}{_where(error)}; "
            f"{_advice(error, module)}"
        ) from error


def _where(error: Exception) -> str:
    last = extract_tb(error.__traceback__)[-1]
    return f" ({Path(last.filename).name}:{last.lineno})"


def _advice(error: Exception, module: object) -> str:
    text = str(error).lower()
    if isinstance(error, IndexError) or "out of range" in text or "expanded size" in text:
        facts: Any = getattr(module, "config", None)
        known = {name: getattr(facts, name, None) for name in ("max_position_embeddings", "vocab_size")}
        said = ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
        return (
            f"texts may be longer than it has positions for, or the tokenizer may be another model's"
            f"{f' (it says {said})' if said else ''}: lower data.max_length, or put its own tokenizer into its folder"
        )
    if isinstance(error, TypeError):
        return "its forward may take inputs of other names than these; let it take them"
    if "shape" in text or "size" in text or "channels" in text:
        return "it may be made for inputs of another shape: look at data.image_size, and at its own layers"
    return "try it on one row outside of fedstrata"
