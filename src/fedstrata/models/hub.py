"""Loads models from local Hugging Face folders: classifiers with the head that the data need, and causal models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from fedstrata.errors import ModelError
from fedstrata.models.causal_head import check_causal
from fedstrata.models.custom import load_custom as load_custom
from fedstrata.models.dividing import divided, fitted
from fedstrata.models.export import save_model as save_model
from fedstrata.models.folder_config import first_line, load_config, model_folder, quiet, set_dropout, set_outputs
from fedstrata.models.folder_config import load_processor as load_processor
from fedstrata.models.folder_config import load_tokenizer as load_tokenizer
from fedstrata.models.form import PLAIN, Form, Head, Task
from fedstrata.models.heads import check_body, give_head, head_tensors, is_given, new_tensors
from fedstrata.models.loaded import LoadedModel, seeded
from fedstrata.models.padding import padding_of, set_padding
from fedstrata.models.partition import partition
from fedstrata.pretrained import opened_weights

AUTO_CLASSES: Mapping[Task, Any] = {
    "image-classification": transformers.AutoModelForImageClassification,
    "text-classification": transformers.AutoModelForSequenceClassification,
    "multiple-choice": transformers.AutoModelForCausalLM,
}
"""The ``transformers`` family that serves each task."""

_FACTS = ("model_type", "image_size", "num_channels", "max_position_embeddings", "vocab_size", "hidden_size")


def load_model(
    path: Path | str,
    *,
    task: Task,
    labels: Sequence[str],
    head: Head = "auto",
    seed: int = 0,
    dropout: float | None = None,
    form: Form = PLAIN,
) -> LoadedModel:
    """Return a model from a local folder, in float32 and evaluation mode.

    Args:
        path: Folder with ``config.json`` and ``model.safetensors``.
        task: What to do. For ``multiple-choice`` the language-model head stays, frozen unless ``always`` names it.
        labels: Class names by index; of ``multiple-choice``, positions, which the model is not told.
        head: ``keep`` the folder's head, start a ``new`` one, or ``auto``: keep it if there is one.
        seed: Seed of a new head; the global random stream is left alone.
        dropout: Replaces every dropout probability of the configuration.
        form: How it is divided into layers and held; the matrices of an adapter follow from ``seed`` too.

    Raises:
        ModelError: The folder is missing or unreadable, its head does not fit the labels, or it cannot do the task.
        LayerError: A layer term matches nothing.
    """
    folder = model_folder(path)
    config = load_config(folder)
    set_outputs(config)
    causal = task == "multiple-choice"
    own_labels = tuple(str(config.id2label[i]) for i in sorted(config.id2label))
    if causal:
        check_causal(config, folder, head)
    else:
        _set_labels(config, labels)
    if dropout is not None:
        set_dropout(config, dropout)
    padding = padding_of(folder) if task == "text-classification" else None
    if padding is not None:
        set_padding(config, padding.model)
    model, missing, wrong = _read(folder, config, task, seed)
    layers = divided(model, form, task)
    of_head = () if causal else head_tensors(model, partition(model, blocks=form.blocks))
    check_body(folder, missing | set(wrong), of_head)
    note = None
    if not causal and is_given(folder, head, of_head, missing, wrong, len(labels)):
        note = give_head(model, of_head, own_labels, labels, folder=folder, keep=head == "keep")
    fresh = new_tensors(model, {*missing, *wrong, *(of_head if head == "new" else ())}, seed)
    layers = fitted(model, layers, form, seed=seed)
    model.requires_grad_(requires_grad=True).eval()
    return LoadedModel(
        model,
        layers,
        str(folder),
        task,
        tuple(labels),
        fresh,
        _facts(config),
        form,
        (note,) if note else (),
        tokenizer=padding.tokenizer if padding is not None else {},
    )


def task_for(config: Any, task: Task | None, folder: Path) -> Task:  # noqa: ANN401
    """Return the task, or where none is asked for the first that the architecture can do.

    Raises:
        ModelError: The architecture does not do the task.

    Example:
        >>> task_for(transformers.GPT2Config(), None, Path("gpt2"))
        'text-classification'
    """
    able: list[Task] = [name for name, auto in AUTO_CLASSES.items() if type(config) in auto._model_mapping]
    if not able or (task is not None and task not in able):
        can = f"it can do {able[0]}" if able else f"it can do neither {' nor '.join(AUTO_CLASSES)}"
        raise ModelError(f"'{folder}' holds a {config.model_type} model, which has no {task or 'classifier'}; {can}")
    return task or able[0]


def _set_labels(config: Any, labels: Sequence[str]) -> None:  # noqa: ANN401
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ModelError(f"a classifier needs two or more different labels, got {list(labels)}")
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    config.problem_type = None


def _read(
    folder: Path,
    config: Any,  # noqa: ANN401
    task: Task,
    seed: int,
) -> tuple[nn.Module, set[str], dict[str, tuple[int, ...]]]:
    """Return the model, the tensors that the folder lacks, and the shapes of those that do not fit."""
    auto = AUTO_CLASSES[task_for(config, task, folder)]
    try:
        with quiet(), seeded(seed):
            model, info = opened_weights(
                auto,
                folder,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises whatever its readers raise
        raise ModelError(f"cannot load '{folder}' for {task}: {first_line(error)}") from error
    wrong = {str(name): tuple(found) for name, found, _ in info["mismatched_keys"]}
    known = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    return model, {str(name) for name in info["missing_keys"]} & known, wrong


def _facts(config: Any) -> dict[str, int | str]:  # noqa: ANN401
    parts = (config, getattr(config, "vision_config", None))
    found = {name: getattr(part, name) for part in parts for name in _FACTS if hasattr(part, name)}
    return {name: value for name, value in found.items() if isinstance(value, (int, str))}
