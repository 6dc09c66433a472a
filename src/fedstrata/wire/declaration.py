"""What a site says of itself when it joins a run: how much it has, what it can pay, what it will not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, TypeAdapter

from fedstrata.domain.ids import LayerName
from fedstrata.domain.units import BUDGET_UNITS
from fedstrata.errors import nearest
from fedstrata.parsing.typed import plain, typed
from fedstrata.wire.messages import MOST_ROWS, Ascending

MOST_TEXT = 300
"""Letters of a name in it."""
_DEVICE = 40
"""Letters of a device's name that are kept."""


def _unit(name: str) -> str:
    if name not in BUDGET_UNITS:
        raise ValueError(f"it is no unit of a budget; {nearest(name[:MOST_TEXT], BUDGET_UNITS)}")
    return name


Text = Annotated[str, Field(max_length=MOST_TEXT)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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

    num_examples: Annotated[int, Field(ge=1, le=MOST_ROWS)]
    held_out: Annotated[int, Field(ge=0, le=MOST_ROWS)] = 0
    budget: Mapping[Annotated[str, AfterValidator(_unit)], Limit] = field(default_factory=dict)
    refused: tuple[Annotated[LayerName, Field(max_length=MOST_TEXT)], ...] = ()
    holds: Annotated[frozenset[Text], Ascending] = frozenset()
    versions: Mapping[Text, Text] = field(default_factory=dict)
    device: Text = "cpu"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        said: dict[str, Any] = plain(_DECLARATION, self)
        return said

    @classmethod
    def from_json(cls, said: object) -> Self:
        """Return what a site declared.

        Raises:
            ValueError: It is no declaration, whatever it is.
        """
        found: Self = typed(_DECLARATION, said)
        return replace(found, device=found.device[:_DEVICE])


_DECLARATION: TypeAdapter[Any] = TypeAdapter(Declaration)
