"""Random changes of images as tensors: shape ``[rows, channels, height, width]``, zero is the mean colour.

Numbers are drawn from torch's default generator. Every function returns a new tensor, and draws one change per row.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample

AFFINE = ("shear-x", "shear-y", "translate-x", "translate-y", "rotate")
COLOUR = ("brightness", "contrast", "saturation", "sharpness")
OPERATIONS = ("identity", *AFFINE, *COLOUR)
"""What ``distorted`` draws from, with equal chances."""
REACH = {"shear-x": 0.3, "shear-y": 0.3, "translate-x": 0.9, "translate-y": 0.9, "rotate": pi / 6}
"""Largest shear, shift in half image sizes (0.45 of the image), and angle."""
_STRONGEST_COLOUR = 0.9
_SMOOTH = ((1.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 1.0))
"""The filter that sharpness blends with; divided by its sum, 13."""


def flipped(images: Tensor, chance: float) -> Tensor:
    """Mirror rows left to right, each with a chance."""
    chosen = torch.rand(len(images)) < chance
    return torch.where(chosen.to(images.device)[:, None, None, None], images.flip(-1), images)


def shifted(images: Tensor, most: int) -> Tensor:
    """Move each row by whole pixels, at most so many in each direction; zeros come in."""
    height, width = images.shape[-2:]
    moved = torch.zeros_like(images)
    for i, (y, x) in enumerate((torch.randint(0, 2 * most + 1, (len(images), 2)) - most).tolist()):
        (rows, from_rows), (columns, from_columns) = _overlap(height, y), _overlap(width, x)
        moved[i, :, rows, columns] = images[i, :, from_rows, from_columns]
    return moved


def _overlap(size: int, by: int) -> tuple[slice, slice]:
    """Return where the pixels that stay in an image of this size come to lie, and where they lay.

    Example:
        >>> _overlap(8, 3), _overlap(8, -9)
        ((slice(0, 5, None), slice(3, 8, None)), (slice(8, 8, None), slice(0, 0, None)))
    """
    by = min(max(by, -size), size)
    start, stop = max(0, -by), min(size, size - by)
    return slice(start, stop), slice(start + by, stop + by)


def distorted(images: Tensor, strength: float) -> Tensor:
    """Do one operation to each row, in a direction that is drawn, too.

    Args:
        images: The images.
        strength: From 0 for none to 1.
    """
    drawn = torch.randint(len(OPERATIONS), (len(images),)).tolist()
    signs = (torch.randint(2, (len(images),)) * 2 - 1).tolist()
    changed = torch.empty_like(images)
    for i, (operation, sign) in enumerate(zip(drawn, signs, strict=True)):
        changed[i] = operated(images[i], OPERATIONS[operation], sign * strength)
    return changed


def operated(image: Tensor, operation: str, strength: float) -> Tensor:
    """Do an operation to one image.

    Args:
        image: Shape ``[channels, height, width]``.
        operation: One of ``OPERATIONS``.
        strength: From -1 to 1; 0 leaves the image as it is.
    """
    if operation in AFFINE:
        return _moved(image, operation, strength * REACH[operation])
    change = strength * _STRONGEST_COLOUR
    if operation == "brightness":
        return image + change
    if operation == "contrast":
        return torch.lerp(image.mean().expand_as(image), image, 1 + change)
    if operation == "saturation":
        return torch.lerp(image.mean(0, keepdim=True).expand_as(image), image, 1 + change)
    if operation == "sharpness":
        return torch.lerp(_smoothed(image), image, 1 + change)
    return image.clone()


def _moved(image: Tensor, operation: str, by: float) -> Tensor:
    """Sample an image at places that are sheared, shifted or turned; bilinear, zeros outside."""
    height, width = image.shape[-2:]
    matrix = torch.eye(2, 3)
    if operation == "shear-x":
        matrix[0, 1] = by
    elif operation == "shear-y":
        matrix[1, 0] = by
    elif operation.startswith("translate"):
        matrix["xy".index(operation[-1]), 2] = by
    else:
        # places run from -1 to 1 along both sides, so the angle needs the sides' ratio to stay one
        cosine, sine = torch.cos(torch.tensor(by)), torch.sin(torch.tensor(by))
        matrix[:, :2] = torch.stack(
            (torch.stack((cosine, -sine * height / width)), torch.stack((sine * width / height, cosine)))
        )
    grid = affine_grid(matrix[None].to(image), [1, *image.shape], align_corners=False)
    return grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _smoothed(image: Tensor) -> Tensor:
    """Return an image under the smoothing filter; pixels at the edge stay."""
    kernel = torch.tensor(_SMOOTH, dtype=image.dtype, device=image.device) / 13
    inside = conv2d(image[:, None], kernel[None, None])[:, 0]
    smooth = image.clone()
    smooth[:, 1:-1, 1:-1] = inside
    return smooth
