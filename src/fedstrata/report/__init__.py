"""Reports: run folders to one offline HTML page, and result tables for a terminal or a document.

The package can be called, since ``fedstrata.report`` is the name of both: of the function that people look for beside
``fedstrata.run``, and of this package, whose modules are imported by it. What it names is imported on first use: plots
and intervals take as long to import as torch, and every command prints its tables by a module of this package.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedstrata.report.html import write_report as write_report
    from fedstrata.report.tables import Result as Result
    from fedstrata.report.tables import layers_chosen as layers_chosen
    from fedstrata.report.tables import markdown_table as markdown_table
    from fedstrata.report.tables import terminal_table as terminal_table
    from fedstrata.runs.reading import read_run as read_run
    from fedstrata.runs.records import Run as Run

__all__ = [
    "Result",
    "Run",
    "layers_chosen",
    "markdown_table",
    "read_run",
    "terminal_table",
    "write_report",
]

_HOME = {
    "Result": "fedstrata.report.tables",
    "Run": "fedstrata.runs.records",
    "layers_chosen": "fedstrata.report.tables",
    "markdown_table": "fedstrata.report.tables",
    "read_run": "fedstrata.runs.reading",
    "terminal_table": "fedstrata.report.tables",
    "write_report": "fedstrata.report.html",
}


class _Callable(ModuleType):
    """A package that can be called as a function."""

    def __call__(self, runs: str | Path | Sequence[str | Path], out: str | Path | None = None) -> Path:
        """Write a report; see ``fedstrata.report.front.report``."""
        from fedstrata.report.front import report

        return report(runs, out)


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fedstrata.report' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Callable
