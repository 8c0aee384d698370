"""Llama models in GGUF files: configuration, tensors and tokenizer in this package's terms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor

from tfbook.checks import listed, require
from tfbook.positions import convert_rotary_layout
from tfbook.tokenizers import GPT2_PATTERN, SMOLLM_PATTERN, AddedToken, BPETokenizer

T = TypeVar("T")

# Names of tensors there and in transformers. A dot and the layer's number stand for the `*`.
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.*.attn_norm": "model.layers.*.input_layernorm",
    "blk.*.attn_q": "model.layers.*.self_attn.q_proj",
    "blk.*.attn_k": "model.layers.*.self_attn.k_proj",
    "blk.*.attn_v": "model.layers.*.self_attn.v_proj",
    "blk.*.attn_output": "model.layers.*.self_attn.o_proj",
    "blk.*.ffn_norm": "model.layers.*.post_attention_layernorm",
    "blk.*.ffn_gate": "model.layers.*.mlp.gate_proj",
    "blk.*.ffn_up": "model.layers.*.mlp.up_proj",
    "blk.*.ffn_down": "model.layers.*.mlp.down_proj",
}

# How text is cut into words, by the name that llama.cpp gives to it.
PATTERNS = {"gpt-2": GPT2_PATTERN, "smollm": SMOLLM_PATTERN}

# Kinds of tokens.
CONTROL, USER_DEFINED = 3, 4


def llama_config(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Give the configuration of a Llama model as transformers writes it.

    Args:
        values: the table of a GGUF file.
        tensors: its tensors, of which only the names are read.

    Returns:
        The values of a ``config.json``.

    Raises:
        ValueError: another architecture than Llama's, a scaling of positions, or a value is
            missing or of another type.

    Example:
        >>> llama_config({"general.architecture": "bert"}, {})
        Traceback (most recent call last):
        ValueError: general.architecture='bert' of the GGUF file is unknown; use 'llama'

    Source: ggml, docs/gguf.md, section "LLM". Chapter: 24.
    """
    kind = values.get("general.architecture")
    require(
        kind == "llama", f"general.architecture={kind!r} of the GGUF file is unknown; use 'llama'"
    )
    scaling = values.get("llama.rope.scaling.type", "none")
    require(
        scaling == "none",
        f"llama.rope.scaling.type={scaling!r} of the GGUF file is not read here; use a file "
        "without a scaling of positions",
    )
    d_model, n_heads = (
        _value(values, f"llama.{name}", int)
        for name in ("embedding_length", "attention.head_count")
    )
    d_rotary = values.get("llama.rope.dimension_count", d_model // n_heads)
    require(
        d_rotary == d_model // n_heads,
        f"llama.rope.dimension_count={d_rotary} of the GGUF file must be {d_model} / {n_heads}: "
        "heads that are turned in part are not read here",
    )
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": len(_value(values, "tokenizer.ggml.tokens", list)),
        "hidden_size": d_model,
        "intermediate_size": _value(values, "llama.feed_forward_length", int),
        "num_hidden_layers": _value(values, "llama.block_count", int),
        "num_attention_heads": n_heads,
        "num_key_value_heads": values.get("llama.attention.head_count_kv", n_heads),
        "head_dim": d_model // n_heads,
        "hidden_act": "silu",
        "max_position_embeddings": _value(values, "llama.context_length", int),
        "rms_norm_eps": _value(values, "llama.attention.layer_norm_rms_epsilon", float),
        "rope_theta": values.get("llama.rope.freq_base", 10_000.0),
        "attention_bias": any(name.endswith("attn_q.bias") for name in tensors),
        "mlp_bias": any(name.endswith("ffn_up.bias") for name in tensors),
        "tie_word_embeddings": "output.weight" not in tensors,
    }


