"""Tables derived from the event log: metrics.csv, selection.parquet, summary.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedstrata.files import private_file, sync, write_atomic
from fedstrata.runs.folder import RunFolder
from fedstrata.tables.csv_text import csv_text

COLUMNS = (
    "round",
    "accuracy",
    "loss",
    "validation_accuracy",
    "validation_loss",
    "bytes_up",
    "bytes_down",
    "total_bytes_up",
    "clients",
    "failures",
    "losses",
    "attempt",
    "committed",
    "seconds",
    "peak_bytes",
)


def write_tables(folder: RunFolder, *, state: str, best: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write the three tables from the log, and return the summary."""
    events = folder.read()
    write_atomic(folder.path / "metrics.csv", _metrics(events))
    _write_selection(folder, events)
    summary = summarise(events, state=state, best=best)
    write_atomic(folder.path / "summary.json", json.dumps(summary, indent=1))
    return summary


def summarise(events: Sequence[Mapping[str, Any]], *, state: str, best: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a run's summary.

    ``final`` is the newest evaluation and ``final.round`` its round, 0 before training. ``best.accuracy`` is
    the test accuracy of the round that was best on the clients' held-out rows; where no rows are held out no round is
    chosen and it is the final one's. ``over_memory`` has the clients that held more memory than their budget, with the
    most that each held and the limit, in bytes.
    """
    start = next(e for e in events if e["event"] == "run")
    rounds = [e for e in events if e["event"] == "round"]
    abandoned = [e for e in events if e["event"] == "abandoned"]
    baseline = next((e["test"] for e in events if e["event"] == "baseline"), None)
    final = _final(rounds, baseline)
    return {
        "schema": 1,
        "state": state,
        "method": start["method"],
        "seed": start["seed"],
        "model": start["model"],
        "data": start["data"],
        "rounds": len(rounds),
        "planned_rounds": [e for e in events if e["event"] in ("run", "plan")][-1]["rounds"],
        "baseline": baseline,
        "final": final,
        "best": best or (final and {**final, "chosen_on": "last round"}),
        **{key: sum(e[key] for e in (*rounds, *abandoned)) for key in ("bytes_up", "bytes_down", "seconds")},
        "peak_bytes": max((e["peak_bytes"] for e in rounds), default=0),
        "over_memory": _over_memory(events),
        "failures": sum(1 for e in events if e["event"] == "client" and e["failure"]),
        "losses": _losses(events),
        "abandoned": len(abandoned),
        "skipped": sum(1 for e in rounds if not e["committed"]),
    }


def _over_memory(events: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for e in events:
        if e["event"] == "client" and e["peak_bytes"] and e["peak_bytes"] > e["budget"].get("bytes_peak", inf):
            found[e["client"]] = max(found.get(e["client"], [0.0, 0.0]), [e["peak_bytes"], e["budget"]["bytes_peak"]])
    return dict(sorted(found.items()))


def _losses(events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return by reason what did not count: before the first round, in rounds, and in attempts that were abandoned."""
    total: Counter[str] = Counter()
    for e in events:
        if e["event"] in ("abandoned", "baseline", "round"):
            total.update(e.get("losses", {}))
    return dict(sorted(total.items()))


def _final(rounds: Sequence[Mapping[str, Any]], baseline: Mapping[str, Any] | None) -> dict[str, Any] | None:
    looked = [(0, baseline), *((e["round"], e["test"]) for e in rounds)]
    for number, test in reversed(looked):
        if test:
            return {"accuracy": test["accuracy"], "loss": test["loss"], "round": number}
    return None


def _metrics(events: Sequence[Mapping[str, Any]]) -> str:
    rows: list[dict[str, object]] = []
    total = 0
    cohorts: dict[int, list[Mapping[str, Any]]] = {}
    wasted: Counter[int] = Counter()
    for e in events:
        if e["event"] == "client":
            cohorts.setdefault(e["round"], []).append(e)
        if e["event"] == "abandoned":
            wasted[e["round"]] += e["bytes_up"]
    for e in (e for e in events if e["event"] == "round"):
        clients = cohorts.get(e["round"], [])
        total += e["bytes_up"] + wasted[e["round"]]
        test, validation = e["test"] or {}, e["validation"] or {}
        rows.append(
            {
                "round": e["round"],
                "accuracy": test.get("accuracy"),
                "loss": test.get("loss"),
                "validation_accuracy": validation.get("accuracy"),
                "validation_loss": validation.get("loss"),
                "bytes_up": e["bytes_up"],
                "bytes_down": e["bytes_down"],
                "total_bytes_up": total,
                "clients": len(clients),
                "failures": sum(1 for c in clients if c["failure"]),
                "losses": sum(e["losses"].values()),
                "attempt": e["attempt"],
                "committed": str(e["committed"]).lower(),
                "seconds": round(e["seconds"], 4),
                "peak_bytes": e["peak_bytes"],
            }
        )
    return csv_text(COLUMNS, ([row[name] for name in COLUMNS] for row in rows))


def _score(client: Mapping[str, Any], layer: int) -> tuple[float | None, int | None]:
    return (client["scores"][layer], client["probe_round"]) if client["scores"] else (None, None)


def _write_selection(folder: RunFolder, events: Sequence[Mapping[str, Any]]) -> None:
    """One row per round, client and layer: chosen, score and the round it is of (null where not probed)."""
    names = next(e for e in events if e["event"] == "run")["layers"]
    rows = [
        (e["round"], e["client"], i, name, i in set(e["mask"]), *_score(e, i))
        for e in events
        if e["event"] == "client"
        for i, name in enumerate(names)
    ]
    types = {
        "round": pa.int32(),
        "client": pa.string(),
        "layer": pa.int32(),
        "name": pa.string(),
        "chosen": pa.bool_(),
        "score": pa.float64(),
        "probe_round": pa.int32(),
    }
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    table = pa.table({key: pa.array(c, type=t) for (key, t), c in zip(types.items(), columns, strict=True)})
    target = folder.path / "selection.parquet"
    temporary = folder.path / ".selection.parquet.tmp"
    # absolute, since pyarrow takes a relative path with a colon for an address
    pq.write_table(table, private_file(temporary).absolute())
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)
