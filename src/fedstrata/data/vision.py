"""Images to ``pixel_values`` by transformers' PIL processors: once, batch-wise, cached as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from fedstrata.data.cache import cached, write_float32
from fedstrata.data.identity import processor_identity
from fedstrata.data.table import Table
from fedstrata.data.tensors import TensorRows
from fedstrata.errors import DataError, ModelError
from fedstrata.pretrained import opened

PIXELS = "pixel_values"
MOST_SIDE = 4096
"""Pixels of a side that a model's preprocessing may make of an image: each image takes as much memory as it says."""
_BATCH_BYTES = 1 << 28
"""Bytes of decoded images in memory at a time, at most, but never less than one image."""


_MEND = "mend its preprocessor_config.json"


@dataclass(frozen=True, slots=True, eq=False)
class ImageProcessor:
    """A model's image preprocessing.

    Attributes:
        processor: A PIL image processor of transformers.
        channels: 1 for greyscale, 3 for RGB: what images are converted to first.
        note: What had to be assumed, as one sentence.
    """

    processor: Any
    channels: int
    note: str | None = None


def image_processor(
    folder: Path | None = None,
    *,
    size: int | None = None,
    channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> ImageProcessor:
    """Return the image preprocessing of a model folder, or one of a given size where the folder has none.

    Args:
        folder: A model folder; its ``preprocessor_config.json`` counts.
        size: Height and width in pixels, for a folder without one.
        channels: Channels of the model's input.
        mean: Mean per channel, in [0, 1]; 0.5 by default.
        std: Standard deviation per channel; 0.5 by default.

    Raises:
        ModelError: The file cannot be used, or there is none and no size is given.

    Example:
        >>> image_processor(size=8, channels=1).note
        'no preprocessor_config.json: images are scaled to 8x8 with mean [0.5] and standard deviation [0.5]'
    """
    if folder is not None and (folder / "preprocessor_config.json").is_file():
        return _loaded(folder, channels)
    if size is None:
        where = f"{folder.name}/ has no preprocessor_config.json" if folder else "the model names no image size"
        raise ModelError(f"{where}; add one, or give the image size")
    if size > MOST_SIDE:
        raise ModelError(f"image_size: {size:,} pixels are more than the {MOST_SIDE:,} that images may have; lower it")
    mean, std = list(mean or [0.5] * channels), list(std or [0.5] * channels)
    processor = ViTImageProcessorPil(size={"height": size, "width": size}, image_mean=mean, image_std=std)
    note = (
        f"no preprocessor_config.json: images are scaled to {size}x{size} with mean {mean} and standard deviation {std}"
    )
    return ImageProcessor(processor, channels, note)


def _loaded(folder: Path, channels: int) -> ImageProcessor:
    try:
        processor = opened(AutoImageProcessor, folder, backend="pil")
        held = processor.to_dict()
    except Exception as error:  # transformers raises whatever its readers raise
        cause = str(error).split("\n")[0]
        raise ModelError(f"{folder.name}/preprocessor_config.json cannot be used: {cause}") from error
    side = max((side for key in ("size", "crop_size") for side in _sides(held.get(key))), default=0)
    if side > MOST_SIDE:
        raise ModelError(
            f"{folder.name}/preprocessor_config.json makes images of {side:,} pixels; {MOST_SIDE:,} at most"
        )
    mean = getattr(processor, "image_mean", None)
    norm = len(mean) if getattr(processor, "do_normalize", False) and isinstance(mean, list | tuple) else channels
    if norm != channels:
        raise ModelError(
            f"{folder.name}/preprocessor_config.json normalises {norm} channels, but the model takes {channels}"
        )
    return ImageProcessor(processor, channels)


def _sides(size: object) -> Iterator[float]:
    values = size.values() if isinstance(size, Mapping) else [size]
    yield from (value for value in values if isinstance(value, int | float))


def prepare_images(table: Table, *, processor: ImageProcessor, cache: Path, batch: int = 256) -> TensorRows:
    """Return a table of images as model inputs.

    Args:
        table: Rows with images of any size and mode.
        processor: The model's preprocessing.
        cache: Folder for the tensors; a second call with equal content reads them from there.
        batch: Images in memory at a time, at most; of large ones fewer.

    Raises:
        DataError: An image is missing or damaged, or the images come out in different sizes.
        ModelError: The model's preprocessing fails, or makes no numbers of them.

    Example:
        See ``tests/data/test_vision.py``.
    """
    key = {
        "kind": "images",
        "rows": table.fingerprint,
        "channels": processor.channels,
        "processor": processor_identity(processor.processor),
    }

    def write(path: Path) -> Mapping[str, object]:
        batches = _batches(table, processor, batch)
        first = next(batches)
        write_float32(path, PIXELS, (len(table), *first.shape[1:]), _same_size(first, batches))
        return {"rows": len(table)}

    tensors, _ = cached(cache, key, write)
    notes = (processor.note,) if processor.note else ()
    return TensorRows({PIXELS: tensors[PIXELS]}, torch.from_numpy(table.labels), notes)


def _batches(table: Table, processor: ImageProcessor, batch: int) -> Iterator[Tensor]:
    group: list[NDArray[np.uint8]] = []
    for image in table.images():
        group.append(_array(image, processor.channels))
        if len(group) == batch or sum(array.nbytes for array in group) > _BATCH_BYTES:
            yield _pixels(group, processor, table)
            group = []
    if group:
        yield _pixels(group, processor, table)


def _pixels(group: Sequence[NDArray[np.uint8]], processor: ImageProcessor, table: Table) -> Tensor:
    try:
        pixels = _processed(group, processor)
    except MemoryError:
        raise
    except Exception as error:  # transformers, Pillow and numpy raise whatever they stumble over
        if _differ(group, processor):
            raise DataError(
                f"{table.files[0]}: the images come out of the model's preprocessing in different sizes;"
                " let it resize them (do_resize: true)"
            ) from error
        cause = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ModelError(f"the model's image preprocessing fails with {cause}; {_MEND}") from error
    if not torch.isfinite(pixels).all():
        raise ModelError(f"the model's image preprocessing makes values that are no finite numbers; {_MEND}")
    return pixels


def _processed(group: Sequence[NDArray[np.uint8]], processor: ImageProcessor) -> Tensor:
    with np.errstate(all="ignore"):  # what is no number is refused afterwards
        out = processor.processor(
            list(group), input_data_format="channels_last", do_convert_rgb=False, return_tensors="pt"
        )
    return torch.as_tensor(out[PIXELS], dtype=torch.float32)


def _differ(group: Sequence[NDArray[np.uint8]], processor: ImageProcessor) -> bool:
    """Return whether images come out in different sizes, each on its own."""
    try:
        return len({_processed([image], processor).shape for image in group}) > 1
    except Exception:  # what fails on one image fails for another reason
        return False


def _same_size(first: Tensor, rest: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    for batch in rest:
        if batch.shape[1:] != first.shape[1:]:
            raise DataError(
                f"images come out of the model's preprocessing as {list(first.shape[1:])} and as"
                f" {list(batch.shape[1:])}; let it resize them (do_resize: true)"
            )
        yield batch


def _array(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """Return an image as ``[H, W, channels]``, 8 bits; 16-bit greyscale is scaled, transparency is dropped."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray((np.clip(np.asarray(image, dtype=np.float64), 0, 65535) / 257).astype(np.uint8))
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array[:, :, None] if channels == 1 else array
