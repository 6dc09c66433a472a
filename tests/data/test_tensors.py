from __future__ import annotations

import pytest
import torch

from fedstrata.data.tensors import TensorRows
from fedstrata.errors import DataError
from memory_places import astray


def _texts() -> TensorRows:
    ids = torch.tensor([[5, 6, 0, 0], [5, 6, 7, 8], [5, 0, 0, 0]])
    return TensorRows({"input_ids": ids, "attention_mask": (ids > 0).long()}, torch.tensor([0, 1, 2]))


def test_take_trims_texts_to_the_longest_of_the_batch() -> None:
    inputs, labels = _texts().take(torch.tensor([2, 0]))
    assert inputs["input_ids"].tolist() == [[5, 0], [5, 6]]
    assert inputs["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert labels.tolist() == [2, 0]


def test_take_of_nothing_is_empty() -> None:
    inputs, labels = _texts().take(torch.tensor([], dtype=torch.int64))
    assert len(labels) == 0
    assert inputs["input_ids"].shape[0] == 0


def test_take_keeps_images_whole() -> None:
    pixels = torch.arange(2 * 1 * 2 * 2, dtype=torch.float32).reshape(2, 1, 2, 2)
    inputs, _ = TensorRows({"pixel_values": pixels}, torch.tensor([0, 1])).take(torch.tensor([1]))
    assert inputs["pixel_values"].tolist() == [[[[4.0, 5.0], [6.0, 7.0]]]]


def test_what_is_taken_lies_in_memory_as_if_there_were_no_longer_text_and_no_other_layout() -> None:
    pixels = torch.randn(3, 2, 4, 4).contiguous(memory_format=torch.channels_last)
    for rows in (_texts(), TensorRows({"pixel_values": pixels}, torch.tensor([0, 1, 2]))):
        inputs, labels = rows.take(torch.tensor([2, 0]))
        assert not astray([*inputs.values(), labels])


def test_an_input_needs_one_row_per_label() -> None:
    with pytest.raises(DataError, match=r"input 'pixel_values' has 3 rows for 2 labels"):
        TensorRows({"pixel_values": torch.zeros(3, 1, 2, 2)}, torch.tensor([0, 1]))


def test_by_length_puts_texts_of_like_length_side_by_side() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]])
    rows = TensorRows({"input_ids": mask, "attention_mask": mask}, torch.zeros(4, dtype=torch.int64))
    assert rows.by_length(torch.tensor([0, 3, 2, 1])).tolist() == [3, 1, 2, 0]
    images = TensorRows({"pixel_values": torch.zeros(4, 1)}, torch.zeros(4, dtype=torch.int64))
    assert images.by_length(torch.tensor([2, 0])).tolist() == [2, 0]
