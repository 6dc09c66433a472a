"""Where a run's rows may lie: all of them here, one site's own, or at the sites alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from fedstrata.data.natural import NaturalId
from fedstrata.data.partition import Dirichlet, Partition
from fedstrata.data.read_options import FileTerms, Input, RowTerms, odd_input
from fedstrata.data.readers.dialect import Dialect
from fedstrata.errors import ConfigError

Shift = Literal["none", "input", "label"]
SHIFTS: tuple[Shift, ...] = ("none", "input", "label")
"""How the embedded digits may differ from those that their model was pretrained on."""

CLIENT = re.compile(r"[a-z0-9_-]{1,64}")
"""What a client may be called, everywhere."""


@dataclass(frozen=True, kw_only=True)
class _OfFiles(FileTerms, RowTerms):
    """Rows that are read from files: the keys of ``FileTerms`` and ``RowTerms``."""

    @property
    def input(self) -> Input:
        """What the rows are."""
        if self.question is not None:
            return "choice"
        return "image" if self.text is None else "text"


@dataclass(frozen=True, kw_only=True)
class Files(_OfFiles):
    """The user's own data.

    Attributes:
        train: File, glob, or image folder of the training rows; exclusive with ``sites``.
        sites: Folder with one folder or file per site, or a glob that matches one per site: each is a client.
        test: File, glob, or image folder of the server's test rows; exclusive with ``test_fraction``.
        test_fraction: Share of the training rows that the server keeps as test rows, in (0, 1).
        partition: How rows come to clients; ``None`` with ``sites``.
        rows: Use only this many of the training rows, with ``sites`` of each site's; the same ones in every run.
        test_rows: Use only this many of the test rows, with ``sites`` of each test file's.

    Example:
        >>> Files(train="train.parquet", test="test.parquet", text="note", partition=Dirichlet(10)).label
        'label'
    """

    train: str | None = None
    sites: str | None = None
    test: str | None = None
    test_fraction: float | None = None
    partition: Partition | None = None
    rows: int | None = None
    test_rows: int | None = None

    def __post_init__(self) -> None:
        """Check what does not need the files."""
        if (self.train is None) == (self.sites is None):
            raise ConfigError("data: give either 'train' or 'sites'")
        if (self.test is None) == (self.test_fraction is None):
            raise ConfigError("data: give either 'test' or 'test_fraction', such as test_fraction: 0.2")
        _check_terms(self)
        if self.sites is None and self.partition is None:
            raise ConfigError("data: give a 'partition', such as {kind: dirichlet, clients: 10, alpha: 0.3}")
        if self.sites is not None and self.partition is not None:
            raise ConfigError("data: with 'sites' each site is a client; remove 'partition'")
        if self.test_fraction is not None and not 0 < self.test_fraction < 1:
            raise ConfigError(f"data: test_fraction is {self.test_fraction}; it has to be between 0 and 1")
        for name, count in (("rows", self.rows), ("test_rows", self.test_rows)):
            if count is not None and count < 1:
                raise ConfigError(f"data: {name} is {count}; it has to be at least 1, or null for every row")

    @property
    def main(self) -> str:
        """The path that the rows are best known by."""
        return self.train or self.sites or ""


@dataclass(frozen=True, slots=True)
class Digits:
    """The embedded digits.

    Attributes:
        shift: ``none``, ``input`` or ``label``.
        partition: How rows come to clients.
        held_out: Share of each client's rows that it is evaluated on, in [0, 1).

    Example:
        >>> str(Digits(shift="label").partition)
        'dirichlet 0.3 over 10 clients, at least 10 rows each'
    """

    shift: Shift = "none"
    partition: Partition = field(default_factory=lambda: Dirichlet(clients=10, alpha=0.3))
    held_out: float = 0.0

    def __post_init__(self) -> None:
        """Check what does not need the rows."""
        if isinstance(self.partition, NaturalId):
            raise ConfigError("data: digits have no natural id; use partition dirichlet, iid or shard")
        _check_held_out(self.held_out)

    @property
    def input(self) -> Input:
        """What the rows are."""
        return "image"


@dataclass(frozen=True, kw_only=True)
class Own(_OfFiles):
    """One site's own rows, as the site sees them: one client, and no test row.

    A site makes it of its own file and of what the server says of the run; a configuration of a run is refused with it.
    With the same file, seed and name, the rows are those of ``Files(sites=...)``, to the bit and in the same order.

    Attributes:
        train: File, glob, or image folder of the site's rows.
        labels: Names of the run's labels, by index, as the server gives them; a number in the file is read as its name.
        client: The site's name in the run.

    Example:
        >>> Own(train="rows.csv", labels=("no", "yes"), client="north", text="note").input
        'text'
    """

    train: str
    labels: tuple[str, ...]
    client: str

    def __post_init__(self) -> None:
        """Check what does not need the files."""
        _check_terms(self)
        _check_labels(self.labels)
        if not CLIENT.fullmatch(self.client):
            raise ConfigError(
                f"data: '{self.client[:80]}' is no name of a client; use 1 to 64 of a-z, 0-9, hyphen and underscore"
            )

    @property
    def main(self) -> str:
        """The path that the rows are best known by."""
        return self.train


@dataclass(frozen=True, kw_only=True)
class Remote(_OfFiles):
    """Rows that never leave their sites: the server has test rows of its own, and no client's.

    What is said of columns, lengths and held-out shares counts for the sites, too, unless a site says otherwise of its
    own columns.

    Attributes:
        test: File, glob, or image folder of the server's test rows.
        labels: Names of the run's labels, by index; ``None`` takes those of the test rows.

    Example:
        >>> Remote(test="test.csv", image="photo").labels is None
        True
    """

    test: str
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check what does not need the files."""
        _check_terms(self)
        if self.labels is not None:
            _check_labels(self.labels)
            if self.question is not None:
                raise ConfigError("data: labels of questions are the positions of their choices; leave 'labels' out")

    @property
    def main(self) -> str:
        """The path that the rows are best known by."""
        return self.test


FromFiles = Files | Own | Remote
"""Rows that are read from files, and made a model's inputs by its own preprocessing."""
Data = FromFiles | Digits
"""Every kind."""


def _check_terms(source: _OfFiles) -> None:
    if reason := odd_input(source):
        raise ConfigError(f"data: {reason}")
    Dialect(source.separator, source.encoding)
    if source.max_length < 1:
        raise ConfigError(f"data: max_length is {source.max_length}; it has to be at least 1")
    _check_held_out(source.held_out)


def _check_labels(labels: tuple[str, ...]) -> None:
    twice = next((name for i, name in enumerate(labels) if name in labels[:i]), None)
    if twice is not None:
        raise ConfigError(f"data: labels hold '{twice}' twice; name each once")
    if len(labels) < 2:
        raise ConfigError(f"data: labels has {len(labels)} of the two names that it needs at least; name every label")


def _check_held_out(held_out: float) -> None:
    if not 0 <= held_out < 1:
        raise ConfigError(f"data: held_out is {held_out}; it has to be at least 0 and below 1")
