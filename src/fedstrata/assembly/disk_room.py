"""Whether the disk has room for what a run will write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from fedstrata.client.resident import bytes_of
from fedstrata.domain.formatting import megabytes
from fedstrata.models.loaded import LoadedModel
from fedstrata.runs.folder import RunFolder


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
