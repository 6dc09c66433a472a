"""Error messages about a user's component that returns a wrong value: its name, file and line."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedstrata.errors import ComponentError, shortened

_MOST = 80


@dataclass(frozen=True, slots=True)
class Duty:
    """One method of one component, and what it must return.

    Attributes:
        component: The component.
        method: Name of the method or property.
        must: What it must return, as the end of a sentence.
    """

    component: object
    method: str
    must: str

    def broken(self, found: object) -> ComponentError:
        """Return the error that a value of a wrong kind was returned."""
        return self.broken_by(shown(found))

    def broken_by(self, words: str) -> ComponentError:
        """Return the error that something was returned, in words."""
        return ComponentError(f"{_where(self.component, self.method)} returned {words}; it must return {self.must}")

    def listed(self, found: object) -> tuple[Any, ...]:
        """Return the members of a tuple, a list or another iterable.

        Raises:
            ComponentError: It is none; a text and a mapping are none either.
        """
        if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
            raise self.broken(found)
        return tuple(found)

    def pair(self, found: object) -> tuple[Any, Any]:
        """Return both of a pair.

        Raises:
            ComponentError: It is none.
        """
        if not isinstance(found, tuple) or len(found) != 2:
            raise self.broken(found)
        return found

    def mapping(self, found: object) -> Mapping[Any, Any]:
        """Return a mapping.

        Raises:
            ComponentError: It is none.
        """
        if not isinstance(found, Mapping):
            raise self.broken(found)
        return found


def shown(value: object) -> str:
    """Return a value as a sentence shows it.

    Example:
        >>> shown(None), shown([1, 2])
        ('None', '[1, 2] (list)')
    """
    if value is None:
        return "None"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # whatever the user's own class raises
        return f"an object of {type(value).__name__}"
    return f"{shortened(text, _MOST)} ({type(value).__name__})"


def _where(component: object, method: str) -> str:
    kind = type(component)
    found = getattr(kind, method, None)
    function = inspect.unwrap(found.fget if isinstance(found, property) and found.fget else found)  # type: ignore[arg-type]
    code = getattr(function, "__code__", None)
    name = f"{kind.__module__}:{kind.__qualname__}.{method}"
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
