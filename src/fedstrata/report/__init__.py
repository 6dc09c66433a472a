"""Reports: run folders to one offline HTML page, and result tables for a terminal or a document.

The package can be called, since ``fedstrata.report`` is the name of both: of the function that people look for beside
``fedstrata.run``, and of this package, whose modules are imported by it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from fedstrata.report.folder import read_run
from fedstrata.report.front import report
from fedstrata.report.html import write_report
from fedstrata.report.records import Run
from fedstrata.report.tables import Result, layers_chosen, markdown_table, terminal_table

__all__ = [
    "Result",
    "Run",
    "layers_chosen",
    "markdown_table",
    "read_run",
    "terminal_table",
    "write_report",
]


class _Callable(ModuleType):
    """A package that is a function besides."""

    def __call__(self, runs: str | Path | Sequence[str | Path], out: str | Path | None = None) -> Path:
        """Write a report; see ``fedstrata.report.front.report``."""
        return report(runs, out)


sys.modules[__name__].__class__ = _Callable
