"""Problems in a configuration: where, what, and what to do; all of them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fedstrata.errors import ConfigError, nearest, shortened

Loc = tuple[str | int, ...]
"""Path of a value inside the configuration, such as ``("train", "lr")``."""

Marks = Mapping[Loc, str]
"""Where each value stands in words, such as ``my.yaml:4:3``."""

_MAPPING = "a mapping of keys to values"
_WORDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "dataclass_type": _MAPPING,
}
"""What each of pydantic's types of error says that a value has to be."""


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
    return ConfigError("\n".join(located(p, marks) for p in problems))


def in_order(problems: Sequence[Problem], marks: Marks) -> list[Problem]:
    """Return the problems in the order of the file."""
    order = {loc: number for number, loc in enumerate(marks)}

    def place(problem: Problem) -> int:
        prefixes = (problem.loc[:length] for length in range(len(problem.loc), -1, -1))
        return next((order[loc] for loc in prefixes if loc in order), len(order))

    return sorted(problems, key=place)


def located(problem: Problem, marks: Marks) -> str:
    """Return a problem as one line: place, path, message."""
    return f"{_where(problem.loc, marks)}{dotted(problem.loc)}: {problem.message}"


def dotted(loc: Loc) -> str:
    """Return a path as people write it: ``train.lr``."""
    return ".".join(str(part) for part in loc) or "configuration"


def problems_of(
    error: ValidationError, values: object, *, at: Loc = (), unknown: Callable[[Loc], str] | None = None
) -> list[Problem]:
    """Return what pydantic found, in words, one problem per value.

    Args:
        error: What pydantic raised.
        values: What it was given.
        at: Path of ``values`` in the configuration.
        unknown: Says what is wrong with a key that does not exist.
    """
    wanted: dict[Loc, list[str]] = {}
    got: dict[Loc, object] = {}
    out = []
    for e in error.errors():
        if e["type"] == "missing":
            out.append(Problem((*at, *e["loc"]), "this key is needed"))
        elif e["type"] in ("extra_forbidden", "invalid_key") and unknown is not None:
            out.append(Problem((*at, *e["loc"]), unknown((*at, *e["loc"]))))
        elif e["type"] == "value_error":
            out.append(Problem((*at, *_real(e["loc"], values)), e["msg"].removeprefix("Value error, ")))
        else:
            loc = (*at, *_real(e["loc"], values))
            wanted.setdefault(loc, []).append(_wanted(e))
            got[loc] = e["input"]
    return out + [
        Problem(loc, f"has to be {' or '.join(dict.fromkeys(words))}, got {_short(got[loc])}")
        for loc, words in wanted.items()
    ]


def _real(loc: Loc, values: object) -> Loc:
    """Leave out of a pydantic path what is no key: the names of a union's members."""
    out: list[str | int] = []
    for part in loc:
        inner = dict(enumerate(values)) if isinstance(values, list | tuple) else values
        if isinstance(inner, Mapping) and part in inner:
            values = inner[part]
            out.append(part)
    return tuple(out)


def _wanted(error: Any) -> str:  # noqa: ANN401  pydantic's error mapping
    if error["type"] == "literal_error":
        choices = error["ctx"]["expected"]
        hint = nearest(str(error["input"]), re.findall(r"'([^']*)'", choices))
        return f"{choices}{f' ({hint})' if hint.startswith('did') else ''}"
    if error["type"] in _WORDS:
        return _WORDS[error["type"]]
    message = str(error["msg"])
    return message.removeprefix("Input should be ").removeprefix("Input should ")


def _short(value: object) -> str:
    return "nothing" if value is None else shortened(repr(value), 60)


def _where(loc: Loc, marks: Marks) -> str:
    for length in range(len(loc), -1, -1):
        if loc[:length] in marks:
            return f"{marks[loc[:length]]}: "
    return ""
