"""Checks on the real data sets, where they are at hand (``FEDSTRATA_DATA``)."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fedstrata.data.find_sources import find
from fedstrata.data.kinds import Files
from fedstrata.data.load import Prepare, load_data
from fedstrata.data.natural import NaturalId
from fedstrata.data.partition import Dirichlet, Shard
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.text import prepare_texts
from fedstrata.data.vision import image_processor, prepare_images

ROOT = Path(os.environ.get("FEDSTRATA_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not ROOT.is_dir(), reason="the real data sets are not here; set FEDSTRATA_DATA to their folder"),
]


def _words(cache: Path, max_length: int) -> Prepare:
    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "the": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")
    return partial(prepare_texts, tokenizer=tokenizer, cache=cache, max_length=max_length)


def test_ag_news_by_label_skew(tmp_path: Path) -> None:
    source = Files(
        train="train.parquet",
        test="test.parquet",
        text="text",
        held_out=0.1,
        partition=Dirichlet(10, 0.3),
        max_length=32,
    )
    data = load_data(source, seed=0, prepare=_words(tmp_path, 32), cache=tmp_path, base=ROOT / "ag_news")
    assert data.labels == ("World", "Sports", "Business", "Sci/Tech")
    assert (data.card.rows_kept, len(data.test)) == (8599, 3999)
    assert data.test.inputs["input_ids"].shape == (3999, 32)
    assert len(data.clients) == 10


def test_sib200_by_language(tmp_path: Path) -> None:
    source = Files(train="train.parquet", test="test.parquet", text="text", partition=NaturalId("language"))
    data = load_data(source, seed=0, prepare=_words(tmp_path, 64), cache=tmp_path, base=ROOT / "sib200_multilingual")
    assert len(data.clients) == 12
    assert {client.train for client in data.card.clients.values()} == {800}
    assert "swh_latn" in data.clients
    assert len(data.labels) == 7


def test_pacs_by_domain(tmp_path: Path) -> None:
    table = read(find("train.parquet", ROOT / "pacs"), Columns(image="image", natural_id="domain"), tmp_path)
    split = NaturalId("domain").split(table.labels, seed=0, ids=table.columns["domain"])
    assert {client: len(rows) for client, rows in split.rows.items()} == {
        "art_painting": 1638,
        "cartoon": 1875,
        "photo": 1337,
        "sketch": 3143,
    }
    few = table.take(next(iter(split.rows.values()))[:8])
    rows = prepare_images(few, processor=image_processor(size=32), cache=tmp_path)
    assert rows.inputs["pixel_values"].shape == (8, 3, 32, 32)
    assert table.names[0] == "dog"


def test_cifar10_in_shards(tmp_path: Path) -> None:
    test = read(find("test.parquet", ROOT / "cifar10"), Columns(image="image"), tmp_path)
    split = Shard(10, 2).split(test.labels, seed=0)
    assert split.left_over == 0
    assert all(len(set(test.labels[rows].tolist())) <= 3 for rows in split.rows.values())
    few = test.take(next(iter(split.rows.values()))[:64])
    rows = prepare_images(few, processor=image_processor(size=32, mean=[0.0] * 3, std=[1.0] * 3), cache=tmp_path)
    assert rows.inputs["pixel_values"].shape == (64, 3, 32, 32)
    assert 0 <= float(rows.inputs["pixel_values"].min()) < float(rows.inputs["pixel_values"].max()) <= 1
