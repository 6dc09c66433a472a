"""How the head of a classifier begins: given by the model's folder, or new.

A given head's labels and the data's are matched by name, and by position only where the names say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedstrata.domain.layers import LayerMap
from fedstrata.errors import ModelError
from fedstrata.models.loaded import seeded

_PLACEHOLDER = re.compile(r"LABEL_\d+")
_SHOWN = 5


def head_tensors(model: nn.Module, layers: LayerMap) -> tuple[str, ...]:
    """Return the parameters of the classification head: what the classifier adds to its base model.

    Example:
        >>> import transformers
        >>> from fedstrata.models.partition import partition
        >>> config = transformers.BertConfig(hidden_size=8, num_attention_heads=2, intermediate_size=8)
        >>> with torch.device("meta"):
        ...     model = transformers.BertForSequenceClassification(config)
        >>> head_tensors(model, partition(model))
        ('classifier.weight', 'classifier.bias')
    """
    base = getattr(model, "base_model", model)
    if base is not model:
        body = {id(p) for p in base.parameters()}
        return tuple(name for name, p in model.named_parameters() if id(p) not in body)
    return tuple(name for block in layers.always if "." not in block.name for name in block.tensor_names)


def check_body(folder: Path, unread: set[str], head: Sequence[str]) -> None:
    """Refuse weights that lack anything but the head, or the pooler that leads to it."""
    odd = sorted(name for name in unread if name not in head and "pooler" not in name)
    if odd:
        raise ModelError(
            f"the weights in '{folder}' do not fit its config.json: {len(odd)} tensors are missing or of another "
            f"shape, such as '{odd[0]}'"
        )


def is_given(
    folder: Path, head: str, of_head: Sequence[str], missing: set[str], wrong: Mapping[str, tuple[int, ...]], size: int
) -> bool:
    """Return whether the folder's head is used, and refuse one that cannot be.

    Raises:
        ModelError: It has another number of labels than the data, or there is none to keep.
    """
    if head == "new":
        return False
    if wrong:
        found = next(iter(wrong.values()))[0]
        raise ModelError(f"the head in '{folder}' has {found} labels, but the data have {size}; set model.head: new")
    if missing & set(of_head):
        if head == "keep":
            raise ModelError(f"'{folder}' has no classification head to keep; set model.head: new")
        return False
    return True


def new_tensors(model: Any, names: Collection[str], seed: int) -> tuple[str, ...]:  # noqa: ANN401
    """Give these tensors fresh values by the model's own rules, whether or not the folder had them.

    Returns:
        The parameters among them, in the order of the model.
    """
    fresh = tuple(name for name, _ in model.named_parameters() if name in names)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        tensor._is_hf_initialized = name not in fresh
    for module in model.modules():
        module.__dict__.pop("_is_hf_initialized", None)
    with seeded(seed), torch.no_grad():
        model.initialize_weights()
    for _, tensor in tensors:
        del tensor._is_hf_initialized
    return fresh


def give_head(
    model: nn.Module, head: Sequence[str], own: Sequence[str], labels: Sequence[str], *, folder: Path, keep: bool
) -> str | None:
    """Put the outputs of a folder's head in the order of the data's labels, and return what had to be decided.

    Args:
        model: A classifier of transformers, whose configuration names its labels.
        head: Names of the head's tensors.
        own: Names of the head's labels, by index.
        labels: Those of the data.
        folder: The model's folder, for errors.
        keep: Whether the configuration insists on the head, though its names are others.

    Raises:
        ModelError: The labels are not the same ones.
    """
    match = match_labels(own, labels, folder=folder, keep=keep)
    reorder(model, head, match.order)
    return match.note


@dataclass(frozen=True, slots=True)
class Match:
    """Which of a head's labels each label of the data is.

    Attributes:
        order: Index in the head of each label of the data.
        note: What had to be decided, as one sentence.
    """

    order: tuple[int, ...]
    note: str | None = None


def match_labels(own: Sequence[str], labels: Sequence[str], *, folder: Path, keep: bool) -> Match:
    """Return which of a head's labels each label of the data is.

    Args:
        own: Names of the head's labels, by index, as the model's configuration has them.
        labels: Those of the data, one per output of the head.
        folder: The model's folder, for errors.
        keep: Whether the configuration insists on the head, though its names are others.

    Raises:
        ModelError: Both have names, and they are not the same ones or not equally many.

    Example:
        >>> match_labels(["POSITIVE", "NEGATIVE"], ["negative", "positive"], folder=Path("m"), keep=False).order
        (1, 0)
    """
    by_position = tuple(range(len(labels)))
    if list(own) == list(labels):
        return Match(by_position)
    if len(own) != len(labels):
        return _unnamed(own, labels, folder, keep=keep)
    for spell in (str, _plain):
        place = {spell(name): i for i, name in enumerate(own)}
        if len(place) == len(own) == len({spell(name) for name in labels} & set(place)):
            order = tuple(place[spell(name)] for name in labels)
            return Match(order, f"the head's labels are matched by name: {_pairs(labels, [own[i] for i in order])}")
    alike = {_plain(name) for name in own} & {_plain(name) for name in labels}
    silent = _say_nothing(own) or _say_nothing(labels)
    if silent or (keep and not alike):
        why = "whose names say nothing" if silent else "whose names are others"
        return Match(by_position, f"the head's labels, {why}, are taken by position: {_pairs(labels, own)}")
    what = f"rename the data's labels to the head's, such as {own[0]}, or set model.head: new"
    if not alike:
        what += ", or keep to use it by position"
    raise ModelError(
        f"the head in '{folder}' was trained for the labels {_some(own)}, but the data have {_some(labels)}; {what}"
    )


def _unnamed(own: Sequence[str], labels: Sequence[str], folder: Path, *, keep: bool) -> Match:
    """Take a head's outputs by position where its configuration names more of them, or fewer, than it has."""
    if not (keep or _say_nothing(own)):
        raise ModelError(
            f"config.json in '{folder}' names {len(own)} labels ({_some(own)}) for a head of {len(labels)}; mend its "
            "id2label, or set model.head: new, or keep to use the head by position"
        )
    outputs = [f"output {number}" for number in range(len(labels))]
    return Match(
        tuple(range(len(labels))),
        f"config.json does not name the head's labels, which are taken by position: {_pairs(labels, outputs)}",
    )


