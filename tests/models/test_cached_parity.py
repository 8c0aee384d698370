"""Whole stacks beside Hugging Face's: padded on the left, and decoded token by token.

Each pair has the same weights and gets the same embedded tokens. Both decode through a cache of
their own: a prompt, then one token after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import hugging_face as hf
import pytest
import torch
import torch.nn.functional as F
from parity import FLOATS, close, randomized
from torch import Tensor, nn
from transformers import (
    BloomConfig,
    BloomModel,
    GPT2Config,
    GPT2Model,
    GPTJConfig,
    GPTJModel,
    GPTNeoXConfig,
    GPTNeoXModel,
    LlamaConfig,
    LlamaModel,
    MptConfig,
    MptModel,
    PreTrainedModel,
    T5Config,
)
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.models.t5.modeling_t5 import T5Stack

from tfbook.attention import KVCache, MultiHeadAttention, padding_mask
from tfbook.layers import FeedForward, LayerNorm, ParallelBlock
from tfbook.models import Decoder, StackConfig, build_decoder
from tfbook.positions import (
    DynamicNTKScaling,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    RotaryEmbedding,
    RotaryScaling,
    T5RelativeBias,
    YaRNScaling,
)

N, PROMPT, N_LAYERS, D_HEAD, D_FF = 13, 5, 2, 10, 17
LENGTHS = (N, 10, 9)
B = len(LENGTHS)


@dataclass(frozen=True)
class Pair:
    """One of our stacks and theirs with the same weights.

    Args:
        ours: from embedded tokens to what the final norm gives.
        theirs: the same.
        n_kv_heads: heads that are kept.
        context: options of both for what cross-attention reads.
        pure: whether theirs computes in float64 throughout.
        absolute: whether theirs takes positions; else it counts from the mask or the columns.
        pads_float64: whether theirs can be padded in float64. Where not, its mask overflows the
            softmax in float32, and what padding sees is NaN.
    """

    ours: nn.Module
    theirs: PreTrainedModel
    n_kv_heads: int
    context: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    pure: bool = False
    absolute: bool = True
    pads_float64: bool = True

    def caches(self, dtype: torch.dtype) -> tuple[KVCache, Cache]:
        """Empty caches of both."""
        config = self.theirs.config
        sizes = dict(n_layers=N_LAYERS, batch=B, n_kv_heads=self.n_kv_heads, d_head=D_HEAD)
        theirs: Cache = DynamicCache(config=config)
        if self.context[0]:
            theirs = EncoderDecoderCache(theirs, DynamicCache(config=config))
        return KVCache(max_length=N, dtype=dtype, **sizes), theirs


class Positioned(nn.Module):
    """A stack behind a table of positions."""

    def __init__(self, decoder: Decoder, d_model: int) -> None:
        super().__init__()
        self.table, self.decoder = LearnedPositions(2 * N, d_model), decoder

    def forward(self, x: Tensor, *, positions: Tensor, **options: Any) -> Tensor:
        return self.decoder(self.table(x, positions), positions=positions, **options)


def decoder(positions: str, n_heads: int, *, cross_attention: bool = False, **changes: Any) -> Any:
    """A pre-norm stack."""
    sizes = dict(d_model=n_heads * D_HEAD, n_heads=n_heads, d_ff=D_FF, n_layers=N_LAYERS)
    config = StackConfig(**{**sizes, "dropout_p": 0.0, "placement": "pre", **changes})
    return build_decoder(config, positions=positions, cross_attention=cross_attention)


def gpt2(n_heads: int, dtype: torch.dtype) -> Pair:
    d_model = n_heads * D_HEAD
    stack = decoder("none", n_heads, activation="gelu_tanh")
    ours = randomized(Positioned(stack, d_model), dtype)
    sizes = dict(n_positions=2 * N, n_embd=d_model, n_layer=N_LAYERS, n_head=n_heads, n_inner=D_FF)
    theirs = GPT2Model(GPT2Config(vocab_size=2, bos_token_id=0, eos_token_id=0, **sizes))
    theirs.wpe.weight.data = ours.table.table.data.clone()
    copy_stack(ours.decoder, theirs.h, hf.copy_gpt2, theirs.ln_f)
    return Pair(ours, theirs.to(dtype).eval(), n_heads, pure=True)


def llama(
    n_heads: int,
    dtype: torch.dtype,
    *,
    n_kv_heads: int | None = None,
    scaling: RotaryScaling | None = None,
    rope: dict[str, Any] | None = None,
) -> Pair:
    options = dict(norm="rms_norm", activation="silu", bias=False, feed_forward="gated")
    ours = decoder("rotary", n_heads, n_kv_heads=n_kv_heads, **options)
    for block in ours.blocks:
        block.attention.rotate = RotaryEmbedding(D_HEAD, scaling=scaling)
    randomized(ours, dtype)
    sizes = dict(hidden_size=n_heads * D_HEAD, intermediate_size=D_FF, vocab_size=2, pad_token_id=0)
    heads = dict(num_attention_heads=n_heads, num_key_value_heads=n_kv_heads or n_heads)
    rope = {"rope_type": "default", "rope_theta": 10_000.0, **(rope or {})}
    trained = dict(max_position_embeddings=8, rope_parameters=rope)
    theirs = LlamaModel(LlamaConfig(num_hidden_layers=N_LAYERS, **sizes, **heads, **trained))
    copy_stack(ours, theirs.layers, hf.copy_llama, theirs.norm)
    return Pair(ours, theirs.to(dtype).eval(), n_kv_heads or n_heads)


def parallel(n_heads: int, dtype: torch.dtype, *, layout: str, norms: int, bias: bool) -> Decoder:
    """A stack of parallel blocks in which four features of a head are turned."""
    d_model = n_heads * D_HEAD

    def block() -> ParallelBlock:
        rotate = RotaryEmbedding(D_HEAD, d_rotary=4, layout=layout)
        return ParallelBlock(
            attention=MultiHeadAttention(d_model, n_heads, bias=bias, rotate=rotate),
            feed_forward=FeedForward(d_model, D_FF, activation=partial(F.gelu, approximate="tanh")),
            norm=LayerNorm(d_model),
            feed_forward_norm=LayerNorm(d_model) if norms == 2 else None,
        )

    blocks = [block() for _ in range(N_LAYERS)]
    return randomized(Decoder(blocks, final_norm=LayerNorm(d_model)), dtype)


def gptj(n_heads: int, dtype: torch.dtype) -> Pair:
    ours = parallel(n_heads, dtype, layout="interleaved", norms=1, bias=False)
    sizes = dict(n_embd=n_heads * D_HEAD, n_head=n_heads, n_inner=D_FF, n_layer=N_LAYERS)
    config = GPTJConfig(vocab_size=2, rotary_dim=4, n_positions=2 * N, **sizes)
    theirs = GPTJModel(config)
    copy_stack(ours, theirs.h, hf.copy_gptj, theirs.ln_f)
    return Pair(ours, theirs.to(dtype).eval(), n_heads)


def neox(n_heads: int, dtype: torch.dtype) -> Pair:
    ours = parallel(n_heads, dtype, layout="halves", norms=2, bias=True)
    rope = dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=4.001 / D_HEAD)
    config = GPTNeoXConfig(
        vocab_size=2, hidden_size=n_heads * D_HEAD, num_attention_heads=n_heads,
        intermediate_size=D_FF, num_hidden_layers=N_LAYERS, rope_parameters=rope,
        hidden_act="gelu_new", use_parallel_residual=True,
    )  # fmt: skip
    theirs = GPTNeoXModel(config)
    copy_stack(ours, theirs.layers, hf.copy_neox, theirs.final_layer_norm)
    return Pair(ours, theirs.to(dtype).eval(), n_heads)


def bloom(n_heads: int, dtype: torch.dtype) -> Pair:
    d_model = n_heads * D_HEAD
    ours = randomized(decoder("alibi", n_heads, d_ff=4 * d_model, activation="gelu_tanh"), dtype)
    config = BloomConfig(vocab_size=2, hidden_size=d_model, n_head=n_heads, n_layer=N_LAYERS)
    theirs = BloomModel(config)
    theirs.word_embeddings_layernorm = nn.Identity()
    copy_stack(ours, theirs.h, hf.copy_bloom, theirs.ln_f)
    return Pair(ours, theirs.to(dtype).eval(), n_heads, absolute=False, pads_float64=False)


def mpt(n_heads: int, dtype: torch.dtype) -> Pair:
    d_model = n_heads * D_HEAD
    ours = decoder("alibi", n_heads, d_ff=4 * d_model, activation="gelu", bias=False)
    randomized(ours, dtype)
    sizes = dict(d_model=d_model, n_heads=n_heads, n_layers=N_LAYERS, max_seq_len=2 * N)
    theirs = MptModel(MptConfig(vocab_size=2, **sizes))
    copy_stack(ours, theirs.blocks, hf.copy_mpt, None)
    hf.copy_gain(ours.final_norm, theirs.norm_f)
    return Pair(ours, theirs.to(dtype).eval(), n_heads, absolute=False, pads_float64=False)


def t5(n_heads: int, dtype: torch.dtype) -> Pair:
    """The decoder of T5, with cross-attention; four of its eight buckets are wide."""
    d_model, buckets = n_heads * D_HEAD, (8, 11)
    ours = decoder("t5", n_heads, cross_attention=True, norm="rms_norm", bias=False)
    ours.position_bias = T5RelativeBias(
        n_heads, bidirectional=False, n_buckets=buckets[0], max_distance=buckets[1]
    )
    randomized(ours, dtype)
    ours.position_bias.table.data *= 3
    sizes = dict(d_model=d_model, d_kv=D_HEAD, num_heads=n_heads, d_ff=D_FF, num_layers=N_LAYERS)
    config = T5Config(
        vocab_size=2,
        is_decoder=True,
        relative_attention_num_buckets=buckets[0],
        relative_attention_max_distance=buckets[1],
        **sizes,
    )
    theirs = T5Stack(config)
    copy_stack(ours, theirs.block, hf.copy_t5, theirs.final_layer_norm)
    table = theirs.block[0].layer[0].SelfAttention.relative_attention_bias
    table.weight.data = ours.position_bias.table.data.clone()
    memory, visible = (
        torch.randn(B, 7, d_model, dtype=dtype),
        padding_mask(torch.tensor([7, 4, 3]), 7),
    )
    context = dict(encoder_hidden_states=memory, encoder_attention_mask=visible.long().flatten(1))
    of_ours = dict(context=memory, context_mask=visible)
    return Pair(ours, theirs.to(dtype).eval(), n_heads, context=(of_ours, context), absolute=False)


def copy_stack(
    ours: Decoder, layers: nn.ModuleList, copy: Callable[..., None], final_norm: nn.Module | None
) -> None:
    """Copy the blocks and the final norm."""
    for block, layer in zip(ours.blocks, layers, strict=True):
        copy(block, layer)
    if final_norm is not None:
        hf.copy_norm(ours.final_norm, final_norm)


TRAINED = {"original_max_position_embeddings": 8}
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, **TRAINED}
SCALINGS: list[tuple[RotaryScaling, dict[str, Any]]] = [
    (LinearScaling(3.0), {"rope_type": "linear", "factor": 3.0}),
    (YaRNScaling(4.0, 8), {"rope_type": "yarn", "factor": 4.0, **TRAINED}),
    (Llama3Scaling(8.0, original_length=8), {"rope_type": "llama3", "factor": 8.0, **LLAMA3}),
]
Make = Callable[[int, torch.dtype], Pair]
CASES: dict[str, tuple[Make, int]] = {
    "GPT-2, 3 heads": (gpt2, 3),
    "GPT-2, 5 heads": (gpt2, 5),
    "Llama, 3 heads, 1 for keys": (partial(llama, n_kv_heads=1), 3),
    "Llama, 5 heads": (llama, 5),
    "Llama, 6 heads, 3 for keys": (partial(llama, n_kv_heads=3), 6),
    **{
        f"Llama, {rope['rope_type']}": (partial(llama, scaling=scaling, rope=rope), 3)
        for scaling, rope in SCALINGS
    },
    "GPT-J, 3 heads": (gptj, 3),
    "GPT-NeoX, 5 heads": (neox, 5),
    "Bloom, 3 heads": (bloom, 3),
    "Bloom, 6 heads": (bloom, 6),
    "MPT, 5 heads": (mpt, 5),
    "MPT, 6 heads": (mpt, 6),
    "T5, 3 heads": (t5, 3),
    "T5, 5 heads": (t5, 5),
}


def real_tokens() -> Tensor:
    """True at tokens; the padding is on the left."""
    return torch.arange(N) >= N - torch.tensor(LENGTHS)[:, None]


def pieces(n: int, cached: bool) -> list[slice]:
    """The whole, or a prompt and then single tokens: as many whatever the length."""
    prompt = n - N + PROMPT
    return (
        [slice(0, prompt), *(slice(i, i + 1) for i in range(prompt, n))] if cached else [slice(n)]
    )


def run_ours(pair: Pair, x: Tensor, real: Tensor | None, cached: bool) -> Tensor:
    positions = torch.arange(N) if real is None else (real.cumsum(-1) - 1).clamp(min=0)
    cache = pair.caches(x.dtype)[0] if cached else None
    outputs = [
        pair.ours(
            x[:, part],
            mask=None if real is None else real[:, None, None, : part.stop],
            positions=positions[..., part],
            cache=cache,
            **pair.context[0],
        )
        for part in pieces(N, cached)
    ]
    return torch.cat(outputs, dim=1)


def run_theirs(pair: Pair, x: Tensor, real: Tensor, cached: bool) -> Tensor:
    if x.dtype == torch.float64 and not pair.pads_float64 and not real.all():
        return run_theirs_one_by_one(pair, x, cached)
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    cache = pair.caches(x.dtype)[1] if cached else None
    outputs = []
    for part in pieces(x.shape[1], cached):
        options = {"position_ids": positions[:, part]} if pair.absolute else {}
        output = pair.theirs(
            inputs_embeds=x[:, part],
            attention_mask=real[:, : part.stop].long(),
            past_key_values=cache,
            use_cache=cached,
            **options,
            **pair.context[1],
        )
        outputs.append(output.last_hidden_state)
    return torch.cat(outputs, dim=1)


def run_theirs_one_by_one(pair: Pair, x: Tensor, cached: bool) -> Tensor:
    """Each sequence alone, without its padding, which gets zeros."""
    y = torch.zeros_like(x)
    for row, n in enumerate(LENGTHS):
        alone = x[row : row + 1, -n:]
        real = torch.ones(1, n, dtype=torch.bool)
        y[row, -n:] = run_theirs(pair, alone, real, cached)[0]
    return y


def agree(pair: Pair, ours: Tensor, theirs: Tensor) -> None:
    """Theirs may hold float32 steps in a float64 model."""
    if not pair.pure:
        ours, theirs = ours.float(), theirs.float()
    close(ours, theirs)


@torch.no_grad()
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_stacks_agree_in_one_pass_and_token_by_token(
    case: str, padded: bool, dtype: torch.dtype
) -> None:
    make, n_heads = CASES[case]
    pair = make(n_heads, dtype)
    x = torch.randn(B, N, n_heads * D_HEAD, dtype=dtype)
    at = real_tokens() if padded else torch.ones(B, N, dtype=torch.bool)
    real = at if padded else None
    whole, steps = (run_theirs(pair, x, at, cached)[at] for cached in (False, True))
    agree(pair, run_ours(pair, x, real, cached=False)[at], whole)
    agree(pair, run_ours(pair, x, real, cached=True)[at], steps)
    agree(pair, steps, whole)
    # The positions mean something here: without them the outputs differ.
    same = torch.zeros(N, dtype=torch.int64)
    mask = None if real is None else real[:, None, None]
    unplaced = pair.ours(x, mask=mask, positions=same, **pair.context[0])
    assert (unplaced[at] - whole).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("dtype", FLOATS)
def test_dynamic_scaling_agrees_with_llama_without_a_cache(dtype: torch.dtype) -> None:
    """Theirs takes one length for the whole batch, so each sequence goes alone."""
    rope = {"rope_type": "dynamic", "factor": 2.0, **TRAINED}
    x, real = torch.randn(B, N, 3 * D_HEAD, dtype=dtype), real_tokens()
    pair = llama(3, dtype, scaling=DynamicNTKScaling(2.0, 8), rope=rope)
    ours = run_ours(pair, x, real, cached=False)
    for row in range(B):
        theirs = llama(3, dtype, scaling=DynamicNTKScaling(2.0, 8), rope=rope).theirs
        expected = theirs(
            inputs_embeds=x[row : row + 1],
            attention_mask=real[row : row + 1].long(),
            position_ids=(real[row : row + 1].cumsum(-1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        agree(pair, ours[row, real[row]], expected[0, real[row]])
    with pytest.raises(RuntimeError, match="depends on the length of the sequence"):
        run_ours(pair, x, real, cached=True)
