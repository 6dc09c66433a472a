"""Images that are changed at random: each change against its own definition, and scipy's interpolation."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from fedstrata.errors import ConfigError
from fedstrata.trainers.augmented import Augmented
from fedstrata.trainers.images import OPERATIONS, REACH, distorted, flipped, operated, shifted


def images(rows: int = 3, height: int = 7, width: int = 9) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(rows, 3, height, width))).float()


def test_flips_are_mirror_images_and_as_many_as_the_chance_says() -> None:
    torch.manual_seed(0)
    before = images(400)
    after = flipped(before, 0.25)
    kinds = ["same" if torch.equal(a, b) else "flip" for a, b in zip(after, before, strict=True)]
    assert all(torch.equal(a, b.flip(-1)) for a, b, k in zip(after, before, kinds, strict=True) if k == "flip")
    assert 70 <= kinds.count("flip") <= 130
    assert torch.equal(flipped(before, 1.0), before.flip(-1))


def test_shifts_move_whole_pixels_and_bring_zeros_in() -> None:
    torch.manual_seed(0)
    before = images(300)
    seen = set()
    for image, moved in zip(before, shifted(before, 2), strict=True):
        for y in range(-2, 3):
            for x in range(-2, 3):
                expected = np.zeros_like(image.numpy())
                rows = [r for r in range(7) if 0 <= r + y < 7]
                columns = [c for c in range(9) if 0 <= c + x < 9]
                expected[:, np.array(rows)[:, None] + y, np.array(columns) + x] = image.numpy()[
                    :, np.array(rows)[:, None], columns
                ]
                if np.array_equal(expected, moved.numpy()):
                    seen.add((y, x))
                    break
            else:
                continue
            break
        else:
            raise AssertionError("no shift of at most 2 pixels")
    assert len(seen) == 25


def by_scipy(image: Tensor, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image sampled at matrix times place, places in pixels from the centre, bilinear, zeros outside."""
    height, width = image.shape[-2:]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    linear, shift = matrix[:, :2], matrix[:, 2]
    offset = centre - linear @ centre + shift
    padded = np.pad(image.numpy().astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    offset = offset + 1 - linear @ np.ones(2)
    return np.stack([ndimage.affine_transform(c, linear, offset, order=1, mode="constant") for c in padded])[
        :, 1:-1, 1:-1
    ]


@pytest.mark.parametrize("strength", [-0.7, 0.0, 0.4, 1.0])
def test_geometry_is_scipys(strength: float) -> None:
    """In rows and columns; torch's places run from -1 to 1 along each side, so a shear scales with the sides."""
    (image,) = images(1)
    height, width = image.shape[-2:]
    angle = strength * REACH["rotate"]
    matrices = {
        "shear-x": [[1, 0, 0], [strength * 0.3 * width / height, 1, 0]],
        "shear-y": [[1, strength * 0.3 * height / width, 0], [0, 1, 0]],
        "translate-x": [[1, 0, 0], [0, 1, strength * 0.45 * width]],
        "translate-y": [[1, 0, strength * 0.45 * height], [0, 1, 0]],
        "rotate": [[cos(angle), sin(angle), 0], [-sin(angle), cos(angle), 0]],
    }
    for operation, matrix in matrices.items():
        expected = by_scipy(image, np.array(matrix, dtype=np.float64))
        np.testing.assert_allclose(operated(image, operation, strength).numpy(), expected, atol=2e-5, err_msg=operation)


def test_the_largest_angle_is_thirty_degrees() -> None:
    assert REACH["rotate"] == pytest.approx(30 * pi / 180)


def test_colours() -> None:
    (image,) = images(1)
    x = image.numpy().astype(np.float64)
    np.testing.assert_allclose(operated(image, "brightness", 0.5).numpy(), x + 0.45, atol=1e-6)
    np.testing.assert_allclose(operated(image, "contrast", -1.0).numpy(), x.mean() + (x - x.mean()) * 0.1, atol=1e-6)
    grey = x.mean(0, keepdims=True)
    np.testing.assert_allclose(operated(image, "saturation", 1.0).numpy(), grey + (x - grey) * 1.9, atol=1e-5)
    smooth = x.copy()
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    smooth[:, 1:-1, 1:-1] = np.stack([ndimage.convolve(c, kernel) for c in x])[:, 1:-1, 1:-1]
    np.testing.assert_allclose(operated(image, "sharpness", -1.0).numpy(), smooth + (x - smooth) * 0.1, atol=1e-5)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_strength_is_no_change(operation: str) -> None:
    (image,) = images(1)
    torch.testing.assert_close(operated(image, operation, 0.0), image, atol=1e-5, rtol=0)


def test_each_row_has_an_operation_of_its_own_in_both_directions() -> None:
    torch.manual_seed(0)
    row = images(1)
    found = distorted(row.expand(400, -1, -1, -1), 0.5)
    kinds = {
        (operation, sign)
        for image in found
        for operation in OPERATIONS
        for sign in (-1, 1)
        if torch.equal(image, operated(row[0], operation, sign * 0.5))
    }
    assert len(kinds) == 2 * len(OPERATIONS)


def test_a_batch_is_changed_in_the_order_that_is_said_and_only_its_images() -> None:
    before, mask, labels = images(), torch.ones(3), torch.arange(3)
    torch.manual_seed(5)
    after, same = Augmented(flip=1.0, shift=1, randaugment=1).batch({"pixel_values": before, "mask": mask}, labels)
    torch.manual_seed(5)
    torch.rand(3)  # the chances of the flips
    expected = distorted(shifted(before.flip(-1), 1), 9 / 30)
    assert torch.equal(after["pixel_values"], expected)
    assert after["mask"] is mask
    assert same is labels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.5}, r"'augmented' has flip: 1\.5; it must be from 0 to 1"),
        ({"shift": -1}, "'augmented' has shift: -1; it must be from 0 to 128"),
        ({"randaugment": 17}, "'augmented' has randaugment: 17; it must be from 0 to 16"),
        ({"magnitude": float("nan")}, "'augmented' has magnitude: nan; it must be from 0 to 30"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Augmented(**options)  # type: ignore[arg-type]
