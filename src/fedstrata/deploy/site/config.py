"""Reading a site's own file: every problem at once, with file and line, as in a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from fedstrata.budgets.written_limits import parse
from fedstrata.deploy.site.site_schema import SECTIONS, SiteSection, SiteTerms
from fedstrata.domain.layer_language import split_terms
from fedstrata.domain.units import amount
from fedstrata.errors import ConfigError, nearest
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Loc, Problem, config_error, in_order, problems_of
from fedstrata.parsing.string_checks import odd_texts
from fedstrata.parsing.yaml_file import read_yaml

SERVER = "server"
"""What ``model`` says where the server may name any folder of this machine."""


@dataclass(frozen=True, kw_only=True)
class SiteConfig(SiteTerms):
    """A checked site file.

    Attributes:
        path: The file; relative paths in it start from its folder.
        name: Name in the site's own log.
        budget: What it can pay per round, by unit.
        state: Folder of its log and its layer cache, absolute.
        cache_bytes: Most bytes of the layer cache.
        client_state_bytes: Most bytes of what trainers keep between rounds.
    """

    path: Path
    name: str
    budget: Mapping[str, float]
    state: Path
    cache_bytes: int
    client_state_bytes: int

    @property
    def base(self) -> Path:
        """Folder that paths start from."""
        return self.path.parent


def load_site(path: Path) -> SiteConfig:
    """Read and check a site's file.

    Raises:
        ConfigError: Every problem, each with file, line and column.
    """
    if not path.exists():
        raise ConfigError(f"there is no site file {path}; docs/reference/site.md shows one")
    values, marks = read_yaml(path)
    marks = {(): f"{path}:1:1", **marks}
    problems = list(odd_texts(values))
    if problems:
        raise config_error(in_order(problems, marks), marks)
    try:
        section = SiteSection.model_validate(values)
    except ValidationError as error:
        raise config_error(in_order(problems_of(error, values, unknown=_unknown), marks), marks) from error
    found = _Found([])
    site = _site(path.absolute(), section, found)
    if found.problems:
        raise config_error(in_order(found.problems, marks), marks)
    return site


def fingerprint(site: SiteConfig) -> str:
    """Return a digest of a site's file and of the configuration that it shares in; another one needs a new worker.

    A file that was written anew counts as another one, so that ``touch`` has rows read again.

    Raises:
        OSError: One of them cannot be read.
    """
    paths = [site.path, *([site.base / expanded(site.share.config)] if site.share else [])]
    return sha256(b"".join(f"{p.stat().st_mtime_ns} ".encode() + p.read_bytes() for p in paths)).hexdigest()


@dataclass(frozen=True, slots=True)
class _Found:
    """Problems beyond the schema, as they are found."""

    problems: list[Problem]

    def note(self, loc: Loc, error: ConfigError) -> None:
        self.problems.append(Problem(loc, str(error)))


def _site(path: Path, section: SiteSection, found: _Found) -> SiteConfig:
    pinned = {("pin", key): getattr(section.pin, key) for key in ("candidates", "always", "never")}
    for loc, terms in {("limits", "refuse"): section.limits.refuse, **pinned}.items():
        try:
            split_terms([] if terms is None else terms)
        except ConfigError as error:
            found.note(loc, error)
    return SiteConfig(
        path=path,
        name=section.name or path.parent.name,
        budget=_budget(section, found),
        state=_state(path, section, found),
        cache_bytes=_bytes("cache_bytes", section.cache_bytes, found),
        client_state_bytes=_bytes("client_state_bytes", section.client_state_bytes, found),
        **{field.name: getattr(section, field.name) for field in fields(SiteTerms)},
    )


def _budget(section: SiteSection, found: _Found) -> Mapping[str, float]:
    limits: dict[str, float] = {}
    for unit, written in section.budget.items():
        try:
            limit = parse({unit: written}, "budget")[unit]
        except ConfigError as error:
            found.note(("budget", unit), error)
            continue
        if limit.share:
            advice = "a site's budget is an amount: what full fine-tuning costs is known to the server alone"
            found.problems.append(Problem(("budget", unit), f"{written} is a share, and {advice}"))
        limits[unit] = limit.value
    return limits


def _state(path: Path, section: SiteSection, found: _Found) -> Path:
    try:
        return path.parent / expanded(section.state)
    except ConfigError as error:
        found.note(("state",), error)
        return path.parent


def _bytes(key: str, written: int | str, found: _Found) -> int:
    try:
        size = amount("bytes_up", written, "the site")
        if not size.share:
            return int(size.value)
    except ConfigError:
        pass
    found.problems.append(Problem((key,), f"has to be an amount of bytes such as 4 GB, got {written!r}"))
    return 0


def _unknown(loc: Loc) -> str:
    section = SECTIONS[str(loc[0])] if len(loc) > 1 else SiteSection
    return f"no such key; {nearest(str(loc[-1]), section.model_fields)}"
