"""Predicted against measured: memory and time of one local step, on random weights.

    python benchmarks/bench_step.py            # both tables, about ten minutes on one core

Memory is the growth of the resident set in a fresh process, from before the model is built to the high-water mark of
three steps. By default glibc keeps blocks that were freed; with ``MALLOC_MMAP_THRESHOLD_=131072`` it hands them back,
and what is resident is what is alive. Time is the processor time of one thread, which other processes disturb less
than the clock's, as a ratio to full fine-tuning, predicted by operations alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers as tf
from torch import nn

from fedstrata.client.resident import ResidentModel
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.profile import ALWAYS, StepProfile
from fedstrata.models.fake import FakeModel, fake_copy
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_model

LENGTH = 128
OPTIMIZERS = {"sgd": 0, "momentum": 1, "adamw": 2}


def vit(scale: int = 64) -> nn.Module:
    config = tf.ViTConfig(patch_size=32, hidden_size=12 * scale, intermediate_size=48 * scale, num_labels=10)
    return tf.ViTForImageClassification(config)


def minilm(scale: int = 32) -> nn.Module:
    config = tf.BertConfig(
        hidden_size=12 * scale,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=48 * scale,
        num_labels=10,
        vocab_size=953 * scale,
    )
    return tf.BertForSequenceClassification(config)


MODELS = {"vit": vit, "minilm": minilm}


def fake(name: str) -> FakeModel:
    with torch.device("meta"):
        model = MODELS[name]()
    return FakeModel(fake_copy(model), partition(model), name)


def batch(name: str, rows: int) -> dict[str, torch.Tensor]:
    if name == "vit":
        return {"pixel_values": torch.randn(rows, 3, 224, 224)}
    mask = torch.ones(rows, LENGTH, dtype=torch.long)
    mask[0, LENGTH // 2 :] = 0
    return {"input_ids": torch.randint(1, 900, (rows, LENGTH)), "attention_mask": mask}


def predicted_peak(profile: StepProfile, layers: LayerMap, mask: Mask, optimizer: str, fixed: int) -> int:
    """Return the most bytes alive in a step; ``fixed`` is the model with its buffers."""
    lowest = min(mask, default=profile.layers)
    extra = profile.saved_extra * np.array([i in mask and i != lowest for i in profile.layer])
    held = np.cumsum(profile.saved[lowest] + extra)
    own = {block.name: block.bytes for block in layers.blocks(mask)}
    trained = sum(own.values())
    is_trained = [i in mask or i == ALWAYS for i in profile.layer]
    grads = np.array([own.get(n, 0) if t else 0 for n, t in zip(profile.blocks, is_trained, strict=True)])
    later = grads[::-1].cumsum()[::-1]
    static = fixed + profile.batch_bytes + trained * (1 + OPTIMIZERS[optimizer])
    sizes = [t.bytes for t in layers.tensors_of(mask)]
    adamw = max(before + 2 * size for before, size in zip([0, *sizes], sizes, strict=False))
    update = trained + (adamw if optimizer == "adamw" else 0)
    events = (held + profile.forward_peak[lowest], held + later + profile.backward_peak[lowest])
    return static + max(update, *(int(event.max()) for event in events))


def resident(name: str, rows: int, mask: Mask, optimizer: str) -> int:
    """Return the resident growth of three steps in a fresh process."""
    words = [sys.executable, __file__, "--step", json.dumps([name, rows, sorted(mask), optimizer])]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return int(done.stdout)


def status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def step_here(name: str, rows: int, mask: list[int], optimizer: str) -> None:
    run_steps(MODELS[name](1), batch(name, 1), frozenset(mask), optimizer, steps=1)  # loads the code that steps run
    before = status("VmRSS")
    model = MODELS[name]()
    run_steps(model, batch(name, rows), frozenset(mask), optimizer, steps=3)
    print(status("VmHWM") - before)


def run_steps(model: nn.Module, inputs: dict[str, torch.Tensor], mask: Mask, optimizer: str, steps: int) -> list[float]:
    """Run steps as a client does; return their seconds."""
    home = ResidentModel(model, partition(model))
    home.set_training()
    weights = home.weights()
    labels = torch.zeros(len(next(iter(inputs.values()))), dtype=torch.long)
    seconds = []
    Path("/proc/self/clear_refs").write_text("5")  # from here on, the high-water mark is the steps'
    with home.training(weights, mask) as trained:
        parameters = list(trained.values())
        rule = torch.optim.AdamW(parameters) if optimizer == "adamw" else torch.optim.SGD(parameters, lr=1e-3)
        for _ in range(steps):
            start = time.process_time()
            rule.zero_grad(set_to_none=True)  # before the forward pass: gradients would live through it
            loss = nn.functional.cross_entropy(home.logits(inputs), labels)
            loss.backward()
            rule.step()
            seconds.append(time.process_time() - start)
    return seconds


def memory_table() -> None:
    print(f"{'model':8}{'rows':>5}  {'optimizer':10}{'mask':8}{'predicted':>11}{'measured':>11}{'ratio':>7}")
    for name in MODELS:
        network = fake(name)
        fixed = sum(t.nbytes for t in (*network.model.parameters(), *network.model.buffers()))
        top = len(network.layers) - 1
        masks = {"full": network.layers.everything, "empty": frozenset()} | {
            str(i): frozenset({i}) for i in (0, top // 2 + 1, top)
        }
        for rows in (2, 16):
            profile = measure_model(network, rows=rows, length=LENGTH)
            for optimizer in ("sgd", "adamw"):
                for label, mask in masks.items():
                    guess = predicted_peak(profile, network.layers, mask, optimizer, fixed)
                    real = resident(name, rows, mask, optimizer)
                    line = f"{name:8}{rows:5}  {optimizer:10}{label:8}{guess / 1e6:9.0f} MB{real / 1e6:9.0f} MB"
                    print(f"{line}{guess / real:7.2f}", flush=True)


def time_table(rows: int = 16) -> None:
    network = fake("vit")
    profile = measure_model(network, rows=rows)
    model, inputs = vit(), batch("vit", rows)
    masks: dict[str, Mask] = {f"l={i}": frozenset({i}) for i in (0, 3, 6, 9, 11)} | {"empty": frozenset()}
    full = network.layers.everything
    print(f"\n{'ViT-B/32':10}{'predicted':>10}{'measured':>10}{'ratio':>7}   seconds of a step, to full fine-tuning")
    for label, mask in masks.items():
        ratios = []
        for _ in range(5):  # side by side, since machines drift
            one, all_ = (min(run_steps(model, inputs, m, "sgd", steps=3)[1:]) for m in (mask, full))
            ratios.append(one / all_)
        guess, real = profile.flops(mask) / profile.flops(full), sorted(ratios)[2]
        print(f"{label:10}{guess:10.3f}{real:10.3f}{guess / real:7.2f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--step"]:
        step_here(*json.loads(sys.argv[2]))
    else:
        memory_table()
        time_table()