def reorder(model: nn.Module, head: Sequence[str], order: Sequence[int]) -> None:
    """Put the outputs of a head in the order of the data's labels.

    Args:
        model: A classifier of transformers, whose configuration names its labels.
        head: Names of the head's tensors.
        order: Index in the head of each label of the data.

    Example:
        See ``tests/models/test_heads.py``.
    """
    if list(order) == sorted(order):
        return
    index = torch.tensor(order)
    larger = dict(_with_one_label_more(model).named_parameters())
    tensors = {name: tensor for name, tensor in model.named_parameters() if name in head}
    with torch.no_grad():
        for name, tensor in tensors.items():
            for dim, (size, more) in enumerate(zip(tensor.shape, larger[name].shape, strict=True)):
                if size != more:  # what grows with the number of labels has one entry per label
                    tensor.copy_(tensor.index_select(dim, index))


def _with_one_label_more(model: Any) -> nn.Module:  # noqa: ANN401
    config = deepcopy(model.config)
    config.num_labels += 1
    with torch.device("meta"):
        return type(model)(config)  # type: ignore[no-any-return]


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _say_nothing(names: Sequence[str]) -> bool:
    return all(_PLACEHOLDER.fullmatch(name) or name.isdecimal() for name in names)


def _pairs(labels: Sequence[str], own: Sequence[str]) -> str:
    pairs = [f"{label} is {name}" for label, name in zip(labels, own, strict=True)]
    return ", ".join(pairs[:_SHOWN]) + (", ..." if len(pairs) > _SHOWN else "")


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
