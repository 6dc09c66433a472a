from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import ViTForImageClassification

from fedstrata.data.digits import PERMUTATION, DigitRows, digits, pretraining_digits
from fedstrata.data.find_sources import find
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.tensors import TensorRows
from fedstrata.data.vision import image_processor, prepare_images
from fedstrata.errors import ConfigError
from fedstrata.models.folder_config import EMBEDDED

CHECKPOINT = EMBEDDED["embedded:vit-digits"]


def _keys(rows: TensorRows) -> list[bytes]:
    return [image.numpy().tobytes() for image in rows.inputs["pixel_values"]]


def _same(a: DigitRows, b: DigitRows) -> bool:
    return _keys(a.train) == _keys(b.train) and _keys(a.test) == _keys(b.test)


def test_pretraining_training_and_test_rows_are_disjoint_and_complete() -> None:
    rows = digits(seed=1)
    parts = [_keys(pretraining_digits().train), _keys(rows.train), _keys(rows.test)]
    assert [len(part) for part in parts] == [600, 899, 298]
    for one, other in combinations(parts, 2):
        assert not set(one) & set(other)


def test_pixels_are_floats_between_zero_and_one() -> None:
    pixels = digits().train.inputs["pixel_values"]
    assert pixels.dtype == torch.float32
    assert pixels.shape == (899, 1, 8, 8)
    assert (float(pixels.min()), float(pixels.max())) == (0.0, 1.0)


def test_the_split_is_stratified() -> None:
    rows = digits(seed=5)
    for label in range(10):
        train, test = (int((part.labels == label).sum()) for part in (rows.train, rows.test))
        assert abs(test / (train + test) - 0.25) < 0.01


def test_the_seed_decides_the_split_and_nothing_else() -> None:
    assert _same(digits(seed=1), digits(seed=1))
    assert not _same(digits(seed=1), digits(seed=2))
    assert _keys(pretraining_digits().train) == _keys(pretraining_digits().train)


def test_the_input_shift_inverts_and_rotates_the_same_rows() -> None:
    plain, shifted = digits("none", seed=1).test, digits("input", seed=1).test
    image, moved = plain.inputs["pixel_values"][0, 0], shifted.inputs["pixel_values"][0, 0]
    assert float(moved[0, 0]) == 1.0 - float(image[0, 7])
    assert torch.equal(torch.rot90(moved, k=-1), 1.0 - image)
    assert torch.equal(plain.labels, shifted.labels)


def test_the_label_shift_renames_every_digit_and_keeps_the_images() -> None:
    plain, shifted = digits("none", seed=1).test, digits("label", seed=1).test
    assert sorted(PERMUTATION) == list(range(10))
    assert bool((plain.labels != shifted.labels).all())
    assert shifted.labels.tolist() == [PERMUTATION[i] for i in plain.labels.tolist()]
    assert _keys(plain) == _keys(shifted)


def test_an_unknown_shift_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown shift 'lable'; did you mean 'label'"):
        digits("lable")  # type: ignore[arg-type]


def test_the_checkpoint_is_small_and_does_what_its_metrics_say() -> None:
    facts = json.loads((CHECKPOINT / "metrics.json").read_text())
    model = ViTForImageClassification.from_pretrained(CHECKPOINT, local_files_only=True).eval()
    rows = pretraining_digits().test
    with torch.no_grad():
        right = model(**rows.inputs).logits.argmax(-1) == rows.labels
    assert float(right.double().mean()) == pytest.approx(facts["accuracy"]["upright"], abs=0.005)
    assert facts["accuracy"]["upright"] > 0.85
    assert sum(p.numel() for p in model.parameters()) == 203_082
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) < 1_000_000


def test_the_checkpoint_prepares_images_as_the_digits_are(tmp_path: Path) -> None:
    pixels = digits().test.inputs["pixel_values"][:3]
    (tmp_path / "d/0").mkdir(parents=True)
    for i, image in enumerate((pixels[:, 0] * 255).round().byte()):
        Image.fromarray(image.numpy()).save(tmp_path / f"d/0/{i}.png")
    table = read(find("d", tmp_path), Columns(image="image"), tmp_path / "cache")
    rows = prepare_images(table, processor=image_processor(CHECKPOINT, channels=1), cache=tmp_path)
    torch.testing.assert_close(rows.inputs["pixel_values"], pixels, atol=1 / 500, rtol=0)
