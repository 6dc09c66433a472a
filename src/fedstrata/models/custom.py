"""Loads a network from a user's own code, named ``module:function``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from fedstrata.blame import note_own, raised
from fedstrata.errors import ModelError, nearest
from fedstrata.imports import importable
from fedstrata.models.dividing import divided, fitted
from fedstrata.models.form import PLAIN, Form, Task
from fedstrata.models.loaded import LoadedModel, seeded
from fedstrata.models.model_path import is_custom as is_custom


def load_custom(
    spec: str,
    *,
    task: Task,
    labels: Sequence[str],
    seed: int = 0,
    form: Form = PLAIN,
) -> LoadedModel:
    """Return the network that ``function(num_labels)`` makes, in evaluation mode.

    Args:
        spec: ``module:function``; a module that is nowhere else is looked for in the working directory too.
        task: What to classify.
        labels: Class names by index; the function is called with their number.
        seed: Seed of torch's random stream while the function runs.
        form: How it is divided into layers and held; the matrices of an adapter follow from ``seed`` too.

    Raises:
        ModelError: There is no such module or function, or it does not return a network.
        LayerError: A layer term matches nothing.
    """
    with seeded(seed):
        model = call_model_function(spec, len(labels))
    fresh = tuple(name for name, _ in model.named_parameters())
    layers = fitted(model, divided(model, form), form, seed=seed)
    model.requires_grad_(requires_grad=True).eval()
    return LoadedModel(model, layers, spec, task, tuple(labels), fresh, form=form)


def model_function(spec: str) -> Callable[[int], object]:
    """Return the function that ``module:function`` names.

    Raises:
        ModelError: There is none, with the nearest names.
    """
    name, _, function = spec.partition(":")
    if not is_custom(spec):
        raise ModelError(f"model '{spec}' is not of the form module:function")
    note_own(name)
    beyond = nullcontext() if _exists(name) else importable(Path.cwd())  # what the configuration means comes first
    with beyond:
        if not _exists(name):
            raise ModelError(f"module '{name}' (of model '{spec}') does not exist; {_near(name)}")
        try:
            module = importlib.import_module(name)
        except Exception as error:  # whatever the user's own code raises
            raise ModelError(f"module '{name}' cannot be imported: {raised(error)}") from error
    found: Any = getattr(module, function, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"module '{name}' has no function '{function}'; {nearest(function, known)}")
    make: Callable[[int], object] = found
    return make


def _near(name: str) -> str:
    """Return which module of the folders that are looked into first is meant; the working directory is the first."""
    here = sorted({path.stem for folder in sys.path[:2] for path in Path(folder).glob("*.py")})
    return nearest(name, here) if here else "the working directory has no Python files"


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
    except ValueError:  # a module that was not imported, such as __main__
        return name in sys.modules
    except Exception as error:  # a package is run to look into it
        raise ModelError(f"the package of module '{name}' cannot be imported: {raised(error)}") from error


def call_model_function(spec: str, num_labels: int) -> nn.Module:
    """Return the network that ``module:function`` makes for so many labels.

    Raises:
        ModelError: There is no such function, it fails, or it returns something else.
    """
    make = model_function(spec)
    try:
        model = make(num_labels)
    except Exception as error:  # whatever the user's own code raises
        raise ModelError(f"{spec}({num_labels}) failed: {raised(error)}") from error
    if not isinstance(model, nn.Module):
        code = getattr(make, "__code__", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        raise ModelError(
            f"{spec}({num_labels}){where} returned {type(model).__name__}; it must return a torch.nn.Module"
        )
    return model
