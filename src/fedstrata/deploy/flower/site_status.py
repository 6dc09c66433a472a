"""The status of a run's sites: from its folder, and from the SuperLink's connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fedstrata.errors import CheckpointError, ConfigError
from fedstrata.parsing.bounded_files import read_text
from fedstrata.parsing.json_text import json_value, read_json
from fedstrata.parsing.yaml_text import MOST_BYTES, yaml_value

STATUS, SITES, WIRE, EVENTS, CONFIG = (
    "status.json",
    "sites.json",
    "wire.jsonl",
    "events.jsonl",
    "config.resolved.yaml",
)
"""Files of a run folder that say something of its sites."""
_LONGEST = 2**24
"""Bytes of a record; what is longer is none."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that a site did, or failed to do.

    Attributes:
        phase: ``join``, ``probe``, ``train`` or ``evaluate``; empty where it is not known.
        round: Its number, from 1; 0 before the first, and of the evaluation of the starting point.
        why: What went wrong, in a sentence; empty where nothing did.
    """

    phase: str
    round: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """A node as the SuperLink knows it.

    Attributes:
        node: Flower's number of it.
        status: ``registered`` (never connected), ``online`` or ``offline``.
        since: When it became so, as Flower writes it; empty where it never was connected.
    """

    node: str
    status: str
    since: str = ""


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """What is known of a site.

    Attributes:
        name: Its name in the run.
        rows: Training rows; ``None`` of a site that did not join.
        held_out: Rows that it holds out.
        budget: What it can pay per round, in words.
        refuses: Layers that it refuses.
        device: Where it computes.
        node: Flower's number of its connection when it joined; empty where the run did not write it down.
        bytes_down: Bytes of layers that were sent to it.
        bytes_up: Bytes that it sent.
        last: What it did last.
        failure: What went wrong last, whatever it did since.
        absent: Why it takes no part; empty of a site that joined.
        connection: What the SuperLink says of it; ``None`` where it is not known.
    """

    name: str
    rows: int | None = None
    held_out: int | None = None
    budget: str = ""
    refuses: tuple[str, ...] = ()
    device: str = ""
    node: str = ""
    bytes_down: int = 0
    bytes_up: int = 0
    last: Happened | None = None
    failure: Happened | None = None
    absent: str = ""
    connection: Connection | None = None


_HAPPENED, _SITE = TypeAdapter(Happened), TypeAdapter(SiteStatus)


def sites_of(folder: Path) -> tuple[SiteStatus, ...]:
    """Return what a run folder says of each site, ascending by name.

    Raises:
        CheckpointError: It is not the folder of a run over Flower, or cannot be read.
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no run folder {folder}; pass the folder that `fedstrata run` wrote")
    known, declared = _values(folder / STATUS).get("sites", {}), _values(folder / SITES)
    if not known and not declared:
        raise CheckpointError(
            f"{folder} is not the folder of a run over Flower: it has neither {STATUS} nor {SITES}; a run makes it once"
            " its sites have joined"
        )
    try:
        traffic, failures = _traffic(folder / WIRE), _failures(folder / EVENTS)
        return tuple(
            _site(name, known.get(name, {}), declared.get(name, {}), traffic.get(name), failures.get(name))
            for name in sorted({*known, *declared})
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        files = f"{STATUS}, {SITES}, {WIRE} or {EVENTS}"
        raise CheckpointError(f"{folder} is none that a run writes: {files} holds something else") from error


def superlink_of(folder: Path) -> str | None:
    """Return the name of the SuperLink that a run was played over; ``None`` is Flower's default one."""
    try:
        values, _ = yaml_value(read_text(folder / CONFIG, most=MOST_BYTES), CONFIG)
        found = values["flower"]["superlink"]
    except (ConfigError, KeyError, OSError, TypeError, ValueError):
        return None
    return found if isinstance(found, str) else None


def connections(answer: Mapping[str, Any]) -> tuple[Connection, ...]:
    """Return the nodes that ``flwr supernode list`` tells of, in its order.

    Example:
        >>> connections({"nodes": [{"node-id": "7", "status": "registered", "online-at": "N/A"}]})
        (Connection(node='7', status='registered', since=''),)
    """
    return tuple(
        Connection(str(node["node-id"]), node["status"], _since(node))
        for node in answer.get("nodes", [])
        if node["status"] != "unregistered"
    )


def connected(sites: Sequence[SiteStatus], nodes: Iterable[Connection]) -> tuple[SiteStatus, ...]:
    """Return the sites with what the SuperLink says of each; it knows them by number alone."""
    known = {node.node: node for node in nodes}
    return tuple(replace(site, connection=known.get(site.node)) for site in sites)


def _since(node: Mapping[str, Any]) -> str:
    said = str(node.get(f"{node['status']}-at", "N/A"))
    return "" if said == "N/A" else said


def _site(
    name: str,
    known: Mapping[str, Any],
    declared: Mapping[str, Any],
    traffic: tuple[int, int] | None,
    failure: Happened | None,
) -> SiteStatus:
    down, up = traffic or (known.get("bytes_down", 0), known.get("bytes_up", 0))
    failed = known.get("last_failure")
    limits = ", ".join(f"{unit} {limit:g}" for unit, limit in declared.get("budget", {}).items())
    return _SITE.validate_python(
        {
            "name": name,
            "rows": known.get("rows", declared.get("num_examples")),
            "held_out": known.get("held_out", declared.get("held_out")),
            "budget": known.get("budget", limits),
            "refuses": tuple(known.get("refuses", declared.get("refused", ()))),
            "device": known.get("device", declared.get("device", "")),
            "node": str(known.get("node", "")),
            "bytes_down": down,
            "bytes_up": up,
            "last": known.get("last") or None,
            "failure": _later(_HAPPENED.validate_python(failed) if failed else None, failure),
            "absent": known.get("absent", ""),
        }
    )


def _later(wire: Happened | None, log: Happened | None) -> Happened | None:
    """Return the later failure; of the same round that of the event log, which has its reason code."""
    if wire is None or log is None:
        return wire or log
    return wire if wire.round > log.round else log


def _traffic(path: Path) -> dict[str, tuple[int, int]]:
    """Return the bytes down and up of each site, over all sessions of the run."""
    down, up = Counter[str](), Counter[str]()
    for line in _lines(path):
        down[line["client"]] += line["bytes_down"]
        up[line["client"]] += line["bytes_up"]
    return {name: (down[name], up[name]) for name in down}


def _failures(path: Path) -> dict[str, Happened]:
    """Return what the event log says went wrong last at each site."""
    found: dict[str, Happened] = {}
    for line in _lines(path):
        if line.get("event") == "client" and line.get("failure"):
            why = ": ".join(filter(None, (line["failure"], line.get("failure_message"))))
            found[line["client"]] = _HAPPENED.validate_python({"phase": "", "round": line["round"], "why": why})
        elif line.get("event") == "abandoned":
            found |= {
                name: _HAPPENED.validate_python({"phase": line["phase"], "round": line["round"], "why": why})
                for name, why in line["failures"].items()
            }
    return found


def _values(path: Path) -> dict[str, Any]:
    """Return what a file of JSON holds, or nothing if it is not there."""
    try:
        values = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} cannot be read: it is not a JSON object")
    return values


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file of JSON lines, one at a time; one that is still being written is left out."""
    if not path.is_file():  # a pipe would be waited for
        return
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(_LONGEST), b""):
                try:
                    record = json_value(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
