"""The section ``flower``: which sites may take part, how long the server waits for them, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from fedstrata.data.kinds import CLIENT
from fedstrata.domain.ids import ClientId
from fedstrata.parsing.problems import Problem
from fedstrata.parsing.section import Positive, Section, Whole

_NO_SECAGG = (
    "Flower's SecAgg+ lets every message through in plain text whose type is not exactly 'train', and needs equal"
    " shapes of all clients, while clients here send different layers; leave it out, and keep layers that few clients"
    " train from moving with round.layer_quorum"
)
_NO_DP = (
    "Flower's mods want every tensor back that was sent, and noise for clients that all change every number, while"
    " clients here send different layers, and the probe's statistics are sent without protection; leave it out, keep"
    " layers that few clients train from moving with round.layer_quorum, or let sites refuse probes (limits: scores:"
    " false)"
)


class FlowerSection(Section, frozen=True):
    """A run over Flower; other engines leave it alone.

    Attributes:
        superlink: Name of the connection in Flower's own ``config.toml``; null is the default one there.
        sites: Who may take part: a folder with a public key ``NAME.pub`` for each site, or each site's key file by its
            name.
        join_timeout: Seconds that the server waits for all sites; then it begins with those that are there.
        min_sites: The least number of sites to begin with.
        patience: Seconds that a site may be away within a phase before the round goes on without it.
        secagg: Only false: Flower's secure aggregation does not protect updates of different layers.
        dp: Only none: Flower's differential privacy does not hold for updates of different layers.
    """

    superlink: str | None = None
    sites: str | dict[str, str] | None = None
    join_timeout: Positive = 600.0
    min_sites: Whole = Field(default=1, ge=1)
    patience: Positive = 60.0
    secagg: bool = False
    dp: Literal["none", "local", "central"] = "none"

    @field_validator("sites")
    @classmethod
    def _names_of_clients(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        if isinstance(value, dict):
            client_names(value)
        return value

    @field_validator("secagg")
    @classmethod
    def _not_secagg(cls, value: bool) -> bool:  # noqa: FBT001  pydantic's callback
        if value:
            raise ValueError(_NO_SECAGG)
        return value

    @field_validator("dp")
    @classmethod
    def _not_dp(cls, value: str) -> str:
        if value != "none":
            raise ValueError(_NO_DP)
        return value


def key_files(folder: Path) -> dict[str, Path]:
    """Return the public keys ``NAME.pub`` in a folder by name; hidden files, as some systems leave them, are none."""
    found = sorted(folder.glob("*.pub"))
    return {path.stem: path for path in found if path.is_file() and not path.name.startswith(".")}


def client_names(names: Iterable[str]) -> dict[str, ClientId]:
    """Return the client that each site's name stands for: the name in small letters.

    Raises:
        ValueError: There is none, one cannot be a client's name, or two would be the same client.

    Example:
        >>> client_names(["North", "st-mary_2"])
        {'North': 'north', 'st-mary_2': 'st-mary_2'}
    """
    found = {name: ClientId(name.lower()) for name in names}
    if not found:
        raise ValueError("no site is named; without sites nobody can take part")
    for name, client in found.items():
        if not CLIENT.fullmatch(client):
            raise ValueError(f"'{name[:80]}' is no name of a site; use 1 to 64 of a-z, 0-9, hyphen and underscore")
        if (other := next(n for n, c in found.items() if c == client)) != name:
            raise ValueError(f"'{other}' and '{name}' would be the same site, '{client}'; rename one")
    return found


def flower_problems(engine: str, section: FlowerSection) -> Iterator[Problem]:
    """Yield what an engine needs of the section and does not find there."""
    if engine == "flower" and section.sites is None:
        yield Problem(
            ("flower", "sites"),
            "engine: flower needs to know who may take part; give a folder with a public key NAME.pub for each site,"
            " or a mapping from site to key file",
        )
    if isinstance(section.sites, dict) and section.min_sites > len(section.sites):
        yield Problem(
            ("flower", "min_sites"), f"{section.min_sites} sites are needed, and {len(section.sites)} may take part"
        )
