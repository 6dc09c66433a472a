"""Which of Flower's mods cannot be used where each client sends layers of its own, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from fedstrata.errors import ConfigError

REFUSED = {
    "secagg_mod": "secagg",
    "secaggplus_mod": "secagg",
    "fixedclipping_mod": "dp",
    "adaptiveclipping_mod": "dp",
    "LocalDpMod": "dp",
}
"""Names of Flower's mods, and what each is for."""
REASONS = {
    "secagg": (
        "Flower's secure aggregation masks sums of vectors of one shape and acts on messages of the type 'train' "
        "alone: on layers of each client's own it would let the updates through in plain text"
    ),
    "dp": (
        "Flower's differential privacy wants back exactly the tensors that it sent and sets its noise for a sum in "
        "which every client has a part of every tensor: with layers of each client's own its guarantee does not hold, "
        "and the statistics of the probe leave without any"
    ),
}
"""Why each does not work here (docs/concepts/privacy.md)."""


def refuse_mods(mods: Sequence[Any]) -> None:
    """Refuse mods that would break, or silently protect nothing.

    Raises:
        ConfigError: The first of them, with the reason.
    """
    for mod in mods:
        for name in filter(REFUSED.__contains__, _names(mod)):
            raise ConfigError(f"{name} cannot be used with fedstrata: {REASONS[REFUSED[name]]}; leave it out")


def _names(mod: Any) -> Iterator[str]:  # noqa: ANN401  a callable of Flower's or of a user's
    """Yield what a mod is called, and what is inside it where another function is put around it."""
    while isinstance(mod, partial):
        mod = mod.func
    yield getattr(mod, "__name__", "")
    yield from (kind.__name__ for kind in type(mod).__mro__)
    if hasattr(mod, "__wrapped__"):
        yield from _names(mod.__wrapped__)
