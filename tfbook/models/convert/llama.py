"""Llama and Mistral: rotary positions, RMS norms before gated layers, grouped heads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tfbook.checks import require
from tfbook.models.causal_lm import CausalLM
from tfbook.models.config import CausalLMConfig, RotaryConfig, StackConfig
from tfbook.models.convert.architecture import Architecture
from tfbook.models.convert.rotary import (
    read_max_length,
    read_rotary,
    write_max_length,
    write_rotary,
)
from tfbook.models.convert.settings import (
    Settings,
    read_activation,
    read_flag,
    read_int,
    read_number,
    required_size,
    write_activation,
)
from tfbook.models.convert.tensors import Entry, renamed


def _build_llama(settings: Settings, names: Collection[str]) -> CausalLM:
    return CausalLM(
        _config(
            settings,
            n_kv_heads=read_int(settings, "num_key_value_heads", None),
            bias=read_flag(settings, "attention_bias", False),
            feed_forward_bias=read_flag(settings, "mlp_bias", False),
            window=None,
            max_length=2048,
        )
    )


def _build_mistral(settings: Settings, names: Collection[str]) -> CausalLM:
    kinds = settings.get("layer_types") or ["sliding_attention"]
    require(
        isinstance(kinds, Sequence) and all(kind == "sliding_attention" for kind in kinds),
        f"config has layer_types={kinds!r}, but one window for all layers is what is known here; "
        "use a checkpoint without them",
    )
    # What is missing is the first model's; null is a choice: as many heads, and no window.
    usual = {"num_key_value_heads": 8, "sliding_window": 4096, **settings}
    return CausalLM(
        _config(
            settings,
            n_kv_heads=read_int(usual, "num_key_value_heads", None),
            bias=False,
            feed_forward_bias=False,
            window=read_int(usual, "sliding_window", None),
            max_length=131_072,
        )
    )


def _config(
    settings: Settings,
    *,
    n_kv_heads: int | None,
    bias: bool,
    feed_forward_bias: bool,
    window: int | None,
    max_length: int,
) -> CausalLMConfig:
    d_model = required_size(settings, "hidden_size")
    n_heads = required_size(settings, "num_attention_heads")
    d_head = read_int(settings, "head_dim", None) or d_model // n_heads
    rotary = _rotary(settings, d_head)
    stack = StackConfig(
        d_model=d_model,
        n_heads=n_heads,
        d_ff=required_size(settings, "intermediate_size"),
        n_layers=required_size(settings, "num_hidden_layers"),
        n_kv_heads=n_kv_heads,
        dropout_p=0.0,
        norm="rms_norm",
        norm_eps=read_number(settings, "rms_norm_eps", 1e-6),
        placement="pre",
        activation=read_activation(settings, "hidden_act", "silu"),
        feed_forward="gated",
        bias=bias,
        feed_forward_bias=feed_forward_bias,
        head_width=d_head,
        window=window,
        rotary=rotary,
    )
    return CausalLMConfig(
        vocab_size=required_size(settings, "vocab_size"),
        decoder=stack,
        max_length=read_max_length(settings, rotary, max_length),
        positions="rotary",
        tie_output=read_flag(settings, "tie_word_embeddings", False),
    )


def _rotary(settings: Settings, d_head: int) -> RotaryConfig:
    rotary = read_rotary(settings, d_head=d_head, base=10_000.0, fraction=1.0)
    require(
        rotary.d_rotary is None,
        f"config turns {rotary.d_rotary} of {d_head} features, but these models turn whole heads; "
        "leave partial_rotary_factor out",
    )
    return rotary


def _write_llama(model: CausalLM) -> dict[str, Any]:
    config = model.config
    attention_bias, _, feed_forward_bias = config.decoder.biases
    return _write(config) | {"attention_bias": attention_bias, "mlp_bias": feed_forward_bias}


def _write_mistral(model: CausalLM) -> dict[str, Any]:
    config = model.config
    return _write(config) | {"sliding_window": config.decoder.window}


def _write(config: CausalLMConfig) -> dict[str, Any]:
    stack, rotary = config.decoder, config.decoder.rotary or RotaryConfig()
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": stack.d_model,
        "intermediate_size": stack.d_ff,
        "num_hidden_layers": stack.n_layers,
        "num_attention_heads": stack.n_heads,
        "num_key_value_heads": stack.kv_heads,
        "head_dim": stack.d_head,
        "hidden_act": write_activation(stack.activation),
        "max_position_embeddings": write_max_length(config.max_length, rotary),
        "rms_norm_eps": 1e-6 if stack.norm_eps is None else stack.norm_eps,
        "rope_parameters": write_rotary(rotary),
        "tie_word_embeddings": config.tie_output,
        "attention_dropout": 0.0,
    }


def _entries(model: CausalLM) -> list[Entry]:
    entries = [Entry("model.embed_tokens.weight", ("embedding.weight",))]
    for i in range(model.config.decoder.n_layers):
        theirs, ours = f"model.layers.{i}", f"decoder.blocks.{i}"
        for name in "qkvo":
            entries += renamed(f"{theirs}.self_attn.{name}_proj", f"{ours}.attention.w_{name}")
        for name in ("gate", "up", "down"):
            entries += renamed(f"{theirs}.mlp.{name}_proj", f"{ours}.feed_forward.w_{name}")
        entries += renamed(f"{theirs}.input_layernorm", f"{ours}.attention_residual.norm")
        entries += renamed(
            f"{theirs}.post_attention_layernorm", f"{ours}.feed_forward_residual.norm"
        )
    return [*entries, *renamed("model.norm", "decoder.final_norm"), *renamed("lm_head", "head")]


def _same(model: CausalLM) -> dict[str, str]:
    return {"lm_head.weight": "model.embed_tokens.weight"} if model.config.tie_output else {}


LLAMA = Architecture(
    model_type="llama",
    classes=("LlamaForCausalLM", "LlamaModel"),
    prefix="model.",
    heads=("lm_head.",),
    ignored=("*.rotary_emb.inv_freq",),
    build=_build_llama,
    write=_write_llama,
    entries=_entries,
    same=_same,
)
MISTRAL = Architecture(
    model_type="mistral",
    classes=("MistralForCausalLM", "MistralModel"),
    prefix="model.",
    heads=("lm_head.",),
    ignored=("*.rotary_emb.inv_freq",),
    build=_build_mistral,
    write=_write_mistral,
    entries=_entries,
    same=_same,
)
