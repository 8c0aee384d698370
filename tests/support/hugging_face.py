"""The weights of our blocks, copied to those of Hugging Face's models."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from parity import copy_linear
from torch import Tensor, nn

from tfbook.attention import MultiHeadAttention
from tfbook.layers import Block, ParallelBlock


def by_head(parts: list[Tensor], n_heads: int) -> Tensor:
    """One matrix, head by head: its queries, keys and values (Bloom, GPT-NeoX)."""
    heads = [rearrange(part, "(h d) ... -> h d ...", h=n_heads) for part in parts]
    return rearrange(torch.stack(heads, dim=1), "h three d ... -> (h three d) ...")


def by_part(parts: list[Tensor], n_heads: int) -> Tensor:
    """One matrix: all queries, then all keys, then all values (GPT-2, MPT)."""
    return torch.cat(parts)


def copy_fused(
    ours: MultiHeadAttention, theirs: nn.Module, join: Callable[[list[Tensor], int], Tensor]
) -> None:
    """Copy the three projections to one layer."""
    parts = [ours.w_q, ours.w_k, ours.w_v]
    theirs.weight.data = join([part.weight.data for part in parts], ours.n_heads)
    if theirs.bias is not None:
        theirs.bias.data = join([part.bias.data for part in parts], ours.n_heads)


def copy_separate(ours: MultiHeadAttention, theirs: nn.Module, names: str) -> None:
    """Copy the projections to four layers, whose names are given in the order q, k, v, o."""
    for part, name in zip((ours.w_q, ours.w_k, ours.w_v, ours.w_o), names.split(), strict=True):
        copy_linear(part, getattr(theirs, name))


def copy_gpt2(ours: Block, theirs: nn.Module) -> None:
    """Its linear weights are transposed."""
    attention, feed_forward = ours.attention, ours.feed_forward
    copy_fused(attention, theirs.attn.c_attn, by_part)
    theirs.attn.c_attn.weight.data = theirs.attn.c_attn.weight.data.T.contiguous()
    for our, their in [
        (attention.w_o, theirs.attn.c_proj),
        (feed_forward.w_up, theirs.mlp.c_fc),
        (feed_forward.w_down, theirs.mlp.c_proj),
    ]:
        copy_linear(our, their)
        their.weight.data = their.weight.data.T.contiguous()
    copy_linear(ours.attention_residual.norm, theirs.ln_1)
    copy_linear(ours.feed_forward_residual.norm, theirs.ln_2)


def copy_gptj(ours: ParallelBlock, theirs: nn.Module) -> None:
    """One norm for both branches."""
    copy_linear(ours.norm, theirs.ln_1)
    copy_separate(ours.attention, theirs.attn, "q_proj k_proj v_proj out_proj")
    copy_linear(ours.feed_forward.w_up, theirs.mlp.fc_in)
    copy_linear(ours.feed_forward.w_down, theirs.mlp.fc_out)


def copy_neox(ours: ParallelBlock, theirs: nn.Module) -> None:
    """A norm for each branch."""
    copy_linear(ours.norm, theirs.input_layernorm)
    copy_linear(ours.feed_forward_norm, theirs.post_attention_layernorm)
    copy_fused(ours.attention, theirs.attention.query_key_value, by_head)
    copy_linear(ours.attention.w_o, theirs.attention.dense)
    copy_linear(ours.feed_forward.w_up, theirs.mlp.dense_h_to_4h)
    copy_linear(ours.feed_forward.w_down, theirs.mlp.dense_4h_to_h)


def copy_bloom(ours: Block, theirs: nn.Module) -> None:
    """Norms before each sublayer, as in GPT-2."""
    copy_linear(ours.attention_residual.norm, theirs.input_layernorm)
    copy_linear(ours.feed_forward_residual.norm, theirs.post_attention_layernorm)
    copy_fused(ours.attention, theirs.self_attention.query_key_value, by_head)
    copy_linear(ours.attention.w_o, theirs.self_attention.dense)
    copy_linear(ours.feed_forward.w_up, theirs.mlp.dense_h_to_4h)
    copy_linear(ours.feed_forward.w_down, theirs.mlp.dense_4h_to_h)


def copy_mpt(ours: Block, theirs: nn.Module) -> None:
    """Nothing has a bias, the norms neither: ours get one of zero."""
    for our, their in [
        (ours.attention_residual.norm, theirs.norm_1),
        (ours.feed_forward_residual.norm, theirs.norm_2),
    ]:
        copy_gain(our, their)
    copy_fused(ours.attention, theirs.attn.Wqkv, by_part)
    copy_linear(ours.attention.w_o, theirs.attn.out_proj)
    copy_linear(ours.feed_forward.w_up, theirs.ffn.up_proj)
    copy_linear(ours.feed_forward.w_down, theirs.ffn.down_proj)


def copy_gain(ours: nn.Module, theirs: nn.Module) -> None:
    """To a layer norm without a bias."""
    theirs.weight.data = ours.weight.data.clone()
    ours.bias.data.zero_()


def copy_norm(ours: nn.Module, theirs: nn.Module) -> None:
    """To a norm of the same kind, with or without a bias."""
    theirs.load_state_dict(ours.state_dict())


def copy_llama(ours: Block, theirs: nn.Module) -> None:
    """RMS norms and a gated feed-forward layer, without biases."""
    copy_norm(ours.attention_residual.norm, theirs.input_layernorm)
    copy_norm(ours.feed_forward_residual.norm, theirs.post_attention_layernorm)
    copy_separate(ours.attention, theirs.self_attn, "q_proj k_proj v_proj o_proj")
    for our, name in [("w_gate", "gate_proj"), ("w_up", "up_proj"), ("w_down", "down_proj")]:
        copy_linear(getattr(ours.feed_forward, our), getattr(theirs.mlp, name))


def copy_t5(ours: Block, theirs: nn.Module) -> None:
    """T5 does not divide its scores by the root of the width: its queries do it."""
    self_attention, cross_attention, feed_forward = theirs.layer
    copy_separate(ours.attention, self_attention.SelfAttention, "q k v o")
    copy_separate(ours.cross_attention, cross_attention.EncDecAttention, "q k v o")
    for attention in (self_attention.SelfAttention, cross_attention.EncDecAttention):
        attention.q.weight.data /= ours.attention.d_head**0.5
    copy_linear(ours.feed_forward.w_up, feed_forward.DenseReluDense.wi)
    copy_linear(ours.feed_forward.w_down, feed_forward.DenseReluDense.wo)
    residuals = (ours.attention_residual, ours.cross_attention_residual, ours.feed_forward_residual)
    for residual, layer in zip(residuals, theirs.layer, strict=True):
        copy_norm(residual.norm, layer.layer_norm)
