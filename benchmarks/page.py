"""Makes ``docs/performance.md`` of the newest results: ``python benchmarks/page.py [RESULTS.json]``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"


def page(results: Mapping[str, Any]) -> str:
    """Return the page of some results."""
    return "\n".join((*_head(results), *_tables(results["rows"]), *_profiles(results["rows"]))) + "\n"


def newest() -> Path:
    """Return the newest file of results; of one day the long form goes before the short one."""
    return max((HERE / "results").glob("*.json"), key=lambda path: (path.stem[:10], "short" not in path.stem))


def _head(results: Mapping[str, Any]) -> Iterator[str]:
    machine, versions = results["machine"], results["versions"]
    form = "make bench" if results["short"] else "make bench ARGS="
    yield "# Performance"
    yield ""
    yield "What fedstrata costs beside a bare PyTorch loop that does the same work, as ratios that were measured side"
    yield "by side in one process. Seconds belong to the machine; ratios travel better. Less is better, but where the"
    yield f"goal is at least a number. `{form}` measures them; `python benchmarks/page.py` makes this page."
    yield ""
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    yield f"Measured on {results['date']}: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB,"
    yield f"{machine['system']}, Python {machine['python']}; {named}."
    yield "Times are processor times of one thread, unless a row says otherwise."


def _tables(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("", "## Ratios", "", "| what | fedstrata | the other | ratio | goal | |", "|---|--:|--:|--:|--:|---|")
    for row in rows:
        if "failed" in row:
            yield f"| {row['bench']} | | | | | did not end: {row['failed']} |"
        elif row["unit"] != "share":
            goal = "" if row["goal"] is None else f"{'>=' if row['gain'] else '<='} {row['goal']:g}"
            said = {True: "met", False: "missed", None: ""}[row["met"]]
            ours, base = (f"{row[key]:.4g} {row['unit']}" for key in ("ours", "base"))
            yield f"| {row['name']} | {ours} | {base} | {row['ratio']:.2f} | {goal} | {said} |"


def _profiles(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    shares = [row for row in rows if row.get("unit") == "share"]
    if shares:
        yield from ("", "## Where the time of a round goes", "")
        yield "Samples of processor time, each counted for the innermost function of fedstrata that was at work."
        yield from ("", "| where | share of the round |", "|---|--:|")
    for row in shares:
        yield f"| {row['name']} | {100 * row['ratio']:.1f} % |"


def main() -> None:
    source = Path(sys.argv[1]) if sys.argv[1:] else newest()
    PAGE.write_text(page(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"{PAGE} is made of {source}")


if __name__ == "__main__":
    main()
