"""The embedded data: scikit-learn's 8x8 digits, upright, shifted in the input, or in the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedstrata.data.kinds import SHIFTS, Shift
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import ConfigError, nearest

NAMES = tuple(str(i) for i in range(10))
PERMUTATION = (3, 7, 0, 9, 1, 8, 2, 5, 4, 6)
"""The label shift: a digit i is called ``PERMUTATION[i]``; no digit keeps its name."""
PRETRAIN_PER_LABEL = 60
"""Rows of each digit that only pretraining sees; the first of each in the order of the set."""
TEST_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class DigitRows:
    """Training and test rows; no row is in both, and none was seen in pretraining.

    Attributes:
        train: 899 rows for the clients.
        test: 298 rows for the server.
    """

    train: TensorRows
    test: TensorRows


def digits(shift: Shift = "none", *, seed: int = 0) -> DigitRows:
    """Return the federated digits: all but the pretraining rows, split into training and test by the seed.

    Args:
        shift: ``none``; ``input``: inverted and rotated by 90 degrees; ``label``: renamed by ``PERMUTATION``.
        seed: Chooses the test rows, a quarter of each digit.

    Raises:
        ConfigError: Unknown shift.

    Example:
        >>> rows = digits("input", seed=7)
        >>> len(rows.train), len(rows.test), tuple(rows.test.inputs["pixel_values"].shape)
        (899, 298, (298, 1, 8, 8))
    """
    if shift not in SHIFTS:
        raise ConfigError(f"digits: unknown shift '{shift}'; {nearest(shift, SHIFTS)}")
    pixels, labels = _all()
    rest = np.setdiff1d(np.arange(len(labels)), _pretrain_rows(labels))
    rng = Seeds(seed).generator(Phase.DATA, client="/digits")
    test = np.sort(np.concatenate([_some(rest[labels[rest] == label], rng) for label in range(10)]))
    train = np.setdiff1d(rest, test)
    return DigitRows(_rows(pixels, labels, train, shift), _rows(pixels, labels, test, shift))


def pretraining_digits() -> DigitRows:
    """Return the upright rows of pretraining: 600 to train on, and as test the 1197 that are federated later.

    Example:
        >>> rows = pretraining_digits()
        >>> len(rows.train), len(rows.test)
        (600, 1197)
    """
    pixels, labels = _all()
    train = _pretrain_rows(labels)
    test = np.setdiff1d(np.arange(len(labels)), train)
    return DigitRows(_rows(pixels, labels, train, "none"), _rows(pixels, labels, test, "none"))


def _all() -> tuple[Tensor, NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # a second to import, in every process, and only digits need it

    data = load_digits()
    pixels = torch.tensor(data.images / 16.0, dtype=torch.float32)[:, None]
    return pixels, np.asarray(data.target, dtype=np.int64)


def _pretrain_rows(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    first = [np.flatnonzero(labels == label)[:PRETRAIN_PER_LABEL] for label in range(10)]
    return np.sort(np.concatenate(first))


def _some(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.permutation(rows)[: round(len(rows) * TEST_SHARE)]


def _rows(pixels: Tensor, labels: NDArray[np.int64], chosen: NDArray[np.int64], shift: Shift) -> TensorRows:
    images, names = pixels[torch.from_numpy(chosen)], torch.from_numpy(labels[chosen])
    if shift == "input":
        images = torch.rot90(1.0 - images, dims=(2, 3)).contiguous()
    if shift == "label":
        names = torch.tensor(PERMUTATION)[names]
    return TensorRows({"pixel_values": images}, names)
