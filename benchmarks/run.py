"""Every benchmark, one after the other, each in a process of its own: what ``make bench`` runs.

    python benchmarks/run.py                   # all of it, those that print tables of their own at the end
    python benchmarks/run.py --short           # those that compare, with fewer settings
    python benchmarks/run.py --only round      # bench_round.py alone

The rows are printed as they come and written to ``benchmarks/results/`` as JSON, with the machine, the versions and the
date; ``page.py`` makes ``docs/performance.md`` of the newest file there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = ("fedstrata", "torch", "transformers", "numpy", "safetensors", "flwr", "ray", "pfl")
Results = dict[str, Any]


def benchmarks() -> list[str]:
    """Return the names of the files that compare, without ``bench_``."""
    return [name for name, compares in _found() if compares]


def tables() -> list[str]:
    """Return the names of the files that print tables of their own and have no ratio to report."""
    return [name for name, compares in _found() if not compares]


def _found() -> Iterator[tuple[str, bool]]:
    for path in sorted(HERE.glob("bench_*.py")):
        yield path.stem.removeprefix("bench_"), "\ndef compare(" in path.read_text(encoding="utf-8")


def play_here(name: str, *, short: bool) -> None:
    """Run one benchmark in this process, and print each of its rows as a line of JSON."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"bench_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    for row in module.compare(short=short):
        print(json.dumps({"bench": name, **asdict(row), "met": row.met, "line": str(row)}), flush=True)


def rows_of(name: str, *, short: bool) -> Iterator[Results]:
    """Yield the rows of a benchmark; the last one says why it ended early, if it did."""
    words = [sys.executable, str(Path(__file__)), "--here", name, *(["--short"] if short else [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}) as one:
        assert one.stdout is not None
        for line in one.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if one.returncode:
        yield {"bench": name, "failed": f"bench_{name}.py ended with exit code {one.returncode}"}


def machine() -> dict[str, Any]:
    """Return what the figures depend on, without naming the machine."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer settings and pairs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benchmarks alone")
    parser.add_argument("--output", type=Path, help="file of the results; benchmarks/results/DATE.json by default")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        play_here(given.here, short=given.short)
        return 0
    chosen = given.only or (benchmarks() if given.short else [*benchmarks(), *tables()])
    odd = sorted(set(chosen) - {*benchmarks(), *tables()})
    if odd:
        parser.error(f"--only: there is no benchmark {odd[0]!r}; there are {', '.join([*benchmarks(), *tables()])}")
    rows: list[Results] = []
    for name in chosen:
        if name in tables():
            print(f"{name}:", flush=True)
            code = subprocess.run([sys.executable, str(HERE / f"bench_{name}.py")], check=False).returncode
            rows += [{"bench": name, "failed": f"bench_{name}.py ended with exit code {code}"}] if code else []
            continue
        for row in rows_of(name, short=given.short):
            rows.append(row)
            print(row.pop("line", None) or row.get("failed"), flush=True)
    today = date.today().isoformat()
    target = given.output or RESULTS / f"{today}{'-short' if given.short else ''}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    held = {"date": today, "short": given.short, "machine": machine(), "versions": versions(), "rows": rows}
    target.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    failed = [row["failed"] for row in rows if "failed" in row]
    print(f"results: {target}" + "".join(f"\n{line}" for line in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
