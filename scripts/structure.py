"""Measures the structure of the source: sizes, imports, and what one change or one request goes through.

    python scripts/structure.py            # a table; --json for one object

Imports are counted wherever they stand: at the top, in a function, or for type checking alone, since each ties two
modules together for whoever reads them.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "fedstrata"
EXAMPLES = {
    "a selector": r"\bcyclic\b",
    "a key of train": r"\bclip_norm\b",
    "a field of a message": r"\bloss_first\b",
}
"""A representative of what is added, as its name stands in every file that had to be touched."""


def modules() -> dict[str, Path]:
    """Return every module's dotted name with its file."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("fedstrata", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return the modules that each module imports, of those known."""
    return {name: {other for other in _imported(path, known) if other != name} for name, path in known.items()}


def _imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in known)
            if node.module in known and any(name not in known for name in inner):
                yield node.module


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle (strongly connected components, Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for name in graph:
        if name not in index:
            visit(name)
    return found


def longest_chain(graph: Mapping[str, set[str]], circles: Sequence[Sequence[str]]) -> int:
    """Return the number of modules in the longest chain of imports; a circle counts as one module."""
    of = {name: circle[0] for circle in circles for name in circle}

    @cache
    def length(name: str) -> int:
        members = [m for m in graph if of.get(m, m) == name]
        after = {of.get(other, other) for m in members for other in graph[m]} - {name}
        return 1 + max((length(other) for other in after), default=0)

    return max(length(of.get(name, name)) for name in graph)


def functions(paths: Sequence[Path]) -> list[int]:
    """Return the length in lines of every function."""
    return [
        node.end_lineno - node.lineno + 1
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    ]


def code_lines(path: Path) -> int:
    """Return how many lines hold code: no blank ones, comments or docstrings."""
    text = path.read_text(encoding="utf-8")
    holding: set[int] = set()
    docs: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docs |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            holding.add(number)
    return len(holding - docs)


def static() -> dict[str, Any]:
    """Return what can be counted without running anything."""
    known = modules()
    graph = imports(known)
    paths = list(known.values())
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
    importers = {name: sum(name in used for used in graph.values()) for name in known}
    circles = cycles(graph)
    sizes = functions(paths)
    packages: dict[str, int] = {}
    for path, length in zip(paths, lengths, strict=True):
        inside = path.relative_to(SOURCE).parts
        packages[inside[0] if len(inside) > 1 else "."] = (
            packages.get(inside[0] if len(inside) > 1 else ".", 0) + length
        )
    fan_out = {name: len(used) for name, used in graph.items()}
    widest = max(fan_out, key=lambda name: fan_out[name])
    return {
        "lines": sum(lengths),
        "code lines": sum(map(code_lines, paths)),
        "files": len(paths),
        "file median / p90 / max": f"{median(lengths):.0f} / {quantiles(lengths, n=10)[8]:.0f} / {max(lengths)}",
        "function median / p95 / max": f"{median(sizes):.0f} / {quantiles(sizes, n=20)[18]:.0f} / {max(sizes)}",
        "modules with one importer": sum(
            count == 1 for name, count in importers.items() if known[name].name != "__init__.py"
        ),
        "fan-out mean / max": f"{fmean(fan_out.values()):.1f} / {fan_out[widest]} ({widest})",
        "longest import chain": longest_chain(graph, circles),
        "cycles": [" ".join(circle) for circle in circles],
        "files that name": {what: naming(pattern, paths) for what, pattern in EXAMPLES.items()},
        "lines by package": dict(sorted(packages.items(), key=lambda item: -item[1])),
    }


def naming(pattern: str, paths: Sequence[Path]) -> int:
    """Return how many files a name stands in."""
    return sum(re.search(pattern, path.read_text(encoding="utf-8")) is not None for path in paths)


def main(arguments: Sequence[str]) -> None:
    """Print the measures."""
    found = static()
    if "--json" in arguments:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        if isinstance(value, dict):
            print(f"{key}:")
            for name, count in value.items():
                print(f"  {name:<24}{count:>7,}")
        elif isinstance(value, list):
            print(f"{key}: {len(value)}")
            for line in value:
                print(f"  {line}")
        else:
            print(f"{key:<30}{value}")


if __name__ == "__main__":
    main(sys.argv[1:])
