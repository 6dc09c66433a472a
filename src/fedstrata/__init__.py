"""fedstrata: federated fine-tuning in which every client trains and ships only the layers worth its budget.

>>> import fedstrata
>>> fedstrata.__all__
['FedstrataError', '__version__', 'run', 'solve', 'sweep']
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from fedstrata.errors import FedstrataError

if TYPE_CHECKING:
    from fedstrata.api import run as run
    from fedstrata.api import sweep as sweep
    from fedstrata.solvers import solve as solve

__version__ = version("fedstrata")
__all__ = ["FedstrataError", "__version__", "run", "solve", "sweep"]

_HOME = {"run": "fedstrata.api", "solve": "fedstrata.solvers", "sweep": "fedstrata.api"}
"""Where names live that are imported on first use: torch and transformers take seconds."""


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fedstrata' has no attribute '{name}'")
