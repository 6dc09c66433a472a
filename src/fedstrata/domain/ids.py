"""The names that identify clients, layers and tensors everywhere."""

from __future__ import annotations

from typing import NewType

ClientId = NewType("ClientId", str)
"""A stable client name, the same in every round and under every engine."""

LayerName = NewType("LayerName", str)
"""The path of a selectable block inside its model, such as ``vit.layers.3``."""

TensorName = NewType("TensorName", str)
"""The key of a parameter or buffer in the model's state dict."""
