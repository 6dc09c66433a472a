"""Which sketches of gradients a run's probes send: those that the selector reads, or the record of the error."""

from __future__ import annotations

from collections.abc import Collection

from fedstrata.config.load import Loaded
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.sketch import USUAL, Hashing
from fedstrata.errors import ConfigError
from fedstrata.selectors.protocol import sketch_of


def sketch_plan(loaded: Loaded) -> Hashing | None:
    """Return the sketch of a run, or ``None`` where neither selector nor theory reads one.

    Example:
        See ``tests/assembly/test_sketches.py``.
    """
    dimension = sketch_of(loaded.components.selector) or theory_sketch(loaded)
    return Hashing(Seeds(loaded.config.seed).integer(Phase.SKETCH), dimension) if dimension else None


def theory_sketch(loaded: Loaded) -> int:
    """Return the numbers of the sketches that the record of the error needs; 0 where it needs none.

    Example:
        See ``tests/assembly/test_sketches.py``.
    """
    return USUAL if loaded.config.theory == "sketch" else 0


def check_sketches(selector: str, probed: Collection[ClientId]) -> None:
    """Refuse sketches under a selector that asks for no probes.

    Args:
        selector: Its name.
        probed: The clients that it ever probes.

    Raises:
        ConfigError: They are none.

    Example:
        See ``tests/assembly/test_sketches.py``.
    """
    if not probed:
        raise ConfigError(f"sketches come with probes, and selector '{selector}' asks for none; set theory: exact")
