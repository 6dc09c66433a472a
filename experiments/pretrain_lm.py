"""Pretrain the tiny causal LM of the question-answering row: a Llama of 8 blocks, on the text of QA and news rows.

The text is that of training files alone: questions with all their choices, never saying which is right, and English
news. Run from the repository's root, with the data folder at hand: ``python experiments/pretrain_lm.py``. It takes
about half an hour on one core and writes a model folder in half precision, tokenizer included, with ``metrics.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from math import exp
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

DATA = Path("../shared/data")
TO = Path("experiments/models/llama-qa-news")
QUESTIONS = ("qa_arc_easy", "qa_arc_challenge", "qa_openbookqa", "qa_sciq", "qa_piqa", "qa_commonsenseqa")
END = "<|end|>"
LENGTH = 128
"""Tokens of a training sequence."""


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return the training rows of a data set."""
    rows: list[dict[str, Any]] = pq.read_table(DATA / name / "train.parquet").to_pylist()
    return rows


def documents() -> Iterator[str]:
    """Yield every text: questions with their choices in the file's order, and English news."""
    for name in QUESTIONS:
        for row in rows_of(name):
            yield f"Question: {row['question']}\nChoices: {'; '.join(row['choices'])}"
    for row in rows_of("ag_news"):
        yield row["text"]
    for row in rows_of("masakhanews"):
        if row["language"] == "eng":
            yield row["text"]


def new_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, bos_token=END)


def new_model(vocabulary: int) -> LlamaForCausalLM:
    """Return the untrained model: 8 blocks of 128, tied embeddings."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=8,
            num_attention_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def packed(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Return the texts end to end, each after an end token, cut into sequences; shape ``[sequences, LENGTH + 1]``."""
    ids = [i for row in tokenizer(texts)["input_ids"] for i in (0, *row)]
    count = (len(ids) - 1) // LENGTH
    return torch.tensor(ids[: count * LENGTH + 1]).unfold(0, LENGTH + 1, LENGTH)


def loss_of(model: LlamaForCausalLM, batch: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of the next token, in nats."""
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def train(model: LlamaForCausalLM, sequences: Tensor, *, epochs: int, seed: int) -> None:
    """Train in place with AdamW and a one-cycle learning rate."""
    batch = 32
    steps = epochs * (len(sequences) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    started = perf_counter()
    for epoch in range(epochs):
        order = torch.randperm(len(sequences), generator=generator)
        total = 0.0
        for index in order[: len(order) // batch * batch].split(batch):
            loss = loss_of(model, sequences[index])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        spent = perf_counter() - started
        left = spent / (epoch + 1) * (epochs - epoch - 1)
        mean = total / (len(order) // batch)
        print(f"epoch {epoch + 1}/{epochs}  loss {mean:.3f}  {spent:.0f} s  ETA {left:.0f} s", flush=True)
    model.eval()


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, sequences: Tensor) -> float:
    """Return the mean loss over held-out sequences."""
    return sum(float(loss_of(model, s)) * len(s) for s in sequences.split(32)) / len(sequences)


def main() -> None:
    """Pretrain, measure, and write the model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=TO)
    chosen = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    texts = list(documents())
    order = torch.randperm(len(texts)).tolist()
    texts = [texts[i] for i in order]
    held_out, texts = texts[:300], texts[300:]
    tokenizer = new_tokenizer(texts, chosen.vocabulary)
    sequences = packed(texts, tokenizer)
    model = new_model(len(tokenizer))
    size = sum(p.numel() for p in model.parameters())
    print(f"{len(texts)} texts, {sequences.numel()} tokens, {size} parameters", flush=True)
    started = perf_counter()
    train(model, sequences, epochs=chosen.epochs, seed=chosen.seed)
    seconds = perf_counter() - started
    loss = held_out_loss(model, packed(held_out, tokenizer))
    print(
        f"{chosen.epochs} epochs in {seconds:.0f} s on one thread; held-out loss {loss:.3f}, perplexity {exp(loss):.1f}"
    )
    model.half().save_pretrained(chosen.to)
    tokenizer.save_pretrained(chosen.to)
    facts = {
        "data": [*QUESTIONS, "ag_news", "masakhanews (eng)"],
        "texts": len(texts),
        "tokens": sequences.numel(),
        "epochs": chosen.epochs,
        "seed": chosen.seed,
        "held_out_loss": round(loss, 4),
    }
    (chosen.to / "metrics.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
