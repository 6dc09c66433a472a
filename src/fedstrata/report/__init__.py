"""Reports: run folders to one offline HTML page, and result tables for a terminal or a document."""

from __future__ import annotations

from fedstrata.report.folder import read_run
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
