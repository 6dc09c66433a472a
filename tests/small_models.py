"""Hugging Face folders that fit in a test: a BERT with a tokenizer trained on the spot, and a ViT."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, ViTConfig, ViTModel

WORDS = {"good": ["fine", "warm", "bright", "kind"], "bad": ["cold", "dark", "harsh", "grim"]}
FILLERS = ["day", "house", "road", "river", "stone", "field"]


def sentences(rows: int, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return texts of five words whose label is told by two of them, and the labels."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for row in range(rows):
        label = ("good", "bad")[row % 2]
        words = [*rng.choice(WORDS[label], 2), *rng.choice(FILLERS, 3)]
        texts.append(" ".join(str(w) for w in rng.permutation(words)))
        labels.append(label)
    return texts, labels


def save_text(path: Path, rows: int, *, seed: int = 0, text: str = "note", label: str = "outcome") -> Path:
    """Write sentences as Parquet, CSV or JSONL, by the name's ending."""
    columns = dict(zip((text, label), sentences(rows, seed=seed), strict=True))
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(records)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def save_bert(folder: Path, *, dropout: float = 0.1, seed: int = 0) -> Path:
    """Save an encoder of three blocks without a head, and its tokenizer."""
    tokenizer = _word_pieces()
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder


def _word_pieces() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(sentences(60)[0], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def save_vit(folder: Path, *, seed: int = 0) -> Path:
    """Save a ViT of two blocks for 8 x 8 RGB images, without a head."""
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_channels=3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def save_images(folder: Path, labels: Sequence[str], each: int, *, seed: int = 0) -> Path:
    """Write a folder of class folders of 8 x 8 images; a class has its own shade."""
    rng = np.random.default_rng(seed)
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 60, (8, 8, 3)) + number * 120
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{i:02}.png")
    return folder
