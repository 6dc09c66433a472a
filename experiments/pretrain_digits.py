"""Pretrain the demo's checkpoint: a 6-block ViT on 600 upright digits, which no client and no test ever holds.

Run from the repository's root: ``python experiments/pretrain_digits.py``. It takes under a minute on one core and
writes the model folder that the demo loads, with ``metrics.json``: what the model gets right before any federated
training, upright and under both shifts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter

import torch
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.utils import logging

from fedstrata.data.digits import NAMES, Shift, digits, pretraining_digits
from fedstrata.data.tensors import TensorRows
from fedstrata.models.folder_config import EMBEDDED


def new_model() -> ViTForImageClassification:
    """Return the untrained model: 6 blocks, 203,082 parameters."""
    config = ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=64,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=128,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    return ViTForImageClassification(config)


def train(model: ViTForImageClassification, rows: TensorRows, steps: int, seed: int) -> None:
    """Train the model in place with AdamW and a one-cycle learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        inputs, labels = rows.take(torch.randint(len(rows), (64,), generator=generator))
        loss = model(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: ViTForImageClassification, rows: TensorRows) -> float:
    """Return the share of rows classified correctly."""
    return float((model(**rows.inputs).logits.argmax(-1) == rows.labels).double().mean())


def report(model: ViTForImageClassification, seed: int) -> dict[str, float]:
    """Return accuracies on rows that pretraining did not see: all upright ones, and each shift's test rows."""
    found = {"upright": accuracy(model, pretraining_digits().test)}
    shifts: tuple[Shift, ...] = ("input", "label")
    for shift in shifts:
        found[f"{shift} shift"] = accuracy(model, digits(shift, seed=seed).test)
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Pretrain, measure, and write the model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=EMBEDDED["embedded:vit-digits"])
    chosen = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    started = perf_counter()
    model = new_model()
    train(model, pretraining_digits().train, chosen.steps, chosen.seed)
    seconds = perf_counter() - started
    found = report(model, chosen.seed)
    print(f"{chosen.steps} steps in {seconds:.1f} s on one thread")
    for name, value in found.items():
        print(f"  accuracy, {name}: {value:.4f}")
    model.save_pretrained(chosen.to)
    ViTImageProcessorPil(
        size={"height": 8, "width": 8}, image_mean=[0.0], image_std=[1.0], do_convert_rgb=False
    ).save_pretrained(chosen.to)
    (chosen.to / "model.safetensors").chmod(0o644)
    facts = {"steps": chosen.steps, "seed": chosen.seed, "pretraining_rows": 600, "accuracy": found}
    (chosen.to / "metrics.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
