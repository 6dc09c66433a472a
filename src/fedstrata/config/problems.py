"""Problems in a configuration: where, what, and what to do; all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedstrata.errors import ConfigError

Loc = tuple[str | int, ...]
"""Path of a value inside the configuration, such as ``("train", "lr")``."""

Marks = Mapping[Loc, str]
"""Where each value stands in words, such as ``my.yaml:4:3``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        loc: The value's path.
        message: What is wrong and what to do, without a final stop.
    """

    loc: Loc
    message: str


def config_error(problems: Sequence[Problem], marks: Marks) -> ConfigError:
    """Return one error that says every problem on a line of its own, with file and line where they are known.

    Example:
        >>> print(config_error([Problem(("a", "b"), "must be a number")], {("a",): "x.yaml:2:1"}))
        x.yaml:2:1: a.b: must be a number
    """
    return ConfigError("\n".join(f"{_where(p.loc, marks)}{dotted(p.loc)}: {p.message}" for p in problems))


def dotted(loc: Loc) -> str:
    """Return a path as people write it: ``train.lr``."""
    return ".".join(str(part) for part in loc) or "configuration"


def _where(loc: Loc, marks: Marks) -> str:
    for length in range(len(loc), -1, -1):
        if loc[:length] in marks:
            return f"{marks[loc[:length]]}: "
    return ""
