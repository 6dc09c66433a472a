"""Real local steps of small models, measured while they run, to hold a step's profile against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers as tf
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from fedstrata.client.resident import ResidentModel
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.profile import ALWAYS, StepProfile
from fedstrata.models.objective import Classification, Objective
from fedstrata.models.partition import partition
from fedstrata.models.profiling.tracker import FORMULAS, Tracker

TEXT = {"vocab_size": 99, "num_labels": 3, "pad_token_id": 0}


def vit() -> nn.Module:
    config = tf.ViTConfig(
        hidden_size=48, num_hidden_layers=4, num_attention_heads=3, intermediate_size=96, image_size=32, patch_size=8
    )
    return tf.ViTForImageClassification(config)  # type: ignore[no-any-return]


def bert() -> nn.Module:
    config = tf.BertConfig(hidden_size=48, num_hidden_layers=4, num_attention_heads=3, intermediate_size=96, **TEXT)
    return tf.BertForSequenceClassification(config)  # type: ignore[no-any-return]


def llama() -> nn.Module:
    config = tf.LlamaConfig(
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        **TEXT,
    )
    return tf.LlamaForSequenceClassification(config)  # type: ignore[no-any-return]


def t5() -> nn.Module:
    config = tf.T5Config(
        d_model=48, d_kv=12, d_ff=128, num_heads=4, num_layers=2, decoder_start_token_id=0, eos_token_id=1, **TEXT
    )
    return tf.T5ForSequenceClassification(config)  # type: ignore[no-any-return]


MODELS = {"vit": vit, "bert": bert, "llama": llama, "t5": t5}


def batch_for(model: Any, rows: int = 4, length: int = 20) -> dict[str, Tensor]:  # noqa: ANN401
    """Return a batch of noise; texts are padded, each row ends in one end token."""
    if model.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(rows, 3, 32, 32)}
    ids = torch.randint(2, 99, (rows, length))
    mask = torch.ones_like(ids)
    ids[:, -1] = 1
    ids[0, -3:] = torch.tensor([1, 0, 0])
    mask[0, -2:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@dataclass(frozen=True)
class Executed:
    """What a real step did: operations, bytes that autograd kept, most bytes alive in each phase."""

    flops: int
    saved: int
    forward_peak: int
    backward_peak: int
    update_peak: int

    @property
    def peak(self) -> int:
        return max(self.forward_peak, self.backward_peak, self.update_peak)


class Bench:
    """A real model and its batch."""

    def __init__(
        self,
        model: nn.Module,
        rows: int = 4,
        length: int = 20,
        layers: LayerMap | None = None,
        objective: Objective = Classification(),  # noqa: B008  a value
        *,
        checkpointing: bool = False,
    ) -> None:
        self.layers = layers or partition(model)
        self.inputs = objective.shaped(batch_for(model, rows, length))
        self.labels = torch.zeros(rows, dtype=torch.long)
        self.module = model
        self.resident = ResidentModel(model, self.layers, objective, checkpointing=checkpointing)
        self.weights = self.resident.weights()

    def step(self, mask: Mask, optimizer: str = "sgd") -> Executed:
        """Run one step and follow its tensors; parameters, buffers and batch count among what is alive."""
        self.resident.set_training()
        fixed = (*self.module.parameters(), *self.module.buffers(), *self.inputs.values(), self.labels)
        static = sum(t.untyped_storage().nbytes() for t in fixed)
        tracker = Tracker(fixed)
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            serial = tracker.serial(tensor)
            kept[serial] = tracker.sizes[serial]
            return tensor

        with self.resident.training(self.weights, mask) as trained:
            clones = sum(p.nbytes for p in trained.values())
            for parameter in trained.values():
                tracker.serial(parameter, anyway=True)
            maker = _optimizer(optimizer, list(trained.values()))
            with counting() as counter, tracker:
                if optimizer != "sgd":
                    for parameter in trained.values():
                        parameter.grad = torch.zeros_like(parameter)
                    maker.step()  # moments live from the first step on
                    maker.zero_grad(set_to_none=True)
                tracker.peak = tracker.live
                with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
                    loss = self._loss()
                forward, tracker.peak = tracker.peak, tracker.live
                loss.backward()
                backward, tracker.peak = tracker.peak, tracker.live
                maker.step()
                update = tracker.peak
        base = static + clones
        return Executed(
            int(counter.get_total_flops()), sum(kept.values()), base + forward, base + backward, base + update
        )

    def _loss(self) -> Tensor:
        logits = self.resident.logits(self.inputs)
        return self.resident.objective.loss(logits, self.inputs, self.labels, reduction="mean")


def counting() -> FlopCounterMode:
    """Return torch's own counter, told of the attention kernel that the CPU has."""
    return FlopCounterMode(display=False, custom_mapping={op: _raw(formula) for op, formula in _OWN.items()})


