"""Steps that are executed with many masks, against their profile."""

from __future__ import annotations

import pytest

from executed_steps import MODELS
from models.profiling import test_step_flops as steps

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("name", MODELS)
def test_twenty_masks(name: str) -> None:
    steps.test_operations_are_those_that_torch_counts_in_an_executed_step(name, 20)
    steps.test_bytes_kept_are_those_that_autograd_keeps_in_an_executed_step(name, 20)
    for optimizer in ("sgd", "momentum", "adamw"):
        steps.test_peak_memory_is_that_of_an_executed_step(name, optimizer, 20)
