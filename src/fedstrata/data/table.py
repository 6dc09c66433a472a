"""Tables: labelled texts, images or questions as they were read, images still in their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedstrata.data.images import Images
from fedstrata.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A column of texts.

    Attributes:
        values: One text per row, none of them blank.
    """

    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.int64]) -> Texts:
        """Return some rows of the column."""
        return Texts(tuple(self.values[i] for i in rows))


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """A column of questions with their choices.

    Attributes:
        values: The question of each row, and its choices in order, none of them blank.
    """

    values: tuple[tuple[str, tuple[str, ...]], ...]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.int64]) -> Questions:
        """Return some rows of the column."""
        return Questions(tuple(self.values[i] for i in rows))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Labelled rows as they were read.

    Attributes:
        inputs: The input column.
        labels: Shape ``[rows]``, int64, 0-based.
        names: Name of each label, by index.
        where: Shape ``[rows, 2]``, int64: the file and the 0-based row inside it.
        files: Name of each file.
        fingerprint: Hash of the content of these rows; equal content, equal fingerprint.
        columns: Further columns as text, for partitioning by one of them.
        sites: Name of the site that each row came from; empty where files are not sites.
        dropped: Number of rows left out, by reason.
        notes: What reading had to decide, one sentence each.
        declared: Whether a file declares the names, so that a number is the index of one.
    """

    inputs: Texts | Images | Questions
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    where: NDArray[np.int64]
    files: tuple[str, ...]
    fingerprint: str
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sites: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    declared: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def holds(self) -> str:
        """What the rows are, for error messages."""
        return type(self.inputs).__name__.lower()

    def place(self, row: int) -> str:
        """Return where a row came from, for error messages."""
        part, index = self.where[row]
        return f"{self.files[part]} row {index}"

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Return some rows as a table of their own."""
        mark = sha256(self.fingerprint.encode() + np.ascontiguousarray(rows, dtype="<i8").tobytes())
        return replace(
            self,
            inputs=self.inputs.take(rows),
            labels=self.labels[rows],
            where=self.where[rows],
            fingerprint=mark.hexdigest(),
            columns={name: tuple(values[i] for i in rows) for name, values in self.columns.items()},
            sites=tuple(self.sites[i] for i in rows) if self.sites else (),
        )

    def images(self) -> Iterator[Image.Image]:
        """Yield the decoded images in order.

        Raises:
            DataError: The rows are no images, or an image is missing or damaged.
        """
        if not isinstance(self.inputs, Images):
            raise DataError(f"{self.files[0]} holds {self.holds}, not images; set 'image' to an image column")
        for row in range(len(self)):
            try:
                yield self.inputs.open(row)
            except OSError as error:
                raise DataError(
                    f"{self.place(row)}: the image cannot be read ({error}); repair or remove the row"
                ) from error

    def texts(self) -> tuple[str, ...]:
        """Return the texts in order.

        Raises:
            DataError: The rows are no texts.
        """
        if not isinstance(self.inputs, Texts):
            raise DataError(f"{self.files[0]} holds {self.holds}, not texts; set 'text' to a text column")
        return self.inputs.values

    def questions(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the questions in order, each with its choices.

        Raises:
            DataError: The rows are no questions.
        """
        if not isinstance(self.inputs, Questions):
            raise DataError(
                f"{self.files[0]} holds {self.holds}, not questions; set 'question' and 'choices' to their columns"
            )
        return self.inputs.values
