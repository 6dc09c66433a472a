"""What the prefix cache saves and costs: processor time of one client's visit, with and without it, by lowest layer.

A visit is 5 local epochs that train one layer of twelve and the head. The first visit fills the cache, the next ones
find it filled. All are played in turn in one process, on one thread; quote the ratios, not the seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
import transformers as tf
from torch import nn

from fedstrata.client.prefix_cache import PrefixCache
from fedstrata.client.resident import ResidentModel
from fedstrata.client.train import LocalResult, train
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.layers import Mask
from fedstrata.models.partition import partition
from fedstrata.wire.messages import TrainPlan

ROWS, BATCH, EPOCHS, TURNS = 48, 16, 5, 3
SIZES: dict[str, Any] = {
    "hidden_size": 192,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "intermediate_size": 768,
}


def images() -> tuple[nn.Module, TensorRows]:
    config = tf.ViTConfig(**SIZES, image_size=32, patch_size=8, num_labels=10)
    rows = TensorRows({"pixel_values": torch.randn(ROWS, 3, 32, 32)}, torch.randint(0, 10, (ROWS,)))
    return tf.ViTForImageClassification(config), rows


def texts() -> tuple[nn.Module, TensorRows]:
    """Return a BERT, which has dropout in every layer, and texts of 8 to 32 tokens."""
    config = tf.BertConfig(**SIZES, vocab_size=500, num_labels=4)
    lengths = torch.randint(8, 33, (ROWS,))
    mask = (torch.arange(32) < lengths[:, None]).long()
    ids = torch.randint(3, 500, (ROWS, 32)) * mask
    return tf.BertForSequenceClassification(config), TensorRows(
        {"input_ids": ids, "attention_mask": mask}, torch.randint(0, 4, (ROWS,))
    )


def visits(model: ResidentModel, rows: TensorRows, mask: Mask) -> dict[str, Callable[[], LocalResult]]:
    """Return the kinds of visit that are compared."""
    weights, plan = model.weights(), TrainPlan(epochs=EPOCHS, batch_size=BATCH, dropout="trained")
    filled = PrefixCache(model, 10**9)
    reused = replace(plan, prefix="fp32")

    def visit(plan: TrainPlan, cache: PrefixCache | None) -> LocalResult:
        rng, indices = np.random.default_rng(0), torch.arange(ROWS)
        return train(model, weights, mask=mask, rows=rows, indices=indices, plan=plan, rng=rng, cache=cache)

    def first() -> LocalResult:
        filled.store.drop(next(iter(filled.store.groups), None))
        return visit(reused, filled)

    visit(reused, filled)  # finds the prefix and tries it, which is done once in a run
    nowhere = PrefixCache(model, 0)
    visit(reused, nowhere)
    return {
        "recomputed": lambda: visit(plan, nowhere),
        "first": first,
        "next": lambda: visit(reused, filled),
        "memory 0": lambda: visit(reused, nowhere),
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{ROWS} rows, {EPOCHS} epochs of batches of {BATCH}, one of 12 layers and the head; medians of {TURNS}")
    print(f"{'model':>6} {'lowest':>7} {'recomputed s':>13} {'first':>6} {'next':>6} {'memory 0':>9} {'KiB a row':>10}")
    for name, make in (("ViT", images), ("BERT", texts)):
        network, rows = make()
        model = ResidentModel(network, partition(network))
        count = len(model.layers)
        for label, mask in (("0", {0}), ("middle", {count // 2}), ("last", {count - 1}), ("head", set[int]())):
            kinds = visits(model, rows, frozenset(mask))
            times: dict[str, list[float]] = {kind: [] for kind in kinds}
            held = 0
            for _ in range(TURNS):
                for kind, visit in kinds.items():
                    start = process_time()
                    held = max(held, visit().prefix.bytes)
                    times[kind].append(process_time() - start)
            ratios = {k: median(p / t for p, t in zip(times["recomputed"], times[k], strict=True)) for k in kinds}
            print(
                f"{name:>6} {label:>7} {median(times['recomputed']):13.2f} {ratios['first']:5.2f}x"
                f" {ratios['next']:5.2f}x {ratios['memory 0']:8.2f}x {held / ROWS / 1024:10.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
