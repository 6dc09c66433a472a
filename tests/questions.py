"""Multiple-choice questions, and causal models and tokenizers small enough for a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from fedstrata.data.choice import prepare_choices
from fedstrata.data.table import Questions, Table
from fedstrata.data.tensors import TensorRows
from small_models import FILLERS, WORDS

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
}


def questions(rows: int, *, seed: int = 0, choices: tuple[int, int] = (2, 5)) -> list[dict[str, Any]]:
    """Return questions whose right choice is of the kind of word that the question asks for."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        kind, other = (("good", "bad"), ("bad", "good"))[int(rng.integers(2))]
        filler = [str(w) for w in rng.choice(FILLERS, int(rng.integers(1, 4)))]
        wrong = [f"{rng.choice(WORDS[other])} {rng.choice(FILLERS)}" for _ in range(int(rng.integers(*choices)))]
        answer = int(rng.integers(len(wrong) + 1))
        wrong.insert(answer, " ".join(str(w) for w in rng.choice(WORDS[kind], int(rng.integers(1, 3)))))
        made.append({"question": f"Which {kind} {' '.join(filler)}?", "choices": wrong, "answer": answer})
    return made


def save_questions(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write questions as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _texts() -> list[str]:
    rows = questions(60, seed=99)
    return [f"Question: {row['question']}\nAnswer: {choice}" for row in rows for choice in row["choices"]]


def bytewise() -> tf.PreTrainedTokenizerFast:
    """Return a tokenizer as GPT-2 and Qwen have: byte-level, a blank belongs to the word after it, nothing added."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return tf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def sentencewise(*, end: bool = False) -> tf.PreTrainedTokenizerFast:
    """Return a tokenizer as Llama has: every text begins with a blank of its own, and with a start token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    tokenizer.train_from_iterator(
        _texts(), trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if end else "<s> $A", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def llama(*, vocabulary: int = 300, tied: bool = False, dropout: float = 0.0) -> nn.Module:
    """Return a Llama with random weights."""
    config = tf.LlamaConfig(
        vocab_size=vocabulary, tie_word_embeddings=tied, attention_dropout=dropout, max_position_embeddings=64, **SIZES
    )
    return _seeded(tf.LlamaForCausalLM, config)


def qwen2(*, vocabulary: int = 400) -> nn.Module:
    """Return a Qwen2 with random weights, tied."""
    config = tf.Qwen2Config(vocab_size=vocabulary, tie_word_embeddings=True, max_position_embeddings=64, **SIZES)
    return _seeded(tf.Qwen2ForCausalLM, config)


def gpt2(*, vocabulary: int = 400) -> nn.Module:
    """Return a GPT-2 with random weights, tied, without dropout."""
    config = tf.GPT2Config(
        n_embd=16,
        n_layer=3,
        n_head=2,
        n_positions=64,
        vocab_size=vocabulary,
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return _seeded(tf.GPT2LMHeadModel, config)


def _seeded(make: Any, config: Any) -> nn.Module:  # noqa: ANN401
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = make(config).eval()
        for parameter in model.parameters():  # far enough from uniform that choices differ
            parameter.data.add_(0.2 * torch.randn(parameter.shape))
    return model


def save_causal(folder: Path, model: Any, tokenizer: Any) -> Path:  # noqa: ANN401
    """Save a causal model with its tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def score(model: nn.Module, prompt: Sequence[int], choice: Sequence[int]) -> Tensor:
    """Return the length-normalised log-likelihood of one choice: one text, no padding, one token after the other."""
    logits = model(torch.tensor([[*prompt, *choice]])).logits[0]
    nats = [
        torch.log_softmax(logits[len(prompt) + place - 1].float(), dim=0)[token] for place, token in enumerate(choice)
    ]
    return torch.stack(nats).sum() / len(choice)


def table_of(rows: Sequence[dict[str, Any]]) -> Table:
    """Return questions as a table that was read."""
    values = tuple((row["question"], tuple(row["choices"])) for row in rows)
    labels = np.array([row["answer"] for row in rows], dtype=np.int64)
    where = np.stack([np.zeros(len(rows), dtype=np.int64), np.arange(len(rows))], axis=1)
    return Table(Questions(values), labels, tuple("01234"), where, ("qa.jsonl",), fingerprint=repr(rows))


def prepared(
    rows: Sequence[dict[str, Any]],
    tokenizer: Any,  # noqa: ANN401
    cache: Path,
    max_length: int = 64,
) -> TensorRows:
    """Return questions as model inputs."""
    return prepare_choices(table_of(rows), tokenizer=tokenizer, cache=cache, max_length=max_length)
