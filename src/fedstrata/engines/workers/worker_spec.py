"""What a worker is told when it starts: where the weights lie, and how to make its handler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from fedstrata.engines.protocol import ClientHandler
from fedstrata.engines.workers.layout import Layout
from fedstrata.parsing.typed import plain, typed

Arguments = Annotated[Mapping[str, Any], PlainSerializer(json.dumps), BeforeValidator(json.loads)]
"""Written as a text of its own, since pydantic has no infinite numbers where it knows of no type."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a worker makes its handler: a function by name, and what it is called with.

    Attributes:
        function: ``module:function``; it is called with ``arguments`` and returns a ``ClientHandler``.
        arguments: Plain values, as JSON holds them.
    """

    function: str
    arguments: Arguments = field(default_factory=dict)

    def make(self) -> ClientHandler:
        """Import the function and call it."""
        module, _, name = self.function.partition(":")
        handler: ClientHandler = getattr(import_module(module), name)(self.arguments)
        return handler


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything that does not change while a worker lives.

    Attributes:
        layout: Where weights lie in the arena.
        recipe: How to make the handler.
        device: Where clients compute; weights are copied there unless it is ``cpu``.

    Example:
        >>> from fedstrata.domain.layers import LayerMap
        >>> told = WorkerSpec(Layout.of(LayerMap(()), {}), Recipe("module:function", {"seed": 1}))
        >>> WorkerSpec.from_bytes(told.to_bytes()) == told
        True
    """

    layout: Layout
    recipe: Recipe
    device: str = "cpu"

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(plain(_SPEC, self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return what ``to_bytes`` wrote down."""
        found: Self = typed(_SPEC, json.loads(data))
        return found


_SPEC: TypeAdapter[Any] = TypeAdapter(WorkerSpec)
