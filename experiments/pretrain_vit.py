"""Pretrain the small ViT of the image rows: 8 blocks, 32x32, on Tiny-ImageNet-32 without the classes of CIFAR-10.

The 24 classes that mean the same as a class of CIFAR-10 (``cifar10_overlap`` in ``classes.json``) are left out of the
rows and of the head, so that no label of the fine-tuning task was ever seen. Run from the repository's root, with the
data folder at hand: ``python experiments/pretrain_vit.py``. It takes about half an hour on one core and writes a model
folder in half precision, with ``metrics.json``.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.utils import logging

DATA = Path("../shared/data/tiny_imagenet32")
TO = Path("experiments/models/vit-tiny-imagenet32")


def kept_classes() -> list[int]:
    """Return the labels whose classes do not overlap with CIFAR-10's."""
    facts = json.loads((DATA / "classes.json").read_text())
    return [i for i in range(len(facts["wnids"])) if str(i) not in facts["cifar10_overlap"]]


def load(split: str, classes: list[int]) -> tuple[Tensor, Tensor]:
    """Return images, uint8 ``[rows, 3, 32, 32]``, and labels renumbered from 0."""
    table = pq.read_table(DATA / f"{split}.parquet")
    number = {label: i for i, label in enumerate(classes)}
    rows = [
        (row["image"]["bytes"], number[row["label"]])
        for row in table.select(["image", "label"]).to_pylist()
        if row["label"] in number
    ]
    images = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data, _ in rows])
    labels = torch.tensor([label for _, label in rows])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels


def new_model(classes: int) -> ViTForImageClassification:
    """Return the untrained model: 17 tokens of 192 numbers, 8 blocks."""
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=192,
        num_hidden_layers=8,
        num_attention_heads=6,
        intermediate_size=768,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=classes,
    )
    return ViTForImageClassification(config)


def pixels(images: Tensor) -> Tensor:
    """Return what the image processor makes of uint8 images: values in [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip and shift each image by up to 4 pixels, at random."""
    padded = nn.functional.pad(images, (4, 4, 4, 4), mode="reflect")
    rows = len(images)
    flip = torch.rand(rows, generator=generator) < 0.5
    down = torch.randint(9, (rows,), generator=generator)
    right = torch.randint(9, (rows,), generator=generator)
    window = torch.arange(32)
    index = torch.arange(rows)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[index, (down[:, None] + window)[:, :, None], (right[:, None] + window)[:, None, :]]
    cut = cut.permute(0, 3, 1, 2)
    return torch.where(flip[:, None, None, None], cut.flip(3), cut)


def train(model: ViTForImageClassification, images: Tensor, labels: Tensor, *, epochs: int, seed: int) -> None:
    """Train in place: AdamW, one-cycle learning rate, label smoothing."""
    batch = 64
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps, pct_start=0.15)
    generator = torch.Generator().manual_seed(seed)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    model.train()
    started, total, done = perf_counter(), 0.0, 0
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for index in order[: len(order) // batch * batch].split(batch):
            logits = model(pixel_values=pixels(augmented(images[index], generator))).logits
            loss = loss_of(logits, labels[index])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total, done = total + float(loss.detach()), done + 1
        spent = perf_counter() - started
        left = spent / (epoch + 1) * (epochs - epoch - 1)
        print(f"epoch {epoch + 1}/{epochs}  loss {total / done:.3f}  {spent:.0f} s  ETA {left:.0f} s", flush=True)
        total, done = 0.0, 0
    model.eval()


@torch.no_grad()
def accuracy(model: ViTForImageClassification, images: Tensor, labels: Tensor) -> float:
    """Return the share of images classified correctly."""
    right = 0
    for index in torch.arange(len(images)).split(500):
        right += int((model(pixel_values=pixels(images[index])).logits.argmax(-1) == labels[index]).sum())
    return right / len(images)


def main() -> None:
    """Pretrain, measure, and write the model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=TO)
    chosen = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    classes = kept_classes()
    images, labels = load("train", classes)
    print(f"{len(images)} images of {len(classes)} classes", flush=True)
    model = new_model(len(classes))
    started = perf_counter()
    train(model, images, labels, epochs=chosen.epochs, seed=chosen.seed)
    seconds = perf_counter() - started
    found = accuracy(model, *load("test", classes))
    print(f"{chosen.epochs} epochs in {seconds:.0f} s on one thread; accuracy on the held-out images {found:.4f}")
    model.half().save_pretrained(chosen.to)
    ViTImageProcessorPil(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(
        chosen.to
    )
    facts = {
        "data": "Tiny-ImageNet-32 without the 24 classes that overlap with CIFAR-10",
        "rows": len(images),
        "classes": len(classes),
        "epochs": chosen.epochs,
        "seed": chosen.seed,
        "accuracy": round(found, 4),
    }
    (chosen.to / "metrics.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
