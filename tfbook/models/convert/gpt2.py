"""GPT-2: learned positions, norms before every sublayer, transposed weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tfbook.models.causal_lm import CausalLM
from tfbook.models.config import CausalLMConfig, StackConfig
from tfbook.models.convert.architecture import Architecture
from tfbook.models.convert.settings import (
    Settings,
    read_activation,
    read_flag,
    read_int,
    read_number,
    require_setting,
    required_size,
    write_activation,
)
from tfbook.models.convert.tensors import Entry, renamed, stacked_transposed, transposed


def _build(settings: Settings, names: Collection[str]) -> CausalLM:
    for name, value in [
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
    ]:
        require_setting(settings, name, value)
    d_model = required_size(settings, "n_embd")
    stack = StackConfig(
        d_model=d_model,
        n_heads=required_size(settings, "n_head"),
        d_ff=read_int(settings, "n_inner", None) or 4 * d_model,
        n_layers=required_size(settings, "n_layer"),
        dropout_p=read_number(settings, "resid_pdrop", 0.1),
        norm="layer_norm",
        norm_eps=read_number(settings, "layer_norm_epsilon", 1e-5),
        placement="pre",
        activation=read_activation(settings, "activation_function", "gelu_new"),
    )
    return CausalLM(
        CausalLMConfig(
            vocab_size=required_size(settings, "vocab_size"),
            decoder=stack,
            max_length=read_int(settings, "n_positions", 1024),
            positions="learned",
            tie_output=read_flag(settings, "tie_word_embeddings", True),
        )
    )


def _write(model: CausalLM) -> dict[str, Any]:
    config = model.config
    stack = config.decoder
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.max_length,
        "n_embd": stack.d_model,
        "n_layer": stack.n_layers,
        "n_head": stack.n_heads,
        "n_inner": stack.d_ff,
        "activation_function": write_activation(stack.activation),
        "resid_pdrop": stack.dropout_p,
        "embd_pdrop": stack.dropout_p,
        "attn_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5 if stack.norm_eps is None else stack.norm_eps,
        "tie_word_embeddings": config.tie_output,
    }


def _entries(model: CausalLM) -> list[Entry]:
    entries = [
        Entry("transformer.wte.weight", ("embedding.weight",)),
        Entry("transformer.wpe.weight", ("embedding.positions.table",)),
    ]
    for i in range(model.config.decoder.n_layers):
        theirs, ours = f"transformer.h.{i}", f"decoder.blocks.{i}"
        entries += renamed(f"{theirs}.ln_1", f"{ours}.attention_residual.norm")
        entries += stacked_transposed(f"{theirs}.attn.c_attn", f"{ours}.attention")
        entries += transposed(f"{theirs}.attn.c_proj", f"{ours}.attention.w_o")
        entries += renamed(f"{theirs}.ln_2", f"{ours}.feed_forward_residual.norm")
        entries += transposed(f"{theirs}.mlp.c_fc", f"{ours}.feed_forward.w_up")
        entries += transposed(f"{theirs}.mlp.c_proj", f"{ours}.feed_forward.w_down")
    final = renamed("transformer.ln_f", "decoder.final_norm")
    return [*entries, *final, *renamed("lm_head", "head")]


def _same(model: CausalLM) -> dict[str, str]:
    return {"lm_head.weight": "transformer.wte.weight"} if model.config.tie_output else {}


GPT2 = Architecture(
    model_type="gpt2",
    classes=("GPT2LMHeadModel", "GPT2Model"),
    prefix="transformer.",
    heads=("lm_head.",),
    # Causal masks, which early releases kept beside the weights.
    ignored=("*.attn.bias", "*.attn.masked_bias"),
    build=_build,
    write=_write,
    entries=_entries,
    same=_same,
)
