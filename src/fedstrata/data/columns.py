"""Which columns of a file are read, and what for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedstrata.errors import DataError


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read.

    Attributes:
        text: Column of texts; exclusive with ``image`` and ``question``.
        image: Column of images: encoded bytes, or paths from the folder of the file, or from ``image_folder``.
        label: Column of labels: numbers from 0, or names; of questions, the position of the right choice.
        natural_id: Column whose values name the clients; ``None`` to read no such column.
        disjoint: Column of which no two clients may share a value; ``None`` to read no such column.
        question: Column of questions; with ``choices``.
        choices: Column of lists of choices.

    Example:
        >>> Columns(text="note", label="outcome").input
        'note'
    """

    text: str | None = None
    image: str | None = None
    label: str = "label"
    natural_id: str | None = None
    disjoint: str | None = None
    question: str | None = None
    choices: str | None = None
    image_folder: Path | None = None

    @property
    def further(self) -> tuple[str, ...]:
        """Columns of which every usable row has a value, for partitioning by them."""
        return tuple(name for name in (self.natural_id, self.disjoint) if name is not None)

    @property
    def input(self) -> str:
        """Name of the input column.

        Raises:
            DataError: None or several are given.
        """
        given = [name for name in (self.text, self.image, self.question) if name is not None]
        if len(given) != 1:
            raise DataError("data: give one input column, either 'text' or 'image', or 'question' with 'choices'")
        return given[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all columns that inputs are made of."""
        return (self.input,) if self.choices is None else (self.input, self.choices)
