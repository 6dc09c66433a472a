"""What is said of rows in files: which columns are read, how the files are written, what is made of a row.

Every kind of data from files, a site's own file and what a server says of a run extend these records.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedstrata.errors import DataError

Input = Literal["text", "image", "choice"]
"""What a model is given."""


@dataclass(frozen=True, kw_only=True)
class NamedColumns:
    """Columns of inputs and labels.

    Attributes:
        text: Column of texts; exclusive with ``image`` and ``question``.
        image: Column of images: encoded bytes, or paths.
        question: Column of questions, whose right choice ``label`` names by its position.
        choices: Column of lists of two to five choices; with ``question``.
        label: Column of labels: numbers from 0, or names.
    """

    text: str | None = None
    image: str | None = None
    question: str | None = None
    choices: str | None = None
    label: str = "label"


@dataclass(frozen=True, kw_only=True)
class FileTerms(NamedColumns):
    """Columns, and how the files that hold them are written.

    Attributes:
        separator: What separates the columns of text files, such as ``;`` or ``tab``; ``None`` finds it.
        encoding: How text files are encoded; ``None`` is UTF-8, or what a byte-order mark says.
        image_folder: Folder that paths of images start from; ``None`` is that of the file that names them.
    """

    separator: str | None = None
    encoding: str | None = None
    image_folder: str | None = None


@dataclass(frozen=True, kw_only=True)
class RowTerms:
    """What is made of each row.

    Attributes:
        held_out: Share of each client's rows that it is evaluated on, in [0, 1).
        max_length: Longer texts are cut to this many tokens.
        image_size: Height and width in pixels for a model that does not name its own.
    """

    held_out: float = 0.0
    max_length: Annotated[int, Field(le=2**31 - 1)] = 128
    image_size: Annotated[int, Field(le=2**31 - 1)] | None = None


@dataclass(frozen=True, kw_only=True)
class Columns(NamedColumns):
    """Which columns to read.

    Attributes:
        natural_id: Column whose values name the clients; ``None`` to read no such column.
        disjoint: Column of which no two clients may share a value; ``None`` to read no such column.
        image_folder: Folder that paths of images start from; ``None`` is that of the file.

    Example:
        >>> Columns(text="note", label="outcome").input
        'note'
    """

    natural_id: str | None = None
    disjoint: str | None = None
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
        if reason := odd_input(self):
            raise DataError(f"data: {reason}")
        return self.text or self.image or self.question or ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all columns that inputs are made of."""
        return (self.input,) if self.choices is None else (self.input, self.choices)


def odd_input(columns: NamedColumns) -> str | None:
    """Return why no input can be made of the columns that are named, or ``None``."""
    if sum(name is not None for name in (columns.text, columns.image, columns.question)) != 1:
        return "give one input column, either 'text' or 'image', or 'question' with 'choices'"
    if (columns.question is None) != (columns.choices is None):
        return "'question' and 'choices' go together; give both columns, or neither"
    return None
