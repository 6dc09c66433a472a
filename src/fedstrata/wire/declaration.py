"""What a site says of itself when it joins a run: how much it has, what it can pay, what it will not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import float_info
from typing import Any, Self

from fedstrata.domain.ids import LayerName
from fedstrata.domain.units import BUDGET_UNITS
from fedstrata.wire.messages import MOST_ROWS

MOST_TEXT = 300
"""Letters of a name in it."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A site's word, given once per run; what it weighs follows from it, so it does not change while the run lasts.

    Attributes:
        num_examples: Training rows, at least 1.
        held_out: Rows that it holds out.
        budget: What it can pay per round, by unit; units without a limit are left out.
        refused: Layers that it neither trains nor sends.
        holds: Content hashes of blocks that need not be sent to it.
        versions: Versions of the packages that its bits depend on.
        device: Where it computes.

    Example:
        >>> word = Declaration(120, 12, {"layers": 2.0}, (LayerName("h.0"),))
        >>> Declaration.from_json(word.to_json()) == word
        True
    """

    num_examples: int
    held_out: int = 0
    budget: Mapping[str, float] = field(default_factory=dict)
    refused: tuple[LayerName, ...] = ()
    holds: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "num_examples": self.num_examples,
            "held_out": self.held_out,
            "budget": dict(self.budget),
            "refused": list(self.refused),
            "holds": sorted(self.holds),
            "versions": dict(self.versions),
            "device": self.device,
        }

    @classmethod
    def from_json(cls, said: object) -> Self:
        """Return what a site declared.

        Raises:
            ValueError: It is no declaration, whatever it is.
        """
        if not isinstance(said, dict) or set(said) != set(cls.__dataclass_fields__):
            raise ValueError("it is not a declaration")
        rows, held_out = said["num_examples"], said["held_out"]
        if not _whole(rows) or not 1 <= rows <= MOST_ROWS or not _whole(held_out) or not 0 <= held_out <= MOST_ROWS:
            raise ValueError(f"{_shown(rows)} rows and {_shown(held_out)} held out cannot be")
        versions = _mapping(said["versions"], "versions")
        return cls(
            num_examples=rows,
            held_out=held_out,
            budget=_limits(_mapping(said["budget"], "budget")),
            refused=tuple(LayerName(name) for name in _texts(said["refused"], "refused")),
            holds=frozenset(_texts(said["holds"], "holds")),
            versions=dict(
                zip(_texts(list(versions), "versions"), _texts(list(versions.values()), "versions"), strict=True)
            ),
            device=_texts([said["device"]], "device")[0][:40],
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _mapping(said: object, name: str) -> dict[Any, Any]:
    if not isinstance(said, dict):
        raise ValueError(f"{name} is a mapping")
    return said


def _limits(said: Mapping[Any, Any]) -> dict[str, float]:
    for unit, limit in said.items():
        known = unit in BUDGET_UNITS and isinstance(limit, int | float) and not isinstance(limit, bool)
        if not known or not 0 <= limit <= float_info.max:
            raise ValueError(f"{_shown(unit)}: {_shown(limit)} is no limit of a budget")
    return {unit: float(limit) for unit, limit in said.items()}


def _texts(said: object, name: str) -> list[str]:
    if not isinstance(said, list) or not all(isinstance(value, str) and len(value) <= MOST_TEXT for value in said):
        raise ValueError(f"{name} is made of texts of {MOST_TEXT} letters at most")
    return said


def _shown(value: object) -> str:
    """Return a value in a few letters, whatever it is; what is nested is not looked into."""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "too many"
    return repr(value)[:20] if isinstance(value, float | str | None) else f"a {type(value).__name__}"