class LlamaTensors(Mapping[str, Tensor]):
    """The tensors of a Llama model in a GGUF file, named and laid out as in transformers.

    Converters for GGUF reorder queries and keys for rotary positions that turn neighbouring
    features. Here they get back the order in which the two halves of a head turn together.

    Args:
        tensors: as they stand in the file.
        config: from :func:`llama_config`.

    Raises:
        ValueError: a tensor that Llama does not have.

    Example:
        >>> import torch
        >>> list(LlamaTensors({"blk.7.ffn_up.weight": torch.ones(2, 2)}, {}))
        ['model.layers.7.mlp.up_proj.weight']

    Source: llama.cpp, convert_hf_to_gguf.py (permute). Chapter: 24.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        self.tensors, self.config = tensors, config
        self.origins = {_their_name(name): name for name in tensors}

    def __getitem__(self, name: str) -> Tensor:
        """Read one tensor."""
        tensor = self.tensors[self.origins[name]]
        if ".self_attn.q_proj." in name:
            return convert_rotary_layout(tensor, self.config["num_attention_heads"], to="halves")
        if ".self_attn.k_proj." in name:
            return convert_rotary_layout(tensor, self.config["num_key_value_heads"], to="halves")
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self.origins)

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self.origins)


def bpe_tokenizer(values: Mapping[str, Any]) -> BPETokenizer:
    """Build the tokenizer that a GGUF file holds.

    Args:
        values: the table of the file.

    Returns:
        The tokenizer, with its special tokens and its chat template.

    Raises:
        ValueError: another kind of tokenizer than byte-level BPE, an unknown way to cut text into
            words, or a value is missing, of another type, or contradicts others.

    Example:
        >>> bpe_tokenizer({"tokenizer.ggml.model": "bert"})
        Traceback (most recent call last):
        ValueError: tokenizer.ggml.model='bert' of the GGUF file is unknown; use 'gpt2'

    Source: ggml, docs/gguf.md, section "Tokenizer". Chapter: 24.
    """
    kind = values.get("tokenizer.ggml.model")
    require(
        kind == "gpt2", f"tokenizer.ggml.model={kind!r} of the GGUF file is unknown; use 'gpt2'"
    )
    pattern = PATTERNS.get(_value(values, "tokenizer.ggml.pre", str))
    require(
        pattern is not None,
        f"tokenizer.ggml.pre={values['tokenizer.ggml.pre']!r} of the GGUF file is unknown; use "
        f"{listed([repr(name) for name in PATTERNS])}",
    )
    tokens = _value(values, "tokenizer.ggml.tokens", list)
    kinds = _value(values, "tokenizer.ggml.token_type", list)
    require(
        len(tokens) == len(kinds) and len(set(tokens)) == len(tokens),
        f"the GGUF file has {len(tokens)} tokens, {len(set(tokens))} of them different, and "
        f"{len(kinds)} kinds; get the file again",
    )
    added = [
        AddedToken(content=token, id=index, special=kind == CONTROL)
        for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (CONTROL, USER_DEFINED)
    ]
    return BPETokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[_pair(merge) for merge in _value(values, "tokenizer.ggml.merges", list)],
        pattern=pattern or GPT2_PATTERN,
        added_tokens=added,
        pad_id=values.get("tokenizer.ggml.padding_token_id"),
        bos_id=values.get("tokenizer.ggml.bos_token_id"),
        eos_id=values.get("tokenizer.ggml.eos_token_id"),
        unk_id=values.get("tokenizer.ggml.unknown_token_id"),
        chat_template=values.get("tokenizer.chat_template"),
    )


def _value(values: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Give a value that must be there."""
    value = values.get(name)
    if not isinstance(value, kind):
        raise ValueError(
            f"{name}={value!r:.80} of the GGUF file must be of type {kind.__name__}; use a whole "
            "file of a Llama model"
        )
    return value


def _pair(merge: str) -> tuple[str, str]:
    """Split a merge at its space: the byte level has another character for spaces in tokens."""
    left, space, right = merge.partition(" ")
    require(
        bool(left and space and right),
        f"the GGUF file holds the merge {merge!r}, which is no pair; get the file again",
    )
    return left, right


def _their_name(name: str) -> str:
    """Translate a tensor's name."""
    stem, _, kind = name.rpartition(".")
    layer = re.match(r"blk\.(\d+)\.", stem)
    pattern = NAMES.get(re.sub(r"^blk\.\d+\.", "blk.*.", stem))
    if pattern is None:
        raise ValueError(
            f"the GGUF file holds {name}, which Llama does not have; use the file of another model"
        )
    return f"{pattern.replace('*', layer.group(1)) if layer else pattern}.{kind}"