_OWN = {op: formula for op, formula in FORMULAS.items() if op not in flop_registry or "conv" in str(op)}


def _raw(formula: Any) -> Any:  # noqa: ANN401
    def raw(*args: Any, **kwargs: Any) -> int:  # noqa: ANN401
        return int(formula(*args, **kwargs))

    raw._get_raw = True  # type: ignore[attr-defined]
    return raw


def _optimizer(kind: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if kind == "adamw":
        return torch.optim.AdamW(parameters, lr=1e-3)
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9 if kind == "momentum" else 0.0)


def saved(profile: StepProfile, mask: Mask) -> int:
    """Return the bytes kept for the backward pass, by profile."""
    return int(_kept(profile, mask).sum())


def _kept(profile: StepProfile, mask: Mask) -> Any:  # noqa: ANN401
    lowest = min(mask, default=profile.layers)
    above = [layer in mask and layer != lowest for layer in profile.layer]
    return profile.saved[lowest] + profile.saved_extra * above


def predicted(profile: StepProfile, bench: Bench, mask: Mask, optimizer: str = "sgd") -> Executed:
    """Return what a step does, composed from its profile."""
    lowest = min(mask, default=profile.layers)
    own = {str(block.name): block.bytes for block in bench.layers.blocks(mask)}
    trained = sum(own.values())
    fixed = (*bench.module.parameters(), *bench.module.buffers(), bench.labels)
    sizes = [t.bytes for t in bench.layers.tensors_of(mask)]
    adamw = max(before + 2 * size for before, size in zip([0, *sizes], sizes, strict=False))
    temporary = adamw if optimizer == "adamw" else 0
    state = {"sgd": 0, "momentum": 1, "adamw": 2}[optimizer] * trained
    static = sum(t.untyped_storage().nbytes() for t in fixed) + profile.batch_bytes + trained + state
    held = _kept(profile, mask).cumsum()
    grads = [
        own.get(str(name), 0) if layer in mask or layer == ALWAYS else 0
        for name, layer in zip(profile.blocks, profile.layer, strict=True)
    ]
    later = [sum(grads[j:]) for j in range(len(grads))]
    return Executed(
        profile.flops(mask),
        saved(profile, mask),
        static + int((held + profile.forward_peak[lowest]).max()),
        static + int((held + later + profile.backward_peak[lowest]).max()),
        static + trained + temporary,
    )


def masks_for(layers: Mapping[str, object] | int, count: int = 20) -> list[Mask]:
    """Return every single layer, the empty mask, the full one, and so many random ones."""
    number = layers if isinstance(layers, int) else len(layers)
    generator = torch.Generator().manual_seed(0)
    random = [
        frozenset(torch.nonzero(torch.rand(number, generator=generator) < 0.5).flatten().tolist()) for _ in range(count)
    ]
    return [frozenset(), frozenset(range(number)), *(frozenset({i}) for i in range(number)), *random]
