"""What the end of a run needs: room for its model, and what was trained kept if the model cannot be written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from safetensors import SafetensorError

from fedstrata.client.resident import bytes_of
from fedstrata.domain.formatting import megabytes
from fedstrata.files import argument
from fedstrata.models.export import save_weights, sentence
from fedstrata.models.loaded import LoadedModel
from fedstrata.runs.folder import RunFolder
from fedstrata.wire.messages import Weights


def kept(folder: RunFolder, weights: Weights, error: Exception) -> str:
    """Write the trained tensors alone, and return why, where they are, and how to get the model.

    Example:
        See ``tests/faults/test_full_disk.py``.
    """
    try:
        where = f"its trained tensors are in {save_weights(weights, folder.weights)}, by their names in the model"
    except (OSError, SafetensorError) as second:
        where = f"its trained tensors are in the newest of {folder.checkpoints} ({getattr(second, 'strerror', second)})"
    return (
        f"the model cannot be written to {folder.model}: {sentence(error)}; {where}; mend the cause, then write the "
        f"model with: fedstrata resume {argument(folder.path)}"
    )


def tight(folder: RunFolder, network: LoadedModel) -> Iterator[str]:
    """Say if the disk has no room for what the end needs: the model, and two checkpoints before it."""
    layers = network.layers
    needed = bytes_of(network.model) + 2 * layers.bytes_of(layers.everything)
    there = next(parent for parent in (folder.path.absolute(), *folder.path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        yield (
            f"the run writes about {megabytes(needed)} MB (its model and two checkpoints), and {there} has "
            f"{megabytes(free)} MB free; make room, or choose another output"
        )
