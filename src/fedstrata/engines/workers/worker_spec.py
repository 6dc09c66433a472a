"""What a worker is told when it starts: where the weights lie, and how to make its handler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Self

from fedstrata.engines.protocol import ClientHandler
from fedstrata.engines.workers.layout import Layout


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a worker makes its handler: a function by name, and what it is called with.

    Attributes:
        function: ``module:function``; it is called with ``arguments`` and returns a ``ClientHandler``.
        arguments: Plain values, as JSON holds them.
    """

    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

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
        recipe = {"function": self.recipe.function, "arguments": dict(self.recipe.arguments)}
        return json.dumps({"layout": self.layout.to_json(), "recipe": recipe, "device": self.device}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return what ``to_bytes`` wrote down."""
        said = json.loads(data)
        return cls(Layout.from_json(said["layout"]), Recipe(**said["recipe"]), said["device"])
