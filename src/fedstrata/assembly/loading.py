"""Model and data of a configuration: each needs a fact of the other, and both keep their place in the file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fedstrata.config.load import Loaded
from fedstrata.data.choice import prepare_choices
from fedstrata.data.kinds import Digits, FromFiles, Own, Remote
from fedstrata.data.load import Prepare, load_data
from fedstrata.data.tensors import FederatedData
from fedstrata.data.text import prepare_texts
from fedstrata.data.vision import image_processor, prepare_images
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import ConfigError, DataError, LayerError, ModelError
from fedstrata.imports import importable
from fedstrata.models.custom import is_custom
from fedstrata.models.failing import most_tokens
from fedstrata.models.folder_config import load_config as load_model_config
from fedstrata.models.folder_config import model_folder
from fedstrata.models.form import Task
from fedstrata.models.hub import load_custom, load_model, load_tokenizer
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.padding import padded_tokenizer
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Loc, Problem, config_error, located

TASKS: Mapping[str, Task] = {
    "text": "text-classification",
    "image": "image-classification",
    "choice": "multiple-choice",
}
"""What a model does with each kind of input."""


def check_kind(loaded: Loaded, *, here: bool) -> None:
    """Refuse data that a run cannot be made of.

    Args:
        loaded: The configuration.
        here: Whether clients work on this machine, so that their rows have to be here.

    Raises:
        ConfigError: One site's own rows, which are no run; or rows that lie at the sites where they have to be here.
    """
    source = loaded.components.data
    if isinstance(source, Own):
        message = "kind 'own' is what a site makes of its own rows, and no run; give kind files, or kind remote"
    elif isinstance(source, Remote) and here:
        message = "the rows lie at the sites; use engine: flower, or data kind files"
    else:
        return
    raise config_error([Problem(("data",), message)], loaded.marks)


def load_rows(loaded: Loaded) -> FederatedData:
    """Load every client's rows, prepared for the model.

    Raises:
        ConfigError: The model's folder cannot prepare them.
        DataError: The data cannot be used.
    """
    source = loaded.components.data
    task_of(loaded)
    try:
        prepare = None if isinstance(source, Digits) else _prepare(source, loaded)
    except ModelError as error:
        raise config_error([Problem(("model", "path"), str(error))], loaded.marks) from error
    try:
        return load_data(source, seed=loaded.config.seed, prepare=prepare, cache=cache_folder(), base=loaded.base)
    except ModelError as error:  # its tokenizer or its image preprocessing
        raise config_error([Problem(("model", "path"), str(error))], loaded.marks) from error
    except ConfigError as error:
        raise config_error([Problem(("data",), str(error))], loaded.marks) from error
    except DataError as error:
        raise DataError(located(Problem(("data",), str(error)), loaded.marks)) from error


def load_network(loaded: Loaded, data: FederatedData) -> LoadedModel:
    """Load the model: a classifier with a head for the data's labels, or a causal model with its own head.

    Raises:
        ConfigError: The model or a layer term does not fit.
    """
    section = loaded.config.model
    options: dict[str, Any] = {
        "task": task_of(loaded),
        "labels": data.labels,
        "seed": Seeds(loaded.config.seed).integer(Phase.MODEL),
        "form": section,
    }
    try:
        if is_custom(section.path):
            with importable(loaded.base):
                return load_custom(section.path, **options)
        return load_model(model_path(loaded), head=section.head, **options)
    except LayerError as error:
        raise config_error([Problem(blamed(loaded, str(error)), str(error))], loaded.marks) from error
    except ModelError as error:
        raise config_error([model_problem(error)], loaded.marks) from error


def model_problem(error: ModelError) -> Problem:
    """Return a model's problem with the key that it is about: the one that the message starts with, or the path.

    Example:
        >>> model_problem(ModelError("model.adapter: LoRA needs peft")).loc, model_problem(ModelError("no folder")).loc
        (('model', 'adapter'), ('model', 'path'))
    """
    found = re.match(r"model\.(\w+): ", str(error))
    return Problem(("model", found[1] if found else "path"), str(error)[found.end() if found else 0 :])


def model_path(loaded: Loaded) -> str | Path:
    """Return the folder of the configuration's model, or the name of an embedded one.

    Raises:
        ConfigError: The folder is in the home of a user that does not exist.
    """
    path = loaded.config.model.path
    if path.startswith("embedded:"):
        return path
    return loaded.at(("model", "path"), lambda: loaded.base / expanded(path))


def cache_folder() -> Path:
    """Return where prepared tensors are kept: ``FEDSTRATA_CACHE``, or ``~/.cache/fedstrata``."""
    given = os.environ.get("FEDSTRATA_CACHE")
    if given:
        return Path(given)
    try:
        return Path.home() / ".cache" / "fedstrata"
    except RuntimeError:  # a user without a home, as in some containers: nothing can be kept there, which is said
        return Path(os.devnull) / "fedstrata"


def task_of(loaded: Loaded) -> Task:
    """Return what the data and the configuration have the model do.

    Raises:
        ConfigError: They contradict each other.
    """
    source, asked = loaded.components.data, loaded.config.model.task
    found = TASKS[source.input]
    if asked is not None and asked != found:
        message = f"{asked} does not fit the data, whose inputs are for {found}; leave it out"
        raise config_error([Problem(("model", "task"), message)], loaded.marks)
    return found


def blamed(loaded: Loaded, message: str) -> Loc:
    """Return the key whose layer term a message is about, or the whole section where that is not clear."""
    section, given = loaded.config.model, []
    for key in ("candidates", "always", "never", "blocks"):
        value = getattr(section, key)
        terms = value if isinstance(value, tuple) else (value,)
        if key in section.model_fields_set and any(_names(message, str(t)) for t in terms):
            given.append(key)
    return ("model", given[0]) if len(given) == 1 else ("model",)


def _names(message: str, term: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(term)}(?!\w)", message) is not None


def _prepare(source: FromFiles, loaded: Loaded) -> Prepare:
    if is_custom(loaded.config.model.path):
        return _prepare_for_custom(source)
    folder = model_folder(model_path(loaded))
    if source.input == "text":
        tokenizer, note = padded_tokenizer(folder)
        most = min(source.max_length, most_tokens(load_model_config(folder), tokenizer))
        texts = partial(prepare_texts, tokenizer=tokenizer, max_length=most, note=note)
        return lambda table: texts(table, cache=cache_folder())
    if source.input == "choice":
        tokenizer = load_tokenizer(folder)
        most = min(source.max_length, most_tokens(load_model_config(folder), tokenizer))
        choices = partial(prepare_choices, tokenizer=tokenizer, max_length=most)
        return lambda table: choices(table, cache=cache_folder())
    facts = load_model_config(folder)
    facts = getattr(facts, "vision_config", facts)
    size = getattr(facts, "image_size", None)
    processor = image_processor(
        folder, size=size if isinstance(size, int) else None, channels=getattr(facts, "num_channels", 3)
    )
    return lambda table: prepare_images(table, processor=processor, cache=cache_folder())


def _prepare_for_custom(source: FromFiles) -> Prepare:
    if source.image is None or source.image_size is None:
        raise ModelError(
            "a model given as module:function brings no tokenizer or image size; "
            "give data.image_size for images, or save the model as a Hugging Face folder"
        )
    processor = image_processor(size=source.image_size)
    return lambda table: prepare_images(table, processor=processor, cache=cache_folder())
