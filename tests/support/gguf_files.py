"""Small GGUF files, written by the package ``gguf`` and by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from einops import rearrange
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

SPELLED = [chr(c) for c in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x144))]
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *SPELLED, "th", "the"]
N_HEADS, N_KV_HEADS, D_HEAD, D_MODEL, D_FF = 3, 1, 32, 96, 64


def tensors(*, seed: int = 0, n_layers: int = 2, tied: bool = True) -> dict[str, np.ndarray]:
    """Random weights of a small Llama, as transformers lays them out, by the names of GGUF."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (generator.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32)

    made = {"token_embd.weight": draw(len(TOKENS), D_MODEL)}
    for i in range(n_layers):
        sizes = {
            "attn_q": (N_HEADS * D_HEAD, D_MODEL),
            "attn_k": (N_KV_HEADS * D_HEAD, D_MODEL),
            "attn_v": (N_KV_HEADS * D_HEAD, D_MODEL),
            "attn_output": (D_MODEL, N_HEADS * D_HEAD),
            "ffn_gate": (D_FF, D_MODEL),
            "ffn_up": (D_FF, D_MODEL),
            "ffn_down": (D_MODEL, D_FF),
        }
        made |= {f"blk.{i}.{name}.weight": draw(*size) for name, size in sizes.items()}
        for name in ("attn_norm", "ffn_norm"):
            made[f"blk.{i}.{name}.weight"] = (1 + 0.3 * draw(D_MODEL)).astype(np.float32)
    made["output_norm.weight"] = (1 + 0.3 * draw(D_MODEL)).astype(np.float32)
    if not tied:
        made["output.weight"] = draw(len(TOKENS), D_MODEL)
    return made


def permuted(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """The order that converters give queries and keys: the halves of a head interleaved."""
    return rearrange(weight, "(h two i) d -> (h i two) d", h=n_heads, two=2)


def values(n_layers: int = 2) -> dict[str, Any]:
    """The table of values that goes with ``tensors``."""
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(TOKENS) - 3)
    return {
        "llama.block_count": n_layers,
        "llama.context_length": 128,
        "llama.embedding_length": D_MODEL,
        "llama.feed_forward_length": D_FF,
        "llama.attention.head_count": N_HEADS,
        "llama.attention.head_count_kv": N_KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 5000.0,
        "llama.rope.dimension_count": D_HEAD,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [int(kind) for kind in kinds],
        "tokenizer.ggml.merges": ["t h", "th e"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}",
    }


def write(
    path: Path,
    table: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    *,
    architecture: str = "llama",
) -> Path:
    """Write a GGUF file with the package ``gguf``; vectors stay float32."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in table.items():
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        else:
            writer.add_uint32(name, value)
    for name, weight in weights.items():
        if weight.ndim == 1 or kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, weight)
        else:
            stored = gguf.quants.quantize(weight, kind)
            writer.add_tensor(name, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_llama(path: Path, kind: gguf.GGMLQuantizationType, *, tied: bool = True) -> Path:
    """Write a whole small Llama, its queries and keys in the order of converters."""
    weights = tensors(tied=tied)
    for name in weights:
        if name.endswith("attn_q.weight"):
            weights[name] = permuted(weights[name], N_HEADS)
        if name.endswith("attn_k.weight"):
            weights[name] = permuted(weights[name], N_KV_HEADS)
    return write(path, values(), weights, kind)


def transformers_llama(config: dict[str, Any], state: dict[str, Tensor]) -> LlamaForCausalLM:
    """The model of transformers with this configuration and these tensors."""
    settings = {k: v for k, v in config.items() if k not in ("model_type", "architectures")}
    model = LlamaForCausalLM(LlamaConfig(**settings))
    if config["tie_word_embeddings"]:
        state = state | {"lm_head.weight": state["model.embed_tokens.weight"]}
    model.load_state_dict(state)
    return model.eval()
