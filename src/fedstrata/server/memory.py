"""Peak memory of this process: the allocator's on a GPU, the resident set elsewhere."""

from __future__ import annotations

import resource
import sys

import torch


def peak_bytes() -> int:
    """Return the largest memory use so far, in bytes."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
