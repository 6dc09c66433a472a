"""``fedstrata.report(...)``: a report by a call, which is what the package of reports does when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedstrata.errors import ConfigError
from fedstrata.report.html import write_report


def report(runs: str | Path | Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write one offline HTML file on one run or several, and return its path.

    Args:
        runs: Run folders.
        out: The file; by default ``report.html`` in the run folder, or beside the folders of several.

    Raises:
        FedstrataError: A folder is no run's.

    Example:
        See ``tests/test_api.py``.
    """
    folders = paths(runs)
    if not folders:
        raise ConfigError("no run folder is given; name at least one")
    usual = (folders[0] if len(folders) == 1 else folders[0].parent) / "report.html"
    return write_report(folders, usual if out is None else Path(out))


def paths(runs: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return one path or several as a list.

    Example:
        >>> [path.name for path in paths("runs/a")]
        ['a']
    """
    return [Path(runs)] if isinstance(runs, str | Path) else [Path(one) for one in runs]
