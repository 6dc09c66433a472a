"""Keeps what a model's code remembers outside of the model free of tensors that hold no numbers.

A model that is measured runs on fake tensors, and its code may keep some: in a function's ``lru_cache``, or in a
dictionary or variable of a class or a Python module, which the model with numbers shares. There it would find them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import _lru_cache_wrapper
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

_Place = type | ModuleType
_MISSING = object()


@contextmanager
def nothing_left(model: nn.Module) -> Iterator[None]:
    """Run the body, then forget what the code of a model's modules has kept of tensors without numbers.

    Args:
        model: The network, with or without numbers; itself it is not looked at.

    Example:
        See ``tests/models/test_leftovers.py``.
    """
    places = list(_places(model))
    before = {place: _copied(place) for place in places}
    filled = {cache: cache.cache_info().misses for cache in _all_caches(places)}
    try:
        yield
    finally:
        for place in places:
            _restore(place, before[place])
        for cache in _all_caches(places):
            if cache.cache_info().misses != filled.get(cache, 0):
                cache.cache_clear()  # what it held can be computed again


def _places(model: nn.Module) -> Iterator[_Place]:
    """Yield the classes of a model's modules, and the Python modules that they are defined in, each once."""
    classes = dict.fromkeys(c for module in model.modules() for c in type(module).__mro__)
    own = [c for c in classes if c.__module__.partition(".")[0] not in ("builtins", "torch", "typing")]
    yield from own
    names = dict.fromkeys(c.__module__ for c in own)
    yield from (sys.modules[name] for name in names if name in sys.modules)


def _copied(place: _Place) -> dict[str, tuple[Any, Any]]:
    """Return each variable of a place, and what it holds if that can change."""
    return {name: (value, _content(value)) for name, value in vars(place).items()}


def _content(value: Any) -> Any:  # noqa: ANN401
    return value.copy() if type(value) in (dict, list, set) else None


def _restore(place: _Place, before: dict[str, tuple[Any, Any]]) -> None:
    for name, value in list(vars(place).items()):
        was, content = before.get(name, (_MISSING, None))
        if value is was:
            if content is not None and _hollow(value):
                value.clear()
                value.extend(content) if isinstance(value, list) else value.update(content)
        elif _hollow(value):
            delattr(place, name) if was is _MISSING else setattr(place, name, was)


def _hollow(value: Any, depth: int = 3) -> bool:  # noqa: ANN401
    """Return whether a value is, or holds somewhere, a tensor without numbers."""
    if isinstance(value, Tensor):
        return isinstance(value, FakeTensor) or value.is_meta
    if not depth or not isinstance(value, dict | list | tuple | set):
        return False
    return any(_hollow(item, depth - 1) for item in (value.values() if isinstance(value, dict) else value))


def _all_caches(places: Sequence[_Place]) -> dict[_lru_cache_wrapper[Any], None]:
    return dict.fromkeys(found for place in places for value in vars(place).values() for found in _caches(value))


def _caches(value: Any, depth: int = 3) -> Iterator[_lru_cache_wrapper[Any]]:  # noqa: ANN401
    """Yield the ``lru_cache`` that a function is, or that it wraps."""
    if isinstance(value, _lru_cache_wrapper):
        yield value
    elif depth and isinstance(value, staticmethod | classmethod):
        yield from _caches(value.__func__, depth)
    elif depth and isinstance(value, FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield from _caches(cell.cell_contents, depth - 1)
            except ValueError:  # a cell that is empty still
                continue
