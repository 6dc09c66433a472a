"""Rows of three sites as the server could have them and as each site has its own, and an engine of such sites."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstrata.assembly.finish import finish
from fedstrata.assembly.loading import load_network, load_rows
from fedstrata.assembly.opened import OpenedRun
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import open_run
from fedstrata.assembly.runtime import handler_of
from fedstrata.client.handler import Handler
from fedstrata.client.resident import ResidentModel
from fedstrata.config.load import Loaded, check_config
from fedstrata.domain.ids import ClientId
from fedstrata.engines.local import LocalEngine
from fedstrata.engines.protocol import Engine
from fedstrata.server.observers import Quiet
from fedstrata.server.run import RunResult
from fedstrata.wire.declaration import Declaration
from fedstrata.wire.messages import Reply, Request
from small_models import FILLERS, save_bert, save_images, save_text, save_vit
from small_runs import never

SITES: Mapping[str, int] = {"north": 9, "south": 14, "west": 5}
"""Texts of each site; of images it has twice as many."""
SEED = 11
TEXT = {"text": "note", "label": "outcome", "held_out": 0.3}
IMAGE = {"image": "image", "held_out": 0.3}
TRAIN = {"rounds": 2, "epochs": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}


def write_home(folder: Path) -> Path:
    """Write models, sites of texts of unlike length, sites of images, and the server's test rows."""
    save_bert(folder / "bert", dropout=0.1)
    save_vit(folder / "vit")
    (folder / "texts").mkdir()
    for number, (site, rows) in enumerate(SITES.items()):
        save_text(folder / "texts" / f"{site}.jsonl", rows, seed=number)
        save_images(folder / "photos" / site, ["dark", "light"], rows, seed=number)
    _lengthen(folder / "texts" / "south.jsonl")
    save_text(folder / "test.jsonl", 8, seed=9)
    save_images(folder / "test-photos", ["dark", "light"], 3, seed=9)
    return folder


def _lengthen(path: Path) -> None:
    """Make every second text of a JSONL file longer by as many words as it has such texts above it."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows[::2]):
        row["note"] += f" {FILLERS[0]}" * number
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def checked(home: Path, kind: str, data: Mapping[str, Any], **sections: object) -> Loaded:
    """Return a configuration for texts or images."""
    columns, model = (TEXT, "bert") if kind == "text" else (IMAGE, "vit")
    return check_config(
        {
            "base": str(home),
            "seed": SEED,
            "model": {"path": model},
            "data": {**columns, **data},
            "train": TRAIN,
            "budget": 1,
            **sections,
        }
    )


def of_files(home: Path, kind: str, **sections: object) -> Loaded:
    """Return the run of a server that has everybody's rows."""
    sites, test = ("texts", "test.jsonl") if kind == "text" else ("photos", "test-photos")
    return checked(home, kind, {"kind": "files", "sites": sites, "test": test}, **sections)


def of_remote(home: Path, kind: str, **sections: object) -> Loaded:
    """Return the run of a server that has test rows alone."""
    test = "test.jsonl" if kind == "text" else "test-photos"
    flower = {"sites": {site: f"{site}.pub" for site in SITES}}
    return checked(home, kind, {"kind": "remote", "test": test}, **{"engine": "flower", "flower": flower, **sections})


def of_site(home: Path, kind: str, site: str, labels: Sequence[str], **sections: object) -> Loaded:
    """Return what a site makes of its own rows."""
    train = f"texts/{site}.jsonl" if kind == "text" else f"photos/{site}"
    return checked(home, kind, {"kind": "own", "train": train, "labels": list(labels), "client": site}, **sections)


def words(home: Path, kind: str, **changed: Declaration) -> dict[ClientId, Declaration]:
    """Return what the sites declare, some of them something else."""
    rows = load_rows(of_files(home, kind)).clients
    said = {c: Declaration(len(own.train), len(own.held_out)) for c, own in rows.items()}
    return said | {ClientId(site): word for site, word in changed.items()}


@dataclass(frozen=True)
class Offices:
    """A handler per site, each with its own rows and model."""

    handlers: Mapping[ClientId, Handler]

    def handle(self, request: Request) -> Reply:
        """Let the site that is asked answer."""
        return self.handlers[request.client].handle(request)


def offices(home: Path, kind: str, labels: Sequence[str], **sections: object) -> LocalEngine:
    """Return an engine in which every site works on what it reads of its own file."""
    handlers = {}
    for site in SITES:
        own = of_site(home, kind, site, labels, **sections)
        data = load_rows(own)
        network = load_network(own, data)
        handlers[ClientId(site)] = handler_of(own, ResidentModel(network.model, network.layers), data)
    return LocalEngine(Offices(handlers))


def remote(home: Path, path: Path, kind: str = "image", **sections: object) -> OpenedRun:
    """Open a run whose rows lie at the sites."""
    return open_run(of_remote(home, kind, output=str(path), **sections))


def play(
    prepared: PreparedRun, engine: Engine | None, *, stop: Callable[[], bool] = never, resume: bool = False
) -> RunResult:
    """Play a run to its end, on an engine or its own."""
    run = prepared.run(observer=Quiet(), stop=stop, engine=engine)
    result = run.resume(prepared.weights) if resume else run.start(prepared.weights)
    finish(prepared, result)
    return result
