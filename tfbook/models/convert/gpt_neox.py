"""GPT-NeoX: rotary positions for a part of each head, blocks in parallel with two norms."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

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
    read_number,
    required_size,
    write_activation,
)
from tfbook.models.convert.tensors import Entry, renamed, stacked_by_head


def _build(settings: Settings, names: Collection[str]) -> CausalLM:
    rotary = read_rotary(
        settings,
        d_head=required_size(settings, "hidden_size")
        // required_size(settings, "num_attention_heads"),
        base=read_number(settings, "rotary_emb_base", 10_000.0),
        fraction=read_number(settings, "rotary_pct", 0.25),
    )
    return CausalLM(
        CausalLMConfig(
            vocab_size=required_size(settings, "vocab_size"),
            decoder=_stack(settings, rotary),
            max_length=read_max_length(settings, rotary, 2048),
            positions="rotary",
            tie_output=read_flag(settings, "tie_word_embeddings", False),
        )
    )


def _stack(settings: Settings, rotary: RotaryConfig) -> StackConfig:
    parallel = read_flag(settings, "use_parallel_residual", True)
    bias = read_flag(settings, "attention_bias", True)
    return StackConfig(
        d_model=required_size(settings, "hidden_size"),
        n_heads=required_size(settings, "num_attention_heads"),
        d_ff=required_size(settings, "intermediate_size"),
        n_layers=required_size(settings, "num_hidden_layers"),
        dropout_p=read_number(settings, "hidden_dropout", 0.0),
        norm="layer_norm",
        norm_eps=read_number(settings, "layer_norm_eps", 1e-5),
        placement="parallel_two_norms" if parallel else "pre",
        activation=read_activation(settings, "hidden_act", "gelu"),
        attention_bias=bias,
        output_bias=bias,
        rotary=rotary,
    )


def _write(model: CausalLM) -> dict[str, Any]:
    config = model.config
    stack, rotary = config.decoder, config.decoder.rotary or RotaryConfig()
    fraction = (rotary.d_rotary or stack.d_head) / stack.d_head
    if int(stack.d_head * fraction) != (rotary.d_rotary or stack.d_head):
        fraction += 0.5 / stack.d_head  # theirs cuts the product off, which lies just below
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": stack.d_model,
        "intermediate_size": stack.d_ff,
        "num_hidden_layers": stack.n_layers,
        "num_attention_heads": stack.n_heads,
        "hidden_act": write_activation(stack.activation),
        "hidden_dropout": stack.dropout_p,
        "attention_dropout": 0.0,
        "max_position_embeddings": write_max_length(config.max_length, rotary),
        "layer_norm_eps": 1e-5 if stack.norm_eps is None else stack.norm_eps,
        "rope_parameters": write_rotary(rotary) | {"partial_rotary_factor": fraction},
        "use_parallel_residual": stack.placement == "parallel_two_norms",
        "attention_bias": stack.biases[0],
        "tie_word_embeddings": config.tie_output,
    }


def _entries(model: CausalLM) -> list[Entry]:
    stack = model.config.decoder
    parallel = stack.placement == "parallel_two_norms"
    norms = ("norm", "feed_forward_norm")
    if not parallel:
        norms = ("attention_residual.norm", "feed_forward_residual.norm")
    entries = [Entry("gpt_neox.embed_in.weight", ("embedding.weight",))]
    for i in range(stack.n_layers):
        theirs, ours = f"gpt_neox.layers.{i}", f"decoder.blocks.{i}"
        attention = f"{theirs}.attention"
        entries += renamed(f"{theirs}.input_layernorm", f"{ours}.{norms[0]}")
        entries += renamed(f"{theirs}.post_attention_layernorm", f"{ours}.{norms[1]}")
        entries += stacked_by_head(
            f"{attention}.query_key_value", f"{ours}.attention", stack.n_heads
        )
        entries += renamed(f"{attention}.dense", f"{ours}.attention.w_o")
        entries += renamed(f"{theirs}.mlp.dense_h_to_4h", f"{ours}.feed_forward.w_up")
        entries += renamed(f"{theirs}.mlp.dense_4h_to_h", f"{ours}.feed_forward.w_down")
    final = renamed("gpt_neox.final_layer_norm", "decoder.final_norm")
    return [*entries, *final, *renamed("lm_head", "head")]


def _same(model: CausalLM) -> dict[str, str]:
    return {"lm_head.weight": "gpt_neox.embed_in.weight"} if model.config.tie_output else {}


GPT_NEOX = Architecture(
    model_type="gpt_neox",
    classes=("GPTNeoXForCausalLM", "GPTNeoXModel"),
    prefix="gpt_neox.",
    heads=("lm_head.",),
    # Causal masks and frequencies, which early releases kept beside the weights.
    ignored=("*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq"),
    build=_build,
    write=_write,
    entries=_entries,
    same=_same,
    old_names={"embed_out.": "lm_head."},
)
