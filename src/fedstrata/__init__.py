"""fedstrata: federated fine-tuning in which every client trains and ships only the layers worth its budget.

>>> import fedstrata
>>> fedstrata.__all__
['FedstrataError', 'Observer', '__version__', 'compare', 'layers', 'plan', 'report', 'resume', 'run', 'solve', 'sweep']
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from fedstrata.errors import FedstrataError

if TYPE_CHECKING:
    from fedstrata.api import compare as compare
    from fedstrata.api import layers as layers
    from fedstrata.api import plan as plan
    from fedstrata.api import resume as resume
    from fedstrata.api import run as run
    from fedstrata.api import sweep as sweep
    from fedstrata.report.write_report import write_report as report
    from fedstrata.server.observers import Observer as Observer
    from fedstrata.solvers import solve as solve

__version__ = version("fedstrata")
__all__ = [
    "FedstrataError",
    "Observer",
    "__version__",
    "compare",
    "layers",
    "plan",
    "report",
    "resume",
    "run",
    "solve",
    "sweep",
]

_HOME = {
    "Observer": "fedstrata.server.observers",
    "compare": "fedstrata.api",
    "layers": "fedstrata.api",
    "plan": "fedstrata.api",
    "resume": "fedstrata.api",
    "run": "fedstrata.api",
    "solve": "fedstrata.solvers",
    "sweep": "fedstrata.api",
}
"""Where names live that are imported on first use: torch and transformers take seconds."""


def __getattr__(name: str) -> object:
    if name == "report":  # the subpackage, which can be called; see there
        return import_module("fedstrata.report")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fedstrata' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
