"""A step that the suite knows is the step that would be measured."""

from __future__ import annotations

import transformers as tf
from torch import Tensor, nn, ones

from fedstrata.domain.profile import StepProfile
from fedstrata.models.objective import Classification
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step
from known_steps import Known


def small(inner: int = 8, layers: int = 2) -> tf.BertForSequenceClassification:
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": inner, "num_hidden_layers": layers}
    return tf.BertForSequenceClassification(tf.BertConfig(vocab_size=9, num_labels=3, **sizes))


def batch(rows: int) -> dict[str, Tensor]:
    return {"input_ids": ones(rows, 5).long(), "attention_mask": ones(rows, 5).long()}


def test_equal_steps_are_measured_once_and_all_others_anew() -> None:
    measured: list[nn.Module] = []
    first, again = small(), small()
    profile = measure_step(first, partition(first), batch(4))
    assert repr(measure_step(again, partition(again), batch(4))) == repr(profile)

    def measure(model: nn.Module, *_: object, **__: object) -> StepProfile:
        measured.append(model)
        return profile

    known = Known(measure)
    for model in (first, again):
        assert known(model, partition(model), batch(4), Classification()) is profile
    assert measured == [first]
    changed = small()
    changed.dropout.forward = lambda hidden: hidden
    frozen = small()
    frozen.classifier.bias.requires_grad_(requires_grad=False)
    for model, rows, options in (
        (first, 5, {}),
        (small(inner=12), 4, {}),
        (small(layers=3), 4, {}),
        (first, 4, {"checkpointing": True}),
        (changed, 4, {}),
        (changed, 4, {}),
        (frozen, 4, {}),
    ):
        measured.clear()
        known(model, partition(model), batch(rows), Classification(), **options)
        assert measured == [model]
