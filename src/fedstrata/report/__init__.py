"""Reports: run folders to one offline HTML page.

The package can be called, since ``fedstrata.report`` is the name of both: of the function that people look for beside
``fedstrata.run``, and of this package, whose modules are imported by it. It imports none of them itself: plots and
intervals take as long to import as torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


class _Callable(ModuleType):
    """A package that can be called as a function."""

    def __call__(
        self, runs: str | Path | Sequence[str | Path], out: str | Path | None = None, *, title: str | None = None
    ) -> Path:
        """Write a report; see ``fedstrata.report.write_report.write_report``."""
        from fedstrata.report.write_report import write_report

        return write_report(runs, out, title=title)


sys.modules[__name__].__class__ = _Callable
