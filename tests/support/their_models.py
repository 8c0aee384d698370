"""The smallest model of each architecture that is converted, with its weights drawn anew."""

from __future__ import annotations

from typing import Any

import torch
from converting import IDS, VOCAB, N, theirs_of
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

CLASSES: dict[str, Any] = {
    "bert": (BertForSequenceClassification, BertConfig),
    "gpt2": (GPT2LMHeadModel, GPT2Config),
    "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig),
    "llama": (LlamaForCausalLM, LlamaConfig),
    "mistral": (MistralForCausalLM, MistralConfig),
}


def their_model(kind: str, **changes: Any) -> Any:
    """One layer of width 24 with three heads, some of their sizes changed."""
    sizes: dict[str, Any] = dict(
        vocab_size=VOCAB, hidden_size=24, intermediate_size=17, num_hidden_layers=1,
        num_attention_heads=3, max_position_embeddings=N,
    )  # fmt: skip
    if kind in ("llama", "mistral"):
        sizes["num_key_value_heads"] = 1
    model, config = CLASSES[kind]
    return theirs_of(model, config(**{**sizes, **IDS, **changes}), torch.float32)
