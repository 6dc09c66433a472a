"""What runs of one process may share: rows that are loaded, and steps that are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from fedstrata.assembly.loading import load_rows
from fedstrata.assembly.pricing import measured
from fedstrata.assembly.runtime import LoadRows
from fedstrata.costs.protocol import Workload
from fedstrata.domain.profile import StepProfile
from fedstrata.models.loaded import LoadedModel

MeasureStep = Callable[[LoadedModel, Mapping[str, Tensor], Sequence[Workload]], tuple[StepProfile, ...]]
"""Measures a model's step: the model, the inputs of one row, every client's batches."""


@dataclass(frozen=True, slots=True)
class Shared:
    """How rows are loaded and steps are measured; several runs of one process may share both.

    Attributes:
        rows: Loads the rows.
        measure: Measures the model's step.
    """

    rows: LoadRows = load_rows
    measure: MeasureStep = measured


ALONE = Shared()
"""A run that shares nothing."""
