"""Names in a sweep: of the points of a grid, and of the folders of runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import product
from typing import Any

LONGEST = 120
"""Characters of a folder's name."""


def grid_points(name: str, grid: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and changes of every point of a grid, the last key changing fastest; without a grid the name alone.

    Example:
        >>> list(grid_points("consensus", {"selector.rho": [0.1, 1.0]}))
        [('consensus rho=0.1', {'selector.rho': 0.1}), ('consensus rho=1.0', {'selector.rho': 1.0})]
        >>> list(grid_points("full", {}))
        [('full', {})]
    """
    last = [key.rpartition(".")[2] for key in grid]
    shown = [key if last.count(short) > 1 else short for key, short in zip(grid, last, strict=True)]
    for values in product(*grid.values()):
        words = [f"{key}={_value(value)}" for key, value in zip(shown, values, strict=True)]
        yield " ".join((name, *words)), dict(zip(grid, values, strict=True))


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, separators=(",", ":"))
    return re.sub(r"[/\\]+", "-", text)


def folder_name(name: str) -> str:
    """Return a name as one of a folder: letters, digits and ``._=+-``, never hidden, and not too long.

    Example:
        >>> folder_name("consensus rho=0.1"), folder_name("../x"), folder_name("é")
        ('consensus-rho=0.1', 'x', '4a99557e')
    """
    plain = re.sub(r"[^A-Za-z0-9._=+-]+", "-", name).strip("-.")
    mark = sha256(name.encode()).hexdigest()[:8]
    if not plain:
        return mark
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 9]}-{mark}"


def name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a method, budget, row or size, or ``None``.

    Example:
        >>> name_problem("a/b")
        "'a/b' cannot be a name: up to 200 bytes that print, without / and backslash"
    """
    if name.strip() and name.isprintable() and not set(name) & set("/\\") and len(name.encode()) <= 200:
        return None
    return f"'{name[:40]}' cannot be a name: up to 200 bytes that print, without / and backslash"
