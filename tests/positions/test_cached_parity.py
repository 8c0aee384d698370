"""Relative schemes in a causal layer, padded on the left and decoded token by token.

The schemes that act in a whole stack are compared in ``tests/models/test_cached_parity.py``.
"""

from __future__ import annotations

import pytest
import torch
from hugging_face import copy_separate
from parity import FLOATS, close, randomized
from torch import Tensor, nn
from transformers import VitsConfig, Wav2Vec2ConformerConfig
from transformers.cache_utils import DynamicCache
from transformers.models.speecht5.modeling_speecht5 import (
    SpeechT5Attention,
    SpeechT5RelativePositionalEncoding,
)
from transformers.models.vits.modeling_vits import VitsAttention
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import (
    Wav2Vec2ConformerRelPositionalEmbedding,
    Wav2Vec2ConformerSelfAttention,
)

from tfbook.attention import KVCache, MultiHeadAttention, causal_mask
from tfbook.positions import ShawRelative, TransformerXLRelative

N, D_HEAD, M, LENGTHS = 13, 10, 4, (13, 10, 9)
B = len(LENGTHS)
PIECES = [slice(0, 5), *(slice(i, i + 1) for i in range(5, N))]
HEADS = [3, 5, 6]
PROJECTIONS = "q_proj k_proj v_proj out_proj"


def layer(n_heads: int, relative: nn.Module, dtype: torch.dtype) -> MultiHeadAttention:
    """Offsets weigh as much as the contents."""
    made = randomized(MultiHeadAttention(n_heads * D_HEAD, n_heads, relative=relative), dtype)
    for parameter in relative.parameters():
        parameter.data *= 2
    return made


def real_tokens() -> Tensor:
    """True at tokens; the padding is on the left."""
    return torch.arange(N) >= N - torch.tensor(LENGTHS)[:, None]


def additive(real: Tensor, dtype: torch.dtype) -> Tensor:
    """The causal mask with the padding as numbers to add."""
    visible = causal_mask(N) & real[:, None, None]
    return torch.zeros(B, 1, N, N, dtype=dtype).masked_fill(~visible, -1e30)


def decoded(ours: MultiHeadAttention, x: Tensor, real: Tensor) -> Tensor:
    """What comes out piece by piece; the whole at once gives the same."""
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    mask = real[:, None, None]
    sizes = dict(n_kv_heads=ours.n_heads, max_length=N, d_head=D_HEAD)
    cache = KVCache(n_layers=1, batch=B, dtype=x.dtype, **sizes)
    outputs = []
    for piece in PIECES:
        here, seen = positions[:, piece], mask[..., : piece.stop]
        options = dict(mask=seen, causal=True, positions=here)
        outputs.append(ours(x[:, piece], cache=cache.layer(0), **options))
        cache.advance(here.shape[1], positions=here)
    together = torch.cat(outputs, dim=1)
    close(together[real], ours(x, mask=mask, causal=True, positions=positions)[real])
    return together


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_heads", HEADS)
def test_vectors_for_keys_equal_speecht5_with_its_cache(n_heads: int, dtype: torch.dtype) -> None:
    ours = layer(n_heads, ShawRelative(D_HEAD, max_distance=M, values=False), dtype)
    theirs = SpeechT5Attention(n_heads * D_HEAD, n_heads, is_decoder=True, layer_idx=0)
    copy_separate(ours, theirs, PROJECTIONS)
    # Its offsets count from the key to the query, from -max_length to max_length - 1.
    encoding = SpeechT5RelativePositionalEncoding(D_HEAD, max_length=M + 1).to(dtype)
    encoding.pe_k.weight.data[1:] = ours.relative.key_table.data.flip(0)
    x, real = torch.randn(B, N, n_heads * D_HEAD, dtype=dtype), real_tokens()
    vectors, mask, cache = encoding(x), additive(real, dtype), DynamicCache()
    steps = [
        theirs(
            x[:, piece],
            past_key_values=cache,
            attention_mask=mask[:, :, piece, : piece.stop],
            position_bias=vectors[piece, : piece.stop],
        )[0]
        for piece in PIECES
    ]
    close(decoded(ours, x, real)[real], torch.cat(steps, dim=1)[real])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_heads", HEADS)
def test_vectors_for_keys_and_values_equal_vits(n_heads: int, dtype: torch.dtype) -> None:
    """It has no cache: its one causal pass is what ours gives step by step."""
    # Beyond its window it adds nothing, where ours clips: the window holds all offsets.
    ours = layer(n_heads, ShawRelative(D_HEAD, max_distance=N), dtype)
    sizes = dict(hidden_size=n_heads * D_HEAD, num_attention_heads=n_heads)
    theirs = VitsAttention(VitsConfig(window_size=N, attention_dropout=0.0, **sizes))
    copy_separate(ours, theirs, PROJECTIONS)
    theirs.emb_rel_k.data = ours.relative.key_table.data[None].clone()
    theirs.emb_rel_v.data = ours.relative.value_table.data[None].clone()
    x, real = torch.randn(B, N, n_heads * D_HEAD, dtype=dtype), real_tokens()
    expected = theirs(x, attention_mask=additive(real, dtype))[0]
    close(decoded(ours, x, real)[real], expected[real])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_heads", HEADS)
def test_transformer_xl_equals_wav2vec2_conformer(n_heads: int, dtype: torch.dtype) -> None:
    """It has no cache: its one causal pass is what ours gives step by step."""
    d_model = n_heads * D_HEAD
    ours = layer(n_heads, TransformerXLRelative(n_heads, D_HEAD, d_model), dtype)
    sizes = dict(hidden_size=d_model, num_attention_heads=n_heads, attention_dropout=0.0)
    config = Wav2Vec2ConformerConfig(position_embeddings_type="relative", **sizes)
    config._attn_implementation = "eager"
    theirs = Wav2Vec2ConformerSelfAttention(config).to(dtype).eval()
    copy_separate(ours, theirs, "linear_q linear_k linear_v linear_out")
    theirs.linear_pos.weight.data = ours.relative.w_r.weight.data.clone()
    theirs.pos_bias_u.data, theirs.pos_bias_v.data = ours.relative.u.data, ours.relative.v.data
    x, real = torch.randn(B, N, d_model, dtype=dtype), real_tokens()
    codes = Wav2Vec2ConformerRelPositionalEmbedding(config)(x)
    expected = theirs(x, attention_mask=additive(real, dtype), relative_position_embeddings=codes)[
        0
    ]
    # Its codes are float32 in a float64 model.
    close(decoded(ours, x, real)[real].float(), expected[real].float())
