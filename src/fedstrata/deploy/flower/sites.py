"""The sites of a run: their keys in the configuration, and their status in the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedstrata.config.flower import client_names, key_files
from fedstrata.config.load import Loaded
from fedstrata.deploy.flower.keys import public_key, read_public_key
from fedstrata.deploy.flower.site_status import STATUS, WIRE
from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.roster import Roster
from fedstrata.engines.flower.traffic import Exchange
from fedstrata.errors import CheckpointError, ConfigError
from fedstrata.files import append, write_atomic, writing
from fedstrata.parsing.json_text import read_json
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Problem, config_error

_TEXT = "ecdsa-sha2-"
"""How a key begins that stands in the configuration itself."""


def roster(loaded: Loaded) -> Roster:
    """Return the sites that may take part.

    Raises:
        ConfigError: A key cannot be read, or two sites have the same; at the key of the configuration.
    """
    given = loaded.config.flower.sites
    try:
        if isinstance(given, str):
            return Roster(_from_folder(loaded.base / expanded(given)))
        return Roster(_listed(loaded.base, given or {}))
    except (ConfigError, ValueError) as error:
        raise config_error([Problem(("flower", "sites"), str(error))], loaded.marks) from error


def _from_folder(folder: Path) -> dict[ClientId, bytes]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; make it and copy each site's public key NAME.pub there")
    files = key_files(folder)
    if not files:
        raise ConfigError(f"{folder} holds no public key NAME.pub; copy each site's there")
    return {client: read_public_key(files[name]) for name, client in client_names(files).items()}


def _listed(base: Path, given: Mapping[str, str]) -> dict[ClientId, bytes]:
    names = client_names(given)
    return {
        names[name]: public_key(value.encode(), name)
        if value.startswith(_TEXT)
        else read_public_key(base / expanded(value))
        for name, value in given.items()
    }


def name_of(folder: Path) -> str:
    """Return what a run is called where sites see it, as its folder says; they count its rounds under that name.

    Raises:
        CheckpointError: The folder does not say it.
    """
    path = folder / STATUS
    try:
        name = read_json(path)["run"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        advice = "the run cannot go on under its name, by which sites count what they send"
        raise CheckpointError(f"{path} cannot be read ({error}); {advice}") from error
    return str(name)


@dataclass(slots=True)
class SiteBook:
    """What is known of each site, in the run folder: ``status.json`` now, ``wire.jsonl`` of every exchange.

    Attributes:
        run: What the run is called where sites see it.
        folder: The run folder, once there is one.
    """

    run: str = ""
    folder: Path | None = None
    _waiting: list[Exchange] = field(default_factory=list)
    _sites: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, exchange: Exchange) -> None:
        """Note an exchange; before there is a folder, keep it.

        Raises:
            StorageError: The run folder cannot be written, or is gone.
        """
        self._waiting.append(exchange)
        self._update(exchange)
        if self.folder is not None:
            self.write()

    def about(self, client: ClientId, **facts: object) -> None:
        """Note facts of a site, such as its rows."""
        self._sites.setdefault(client, {}).update(facts)

    def write(self) -> None:
        """Write down what has been noted.

        Raises:
            StorageError: The run folder cannot be written, or is gone.
        """
        if self.folder is None:
            return
        lines = "".join(json.dumps(asdict(e), separators=(",", ":")) + "\n" for e in self._waiting)
        if lines:
            append(self.folder / WIRE, lines.encode(), durable=False)
        self._waiting.clear()
        status = self.folder / STATUS
        with writing(status):
            write_atomic(status, json.dumps({"run": self.run, "sites": self._sites}, indent=1))

    def _update(self, exchange: Exchange) -> None:
        known = self._sites.setdefault(exchange.client, {})
        for name, value in (("bytes_down", exchange.bytes_down), ("bytes_up", exchange.bytes_up)):
            known[name] = known.get(name, 0) + value
        if exchange.outcome == "ok":
            known["last"] = {"phase": exchange.phase, "round": exchange.round, "seconds": round(exchange.seconds, 3)}
        elif exchange.outcome != "missing":
            known["last_failure"] = {"phase": exchange.phase, "round": exchange.round, "why": exchange.outcome}
