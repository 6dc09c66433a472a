"""Texts that no file, log or message can hold, found before anything is done with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fedstrata.parsing.problems import Loc, Problem
from fedstrata.parsing.yaml_nodes import MOST_DEPTH

LONGEST = 4096
"""Characters of a text: as many as Linux gives a path."""


def odd_texts(values: object, at: Loc = ()) -> Iterator[Problem]:
    r"""Yield a problem for each text, keys included, that is too long or has no bytes in UTF-8, or holds a NUL.

    Example:
        >>> [problem.message for problem in odd_texts({"output": "a\0b"})]
        ['holds a NUL character or half a surrogate pair, which no file can hold; leave it out']
    """
    if len(at) > MOST_DEPTH:  # as in a file; values from Python may even hold themselves
        yield Problem(at[:3], f"lies more than {MOST_DEPTH} lists or mappings deep; write it flatter")
    elif isinstance(values, str):
        reason = _reason(values)
        if reason is not None:
            yield Problem(at, reason)
    elif isinstance(values, Mapping):
        for key, value in values.items():
            reason = _reason(key) if isinstance(key, str) else None
            if reason is not None:
                yield Problem(at, f"key {key[:20]!a} {reason}")
            else:
                yield from odd_texts(value, (*at, key))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            yield from odd_texts(value, (*at, index))


def _reason(text: str) -> str | None:
    if len(text) > LONGEST:
        return f"is {len(text)} characters long; {LONGEST} at most"
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        return "holds a NUL character or half a surrogate pair, which no file can hold; leave it out"
    return None
