from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from fedstrata.data import vision
from fedstrata.data.find_sources import find
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.table import Table
from fedstrata.data.vision import image_processor, prepare_images
from fedstrata.errors import DataError, ModelError


def _table(folder: Path, *images: Image.Image) -> Table:
    (folder / "pets/cat").mkdir(parents=True)
    for i, image in enumerate(images):
        image.save(folder / f"pets/cat/{i}.png")
    return read(find("pets", folder), Columns(image="image"), folder / "cache")


def _grey(height: int, width: int, value: int = 51) -> Image.Image:
    return Image.fromarray(np.full((height, width), value, dtype=np.uint8))


def _rgb(value: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.broadcast_to(value, (8, 8, len(value))).astype(np.uint8))


def test_greyscale_of_odd_sizes_for_a_one_channel_model(tmp_path: Path) -> None:
    table = _table(tmp_path, _grey(8, 8), _grey(5, 13), _grey(31, 7))
    processor = image_processor(size=8, channels=1, mean=[0.0], std=[1.0])
    pixels = prepare_images(table, processor=processor, cache=tmp_path).inputs["pixel_values"]
    assert pixels.shape == (3, 1, 8, 8)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels, torch.full_like(pixels, 0.2))


def test_every_mode_becomes_rgb_for_a_three_channel_model(tmp_path: Path) -> None:
    rgba = _rgb(np.array([255, 0, 51, 9], dtype=np.uint8))
    images = (rgba, rgba.convert("RGB"), _grey(8, 8), _grey(8, 8).convert("P"), _grey(8, 8).convert("1"))
    table = _table(tmp_path, *images)
    processor = image_processor(size=8, mean=[0.0] * 3, std=[1.0] * 3)
    pixels = prepare_images(table, processor=processor, cache=tmp_path).inputs["pixel_values"]
    assert pixels.shape == (5, 3, 8, 8)
    torch.testing.assert_close(pixels[0, :, 0, 0], torch.tensor([1.0, 0.0, 0.2]))
    torch.testing.assert_close(pixels[0], pixels[1])
    torch.testing.assert_close(pixels[3, :, 0, 0], torch.tensor([0.2, 0.2, 0.2]))


def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((8, 8), 257 * 51, dtype=np.uint16))
    table = _table(tmp_path, deep)
    processor = image_processor(size=8, channels=1, mean=[0.0], std=[1.0])
    pixels = prepare_images(table, processor=processor, cache=tmp_path).inputs["pixel_values"]
    torch.testing.assert_close(pixels, torch.full((1, 1, 8, 8), 0.2))


def test_a_model_folder_decides_size_and_normalisation(tmp_path: Path) -> None:
    CLIPImageProcessorPil(
        size={"shortest_edge": 6}, crop_size={"height": 6, "width": 6}, image_mean=[0.2] * 3, image_std=[0.5] * 3
    ).save_pretrained(tmp_path / "model")
    processor = image_processor(tmp_path / "model")
    assert processor.note is None
    table = _table(tmp_path, _grey(12, 20))
    pixels = prepare_images(table, processor=processor, cache=tmp_path).inputs["pixel_values"]
    assert pixels.shape == (1, 3, 6, 6)
    torch.testing.assert_close(pixels, torch.zeros_like(pixels), atol=1e-6, rtol=0)


def test_batches_give_what_one_batch_gives(tmp_path: Path) -> None:
    table = _table(tmp_path, *(_grey(9, 9, value) for value in (0, 50, 100, 150, 200)))
    processor = image_processor(size=8, channels=1)
    small = prepare_images(table, processor=processor, cache=tmp_path / "a", batch=2)
    large = prepare_images(table, processor=processor, cache=tmp_path / "b", batch=100)
    assert torch.equal(small.inputs["pixel_values"], large.inputs["pixel_values"])


def test_images_are_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, processor = _table(tmp_path, _grey(8, 8)), image_processor(size=8, channels=1)
    first = prepare_images(table, processor=processor, cache=tmp_path / "c")
    (stored,) = (tmp_path / "c").glob("*.safetensors")
    assert torch.equal(load_file(stored)["pixel_values"], first.inputs["pixel_values"])
    monkeypatch.setattr(vision, "_batches", None)
    again = prepare_images(table, processor=processor, cache=tmp_path / "c")
    assert torch.equal(first.inputs["pixel_values"], again.inputs["pixel_values"])


def test_another_processor_or_other_rows_are_prepared_anew(tmp_path: Path) -> None:
    table = _table(tmp_path, _grey(8, 8), _grey(8, 8, 90))
    for size in (8, 4):
        prepare_images(table, processor=image_processor(size=size, channels=1), cache=tmp_path / "c")
    prepare_images(table.take(np.array([1])), processor=image_processor(size=8, channels=1), cache=tmp_path / "c")
    assert len(list((tmp_path / "c").glob("*.safetensors"))) == 3


def test_what_was_assumed_is_noted(tmp_path: Path) -> None:
    rows = prepare_images(_table(tmp_path, _grey(8, 8)), processor=image_processor(size=8), cache=tmp_path)
    assert rows.notes[0].startswith("no preprocessor_config.json: images are scaled to 8x8")


def test_images_that_stay_of_different_sizes_are_an_error(tmp_path: Path) -> None:
    ViTImageProcessorPil(do_resize=False).save_pretrained(tmp_path / "model")
    table = _table(tmp_path, _grey(8, 8), _grey(8, 9))
    for batch in (1, 2):
        with pytest.raises(DataError, match=r"let it resize them"):
            prepare_images(table, processor=image_processor(tmp_path / "model"), cache=tmp_path, batch=batch)


def test_a_size_that_would_fill_memory_with_one_image_is_refused() -> None:
    with pytest.raises(ModelError, match="image_size: 1,000,000 pixels are more than the 4,096 that images may have"):
        image_processor(size=10**6)


def test_a_folder_without_preprocessing_needs_a_size(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model/ has no preprocessor_config.json; add one, or give the image size"):
        image_processor(tmp_path / "model")


def test_a_broken_preprocessing_file_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"preprocessor_config.json cannot be used"):
        image_processor(tmp_path)


def test_channels_of_model_and_preprocessing_have_to_agree(tmp_path: Path) -> None:
    ViTImageProcessorPil().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"normalises 3 channels, but the model takes 1"):
        image_processor(tmp_path, channels=1)


VIT = {"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], "cannot be used"),
        (5, "cannot be used"),
        ({"image_processor_type": 5}, "cannot be used"),
        ({**VIT, "size": {"height": 10**6, "width": 10**6}}, "makes images of 1,000,000 pixels; 4,096 at most"),
        ({**VIT, "size": {"height": "a", "width": 8}}, "preprocessing fails with TypeError"),
        ({**VIT, "size": {"height": -1, "width": 8}}, "preprocessing fails with ValueError"),
        ({**VIT, "resample": 99}, "preprocessing fails with ValueError"),
        ({**VIT, "image_mean": ["a", "b", "c"]}, "preprocessing fails with ValueError"),
        ({**VIT, "rescale_factor": "x"}, "preprocessing fails with"),
        ({**VIT, "image_std": [0, 0, 0]}, "values that are no finite numbers"),
    ],
)
def test_a_preprocessing_that_makes_no_sense_is_the_models_error(tmp_path: Path, settings: object, said: str) -> None:
    table = _table(tmp_path, _grey(9, 9), _grey(9, 9))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ModelError, match=said):
        prepare_images(table, processor=image_processor(tmp_path), cache=tmp_path / "cache")
