"""Runs that benchmarks play: vision transformers with random weights, and images of random pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import prepare_run
from fedstrata.config.load import check_config

BLOCKS = 12
SIDE = 32
CLASSES = 10


def vit(folder: Path, *, width: int, patch: int) -> Path:
    """Write a vision transformer of ``BLOCKS`` blocks with random weights, and return its folder."""
    path = folder / f"vit-{width}-{patch}"
    if not path.exists():
        config = ViTConfig(
            hidden_size=width,
            num_hidden_layers=BLOCKS,
            num_attention_heads=width // 32,
            intermediate_size=4 * width,
            image_size=SIDE,
            patch_size=patch,
            num_labels=CLASSES,
        )
        torch.manual_seed(0)
        ViTForImageClassification(config).save_pretrained(path)
        ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(path)
    return path


def images(folder: Path, rows: int) -> Path:
    """Write so many images of random pixels with labels as Parquet, and return the file."""
    path = folder / f"images-{rows}.parquet"
    if not path.exists():
        rng = np.random.default_rng(0)
        pictures = []
        for pixels in rng.integers(0, 256, (rows, SIDE, SIDE, 3), dtype=np.uint8):
            memory = io.BytesIO()
            Image.fromarray(pixels).save(memory, format="PNG", compress_level=0)
            pictures.append({"bytes": memory.getvalue(), "path": None})
        pq.write_table(pa.table({"image": pictures, "label": rng.integers(0, CLASSES, rows)}), path)
    return path


def prepared(folder: Path, *, width: int, patch: int, steps: int, batch: int) -> PreparedRun:
    """Return a run of 100 clients, 10 per round, that train two of the twelve blocks."""
    config = {
        "model": {"path": str(vit(folder, width=width, patch=patch)), "head": "new"},
        "data": {
            "kind": "files",
            "train": str(images(folder, 2000)),
            "test": str(images(folder, 50)),
            "image": "image",
            "label": "label",
            "partition": {"kind": "iid", "clients": 100},
        },
        "selector": {"kind": "fixed", "layers": "5,10"},
        "budget": {"kind": "fixed", "layers": 2},
        "sampler": {"kind": "uniform", "clients_per_round": 10},
        "cost": "layers",
        "train": {"steps": steps, "batch_size": batch, "lr": 0.01, "precision": "fp32", "optimizer": "sgd"},
        "output": str(folder / f"run-{width}-{patch}-{steps}-{batch}"),
    }
    return prepare_run(check_config(config))
