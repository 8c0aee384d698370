"""Whole attention layers of other packages, with our biases in place of theirs."""

import pytest
import torch
from conformer.conformer import Attention as ConformerAttention
from parity import FLOATS, close, randomized
from transformers import Wav2Vec2BertConfig, Wav2Vec2ConformerConfig, XLNetConfig
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertSelfAttention
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import (
    Wav2Vec2ConformerRelPositionalEmbedding,
    Wav2Vec2ConformerSelfAttention,
)
from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

from tfbook.attention import attention
from tfbook.positions import ShawRelative, TransformerXLRelative
from tfbook.shapes import merge_heads, split_heads

B, H, N, D_HEAD, M = 2, 3, 11, 10, 4
D = H * D_HEAD


def xlnet(dtype: torch.dtype) -> tuple[TransformerXLRelative, XLNetRelativeAttention]:
    theirs = XLNetRelativeAttention(XLNetConfig(d_model=D, n_head=H, dropout=0.0))
    for parameter in (theirs.q, theirs.k, theirs.v, theirs.o, theirs.r):
        parameter.data = torch.randn(D, H * D_HEAD).view(D, H, D_HEAD) * D**-0.5
    for parameter in (theirs.r_w_bias, theirs.r_r_bias):
        parameter.data = torch.randn(H, D_HEAD)
    theirs = theirs.to(dtype).eval()
    ours = TransformerXLRelative(H, D_HEAD, D).to(dtype)
    ours.u.data, ours.v.data = theirs.r_w_bias.data, theirs.r_r_bias.data
    # XLNet's codes have all sines first.
    w_r = theirs.r.data.flatten(1).T
    ours.w_r.weight.data = torch.stack([w_r[:, : D // 2], w_r[:, D // 2 :]], dim=-1).flatten(1)
    return ours, theirs


@pytest.mark.parametrize("dtype", FLOATS)
def test_attention_equals_xlnet_with_memory(dtype: torch.dtype) -> None:
    ours, theirs = xlnet(dtype)
    memory = 4
    x = torch.randn(B, N, D, dtype=dtype)
    steps = torch.arange(N, memory - N, -1, dtype=dtype)
    angles = steps[:, None] / 10_000 ** (torch.arange(0, D, 2, dtype=dtype) / D)
    codes = torch.cat([angles.sin(), angles.cos()], dim=-1)[:, None].expand(-1, B, -1)
    mems, h = x.transpose(0, 1).split([memory, N - memory])
    expected = theirs(h, None, None, None, codes, None, mems=mems)[0].transpose(0, 1)
    q, k, v = (split_heads(x @ part.flatten(1), H) for part in (theirs.q, theirs.k, theirs.v))
    q, positions = q[:, :, memory:], torch.arange(N)
    heads = attention(q, k, v, bias=ours(q, k, positions[memory:], positions))
    output = merge_heads(heads) @ theirs.o.flatten(1).T
    close(theirs.layer_norm(output + x[:, memory:]), expected)


def test_attention_equals_wav2vec2_conformer() -> None:
    sizes = dict(hidden_size=D, num_attention_heads=H, attention_dropout=0.0)
    config = Wav2Vec2ConformerConfig(position_embeddings_type="relative", **sizes)
    config._attn_implementation = "eager"
    theirs = randomized(Wav2Vec2ConformerSelfAttention(config))
    ours = TransformerXLRelative(H, D_HEAD, D)
    ours.u.data, ours.v.data = theirs.pos_bias_u.data, theirs.pos_bias_v.data
    ours.w_r.weight.data = theirs.linear_pos.weight.data
    x, positions = torch.randn(B, N, D), torch.arange(N)
    codes = Wav2Vec2ConformerRelPositionalEmbedding(config)(x)
    q, k, v = (
        split_heads(part(x), H) for part in (theirs.linear_q, theirs.linear_k, theirs.linear_v)
    )
    heads = attention(q, k, v, bias=ours(q, k, positions, positions))
    expected = theirs(x, relative_position_embeddings=codes)[0]
    close(theirs.linear_out(merge_heads(heads)), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_attention_equals_wav2vec2_bert(dtype: torch.dtype) -> None:
    sizes = dict(hidden_size=D, num_attention_heads=H, attention_dropout=0.0)
    reach = dict(left_max_position_embeddings=M, right_max_position_embeddings=M)
    config = Wav2Vec2BertConfig(position_embeddings_type="relative_key", **sizes, **reach)
    config._attn_implementation = "eager"
    theirs = randomized(Wav2Vec2BertSelfAttention(config), dtype)
    ours = ShawRelative(D_HEAD, max_distance=M, values=False).to(dtype)
    theirs.distance_embedding.weight.data *= 3
    ours.key_table.data = theirs.distance_embedding.weight.data
    x, positions = torch.randn(B, N, D, dtype=dtype), torch.arange(N)
    q, k, v = (
        split_heads(part(x), H) for part in (theirs.linear_q, theirs.linear_k, theirs.linear_v)
    )
    heads = attention(q, k, v, bias=ours(q, k, positions, positions))
    close(theirs.linear_out(merge_heads(heads)), theirs(x)[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_attention_equals_the_conformer_package(dtype: torch.dtype) -> None:
    theirs = randomized(ConformerAttention(D, H, D_HEAD, max_pos_emb=M), dtype)
    ours = ShawRelative(D_HEAD, max_distance=M, values=False).to(dtype)
    theirs.rel_pos_emb.weight.data *= 3
    # Its offsets count from the key to the query.
    ours.key_table.data = theirs.rel_pos_emb.weight.data.flip(0)
    x, positions = torch.randn(B, N, D, dtype=dtype), torch.arange(N)
    q, (k, v) = theirs.to_q(x), theirs.to_kv(x).chunk(2, dim=-1)
    q, k, v = (split_heads(part, H) for part in (q, k, v))
    heads = attention(q, k, v, bias=ours(q, k, positions, positions))
    close(theirs.to_out(merge_heads(heads)), theirs(x))
