"""Transformers of every family, tiny and of real size: their classes, and what a partition finds in them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import transformers as tf
from torch import nn

from fedstrata.domain.layers import Layer, LayerMap

TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
    "pad_token_id": 0,
    "num_labels": 4,
}
CAUSAL = {**TEXT, "num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 2, "bos_token_id": 1}
IMAGE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 8,
    "patch_size": 2,
    "num_labels": 4,
}
TOWER = {key: value for key, value in IMAGE.items() if key != "num_labels"}
GPT2: dict[str, Any] = {"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 50, "pad_token_id": 0}
T5: dict[str, Any] = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 2,
    "vocab_size": 50,
    "decoder_start_token_id": 0,
    "eos_token_id": 1,
}
CLIP_TINY = {"vision_config": TOWER, "text_config": {"hidden_size": 16, "num_attention_heads": 2}, "num_labels": 4}
CLIP_BASE = {"vision_config": {"image_size": 224, "patch_size": 32}, "text_config": {}, "num_labels": 4}
NEXT = {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2, "num_labels": 4}
RES = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2], "num_labels": 4}
SWIN: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": [2, 1],
    "num_heads": [2, 2],
    "window_size": 4,
}

# name: (model class, config class, tiny settings, layers, real settings, layers, first layer, always, never)
Row = tuple[type, type, dict[str, Any], int, dict[str, Any], int, str, list[str], list[str]]
ARCHITECTURES: dict[str, Row] = {
    "vit": (
        *(tf.ViTForImageClassification, tf.ViTConfig, IMAGE, 3, {}, 12),
        *("vit.layers.0", ["vit.layernorm", "classifier"], ["vit.embeddings"]),
    ),
    "clip": (
        *(tf.CLIPForImageClassification, tf.CLIPConfig, CLIP_TINY, 3, CLIP_BASE, 12),
        "vision_model.encoder.layers.0",
        ["vision_model.post_layernorm", "classifier"],
        ["vision_model.embeddings", "vision_model.pre_layrnorm"],
    ),
    "clip-vision": (
        *(tf.CLIPVisionModel, tf.CLIPVisionConfig, TOWER, 3, {}, 12),
        *("encoder.layers.0", ["post_layernorm"], ["embeddings", "pre_layrnorm"]),
    ),
    "dinov2": (
        *(tf.Dinov2ForImageClassification, tf.Dinov2Config, IMAGE, 3, {}, 12),
        *("dinov2.encoder.layer.0", ["dinov2.layernorm", "classifier"], ["dinov2.embeddings"]),
    ),
    "bert": (
        *(tf.BertForSequenceClassification, tf.BertConfig, TEXT, 3, {}, 12),
        *("bert.encoder.layer.0", ["bert.pooler", "classifier"], ["bert.embeddings"]),
    ),
    "roberta": (
        *(tf.RobertaForSequenceClassification, tf.RobertaConfig, TEXT, 3, {}, 12),
        *("roberta.encoder.layer.0", ["classifier"], ["roberta.embeddings"]),
    ),
    "xlm-roberta": (
        *(tf.XLMRobertaForSequenceClassification, tf.XLMRobertaConfig, TEXT, 3, {}, 12),
        *("roberta.encoder.layer.0", ["classifier"], ["roberta.embeddings"]),
    ),
    "distilbert": (
        *(tf.DistilBertForSequenceClassification, tf.DistilBertConfig),
        *({"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "vocab_size": 50}, 3, {}, 6),
        *("distilbert.transformer.layer.0", ["pre_classifier", "classifier"], ["distilbert.embeddings"]),
    ),
    "modernbert": (
        *(tf.ModernBertForSequenceClassification, tf.ModernBertConfig, TEXT, 3, {}, 22),
        *("model.layers.0", ["model.final_norm", "head", "classifier"], ["model.embeddings", "model.rotary_emb"]),
    ),
    "llama": (
        *(tf.LlamaForSequenceClassification, tf.LlamaConfig, CAUSAL, 3, {"pad_token_id": 0}, 32),
        *("model.layers.0", ["model.norm", "score"], ["model.embed_tokens", "model.rotary_emb"]),
    ),
    "qwen2": (
        *(tf.Qwen2ForSequenceClassification, tf.Qwen2Config, CAUSAL, 3, {"num_hidden_layers": 24}, 24),
        *("model.layers.0", ["model.norm", "score"], ["model.embed_tokens", "model.rotary_emb"]),
    ),
    "qwen3": (
        *(tf.Qwen3ForSequenceClassification, tf.Qwen3Config, CAUSAL, 3, {"num_hidden_layers": 28}, 28),
        *("model.layers.0", ["model.norm", "score"], ["model.embed_tokens", "model.rotary_emb"]),
    ),
    "gpt2": (
        *(tf.GPT2ForSequenceClassification, tf.GPT2Config, GPT2, 3, {}, 12),
        *("transformer.h.0", ["transformer.ln_f", "score"], ["transformer.wte", "transformer.wpe"]),
    ),
    "t5": (
        *(tf.T5ForSequenceClassification, tf.T5Config, T5, 5, {}, 12),
        "transformer.encoder.block.0",
        ["transformer.decoder.final_layer_norm", "classification_head"],
        [
            "transformer.shared",
            "transformer.encoder.embed_tokens",
            "transformer.encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
            "transformer.decoder.embed_tokens",
            "transformer.decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
        ],
    ),
    "swin": (
        *(tf.SwinForImageClassification, tf.SwinConfig, SWIN, 3, {"depths": [2, 2, 6, 2]}, 12),
        *("swin.encoder.layers.0.blocks.0", ["swin.layernorm", "classifier"], ["swin.embeddings"]),
    ),
    "convnext": (
        *(tf.ConvNextForImageClassification, tf.ConvNextConfig, NEXT, 3, {"depths": [3, 3, 9, 3]}, 18),
        *("convnext.encoder.stages.0.layers.0", ["convnext.layernorm", "classifier"], ["convnext.embeddings"]),
    ),
    "resnet": (
        *(tf.ResNetForImageClassification, tf.ResNetConfig, RES, 3, {"depths": [3, 4, 6, 3]}, 16),
        *("resnet.encoder.stages.0.layers.0", ["classifier"], ["resnet.embedder"]),
    ),
}


def build(name: str, settings: dict[str, Any], device: str) -> nn.Module:
    model_class, config_class = ARCHITECTURES[name][:2]
    with torch.device(device):
        model: nn.Module = model_class(config_class(**settings))
    return model.eval()


def blocks_of(layers: LayerMap) -> tuple[Layer, ...]:
    return (*layers.never, *layers.layers, *layers.always)


def assert_every_parameter_once(layers: LayerMap, model: nn.Module) -> None:
    counted = Counter(str(t.name) for block in blocks_of(layers) for t in block.tensors)
    assert counted == Counter(name for name, _ in model.named_parameters())
    listed = Counter(name for block in blocks_of(layers) for name in block.buffers)
    assert listed == Counter(name for name, _ in model.named_buffers(remove_duplicate=False))


def batch_for(model: nn.Module, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    if model.main_input_name == "pixel_values":
        side = 32 if "hidden_sizes" in settings else 16 if "embed_dim" in settings else 8
        return {"pixel_values": torch.zeros(1, 3, side, side)}
    ids = torch.tensor([[5, 6, 7, 1]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
