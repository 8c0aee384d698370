from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import FLOATS, close, randomized
from rotary_embedding_torch import RotaryEmbedding as TheirRotary
from torch import Tensor
from transformers import GPTNeoXConfig, LlamaConfig
from transformers.models.gpt_neox import modeling_gpt_neox as neox
from transformers.models.gptj import modeling_gptj as gptj
from transformers.models.llama import modeling_llama as llama

from tfbook.attention import KVCache, MultiHeadAttention, causal_mask, padding_mask
from tfbook.positions import (
    LinearScaling,
    RotaryEmbedding,
    apply_rotary,
    apply_rotary_complex,
    convert_rotary_layout,
)

LAYOUTS = ["halves", "interleaved"]


def qk(n: int = 13, d_head: int = 10, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Three query heads and one key head of an odd length."""
    return torch.randn(2, 3, n, d_head, dtype=dtype), torch.randn(2, 1, n, d_head, dtype=dtype)


def test_worked_by_hand() -> None:
    # Width 4, base 100: frequencies 1 and 0.1. At position 2 the angles are 2 and 0.2.
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    c, s = [math.cos(2), math.cos(0.2)], [math.sin(2), math.sin(0.2)]
    halves = [c[0] - 3 * s[0], 2 * c[1] - 4 * s[1], 3 * c[0] + s[0], 4 * c[1] + 2 * s[1]]
    interleaved = [c[0] - 2 * s[0], 2 * c[0] + s[0], 3 * c[1] - 4 * s[1], 4 * c[1] + 3 * s[1]]
    at_two = torch.tensor([2])
    for layout, expected in [("halves", halves), ("interleaved", interleaved)]:
        y = RotaryEmbedding(4, base=100.0, layout=layout)(x, at_two)
        torch.testing.assert_close(y.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pairs", [1, 3, 5])
@pytest.mark.parametrize("batched", [False, True])
def test_real_and_complex_form_agree(
    batched: bool, pairs: int, layout: str, dtype: torch.dtype
) -> None:
    x, _ = qk(dtype=dtype)
    angles = 7 * torch.randn((2, 13, pairs) if batched else (13, pairs), dtype=dtype)
    y = apply_rotary(x, angles, layout=layout)
    close(y, apply_rotary_complex(x, angles, layout=layout))
    assert y[..., 2 * pairs :].equal(x[..., 2 * pairs :])
    assert not y[..., : 2 * pairs].isclose(x[..., : 2 * pairs]).all(-1).any()


@pytest.mark.parametrize("width", [10, 16])
def test_llama(width: int) -> None:
    q, k = qk(d_head=width)
    theirs = llama.LlamaRotaryEmbedding(LlamaConfig(hidden_size=3 * width, num_attention_heads=3))
    for positions in (torch.arange(13)[None], torch.randint(0, 60, (2, 13))):
        expected = llama.apply_rotary_pos_emb(q, k, *theirs(q, positions))
        ours = RotaryEmbedding(width)
        close(ours(q, positions), expected[0])
        close(ours(k, positions), expected[1])


def test_gpt_neox_turns_a_part_of_the_head() -> None:
    q, k = qk(d_head=22)
    config = GPTNeoXConfig(hidden_size=66, num_attention_heads=3)
    config.rope_parameters["partial_rotary_factor"] = 0.28  # 6 of 22
    positions = torch.randint(0, 60, (2, 13))
    cos, sin = neox.GPTNeoXRotaryEmbedding(config)(q, positions)
    expected = neox.apply_rotary_pos_emb(q, k, cos, sin)
    ours = RotaryEmbedding(22, d_rotary=6)
    close(ours(q, positions), expected[0])
    close(ours(k, positions), expected[1])


def test_gptj_turns_neighbours() -> None:
    q, _ = qk(d_head=22)
    sin, cos = gptj.create_sinusoidal_positions(61, 6).chunk(2, dim=-1)
    positions = torch.randint(0, 60, (2, 13))
    by_token = q.transpose(1, 2)
    turned = gptj.apply_rotary_pos_emb(by_token[..., :6], sin[positions], cos[positions])
    expected = torch.cat([turned, by_token[..., 6:]], dim=-1).transpose(1, 2)
    close(RotaryEmbedding(22, d_rotary=6, layout="interleaved")(q, positions), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_rotary_embedding_torch(dtype: torch.dtype) -> None:
    q, _ = qk(dtype=dtype)
    theirs = TheirRotary(10, cache_if_possible=False).to(dtype)
    # Its frequencies are float32 numbers even in a float64 model.
    theirs.freqs.data = (10_000.0 ** -(torch.arange(0, 10, 2).double() / 10)).to(dtype)
    ours = RotaryEmbedding(10, layout="interleaved")
    close(ours(q), theirs.rotate_queries_or_keys(q))
    close(ours(q, torch.arange(17, 30)), theirs.rotate_queries_or_keys(q, offset=17))


def test_learnt_frequencies_as_in_rotary_embedding_torch() -> None:
    q, _ = qk()
    theirs = TheirRotary(10, learned_freq=True)
    ours = RotaryEmbedding(10, layout="interleaved", learnable=True)
    assert ours.log_frequencies is not None
    close(ours.log_frequencies.data.exp(), theirs.freqs.data)
    ours.log_frequencies.data += 0.3 * torch.randn(5)
    theirs.freqs.data = ours.log_frequencies.data.exp()
    ours(q).sin().sum().backward()
    theirs.rotate_queries_or_keys(q).sin().sum().backward()
    # d/d(ln ω) = ω · d/dω
    expected = theirs.freqs.grad * theirs.freqs.data
    torch.testing.assert_close(ours.log_frequencies.grad, expected, rtol=1e-4, atol=1e-4)
    assert expected.abs().min() > 0.01
    assert not list(RotaryEmbedding(10).parameters())
    assert not RotaryEmbedding(10).state_dict()


@settings(deadline=None, max_examples=25)
@given(t=st.integers(0, 10_000), offset=st.integers(0, 500), seed=st.integers(0, 2**31))
def test_scores_depend_on_the_offset_alone(t: int, offset: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, 1, 1, 1, 14, dtype=torch.float64, generator=generator, device="cpu")
    for layout in LAYOUTS:
        rotary = RotaryEmbedding(14, layout=layout)
        here, there = torch.tensor([t], device="cpu"), torch.tensor([t + offset], device="cpu")
        score = (rotary(q, there) * rotary(k, here)).sum()
        first = (rotary(q, there - here) * k).sum()
        torch.testing.assert_close(score, first, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(rotary(q, there).norm(), q.norm())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_positions_of_100_000_stay_exact_in_bfloat16(layout: str) -> None:
    """The rounding of the output is all there is, whatever the model was cast to."""
    positions = torch.tensor([0, 255, 257, 4096, 65_537, 99_999, 100_000])
    x = torch.randn(1, 3, 7, 16).bfloat16()
    rotary = RotaryEmbedding(16, layout=layout).bfloat16()
    y = rotary(x, positions)
    assert y.dtype == torch.bfloat16
    angles = positions.double()[:, None] * 10_000.0 ** -(torch.arange(0, 16, 2).double() / 16)
    expected = apply_rotary_complex(x.double(), angles, layout=layout)
    assert (y.double() - expected).abs().max() < 3 * 2**-8 * x.double().abs().max()
    wide = rotary(x.float(), positions).double()
    assert (wide - expected).abs().max() < 1e-6
    # The classic bug: angles from bfloat16 positions and frequencies.
    narrow = (positions.bfloat16()[:, None] * angles[1].bfloat16() / 255).float()
    assert (apply_rotary(x.float(), narrow, layout=layout) - expected).abs().max() > 1


@pytest.mark.parametrize("to", LAYOUTS)
@pytest.mark.parametrize("d_rotary", [None, 6])
def test_converted_weights_give_the_same_scores(d_rotary: int | None, to: str) -> None:
    other = LAYOUTS[1 - LAYOUTS.index(to)]
    rotary = RotaryEmbedding(10, d_rotary=d_rotary, layout=other)
    ours = randomized(MultiHeadAttention(21, 3, n_kv_heads=1, d_head=10, rotate=rotary))
    theirs = randomized(MultiHeadAttention(21, 3, n_kv_heads=1, d_head=10))
    theirs.rotate = RotaryEmbedding(10, d_rotary=d_rotary, layout=to)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 21)
    assert (theirs(x, causal=True) - ours(x, causal=True)).abs().max() > 1e-3
    for part, n_heads in ((theirs.w_q, 3), (theirs.w_k, 1)):
        part.weight.data = convert_rotary_layout(part.weight, n_heads, to=to, d_rotary=d_rotary)
        part.bias.data = convert_rotary_layout(part.bias, n_heads, to=to, d_rotary=d_rotary)
    close(theirs(x, causal=True), ours(x, causal=True))
    back = convert_rotary_layout(theirs.w_q.weight, 3, to=other, d_rotary=d_rotary)
    assert back.equal(ours.w_q.weight)


def test_conversion_is_that_of_llamas_weights() -> None:
    weight = torch.randn(30, 7)
    expected = weight.view(3, 5, 2, 7).transpose(1, 2).reshape(30, 7)
    assert convert_rotary_layout(weight, 3, to="halves").equal(expected)


def test_positions_are_counted_when_none_are_given() -> None:
    q, _ = qk()
    rotary = RotaryEmbedding(10)
    close(rotary(q), rotary(q, torch.arange(13)))
    assert rotary(q, torch.arange(13)[None]).equal(rotary(q, torch.arange(13, dtype=torch.int32)))
    assert rotary(q, torch.zeros(13, dtype=torch.int64)).equal(q)


def attention(**options: Any) -> MultiHeadAttention:
    rotary = RotaryEmbedding(10, **options)
    return randomized(MultiHeadAttention(21, 3, n_kv_heads=1, d_head=10, rotate=rotary))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cached_equals_uncached(layout: str) -> None:
    mha = attention(layout=layout)
    x = torch.randn(2, 7, 21)
    expected = mha(x, causal=True, positions=torch.arange(7))
    cache = KVCache(n_layers=1, batch=2, n_kv_heads=1, max_length=7, d_head=10)
    steps = []
    for start, end in [(0, 3), (3, 4), (4, 7)]:
        positions = torch.arange(start, end)
        steps.append(mha(x[:, start:end], causal=True, positions=positions, cache=cache.layer(0)))
        cache.advance(end - start)
    close(torch.cat(steps, dim=1), expected)


def test_padding_on_the_left_changes_nothing() -> None:
    mha = attention()
    x = torch.randn(1, 5, 21)
    padded = torch.cat([torch.randn(1, 3, 21), x], dim=1)
    mask = padding_mask(torch.tensor([5]), 8).flip(-1) & causal_mask(8)
    shifted = mha(padded, mask=mask, positions=torch.arange(-3, 5))
    expected = mha(x, causal=True, positions=torch.arange(5))
    close(shifted[:, 3:], expected)
    # Only offsets count, so counting the padding is as good.
    close(mha(padded, mask=mask)[:, 3:], expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients(layout: str) -> None:
    x = torch.randn(2, 1, 3, 6, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, a: apply_rotary(x, a, layout=layout), (x, angles))
    seed = torch.randn_like(x)
    ours = torch.autograd.grad(apply_rotary(x, angles, layout=layout), (x, angles), seed)
    theirs = torch.autograd.grad(apply_rotary_complex(x, angles, layout=layout), (x, angles), seed)
    close(ours[0], theirs[0])
    close(ours[1], theirs[1])


def test_the_layout_of_the_memory_stays() -> None:
    """Heads side by side stay so: the fused kernel and merge_heads need no copy."""
    x = torch.randn(2, 13, 3, 10).transpose(1, 2)
    for layout in LAYOUTS:
        assert RotaryEmbedding(10, layout=layout)(x).stride() == x.stride()


@pytest.mark.parametrize("apply", [apply_rotary, apply_rotary_complex])
@pytest.mark.parametrize(
    ("angles", "layout", "message"),
    [
        (torch.zeros(5, 3), "halves", r"angles has shape \(5, 3\) .* of shape \(13, pairs\) or"),
        (torch.zeros(3, 13, 3), "halves", r"of shape \(13, pairs\) or \(2, 13, pairs\)"),
        (torch.zeros(13, 6), "halves", r"with 2·pairs at most 10; compute"),
        (torch.zeros(13, 0), "halves", r"angles has shape \(13, 0\)"),
        (torch.zeros(13, 5).bfloat16(), "halves", "bfloat16, but x .* takes float32 or float64"),
        (torch.zeros(13, 5), "pairs", "layout='pairs' is unknown; use 'halves' or 'interleaved'"),
    ],
)
def test_bad_angles(apply: Any, angles: Tensor, layout: str, message: str) -> None:
    assert apply in (apply_rotary, apply_rotary_complex)
    with pytest.raises(ValueError, match=message):
        apply(qk()[0], angles.to(qk()[0].device), layout=layout)


@pytest.mark.parametrize(
    ("d_head", "options", "message"),
    [
        (7, {}, r"d_rotary=7 must be even and lie in \[2, d_head=7\]"),
        (8, {"d_rotary": 10}, r"d_rotary=10 must be even and lie in \[2, d_head=8\]"),
        (8, {"d_rotary": 0}, r"d_rotary=0 must be even"),
        (0, {}, "d_head=0 must be at least 1"),
        (8, {"base": 1.0}, "base=1.0 must be above 1; the usual is 10000"),
        (8, {"layout": "neox"}, "layout='neox' is unknown; use 'halves' or 'interleaved'"),
        (
            8,
            {"learnable": True, "scaling": LinearScaling(2.0)},
            r"learnable=True cannot be joined with scaling=LinearScaling\(factor=2.0\)",
        ),
    ],
)
def test_bad_sizes(d_head: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RotaryEmbedding(d_head, **options)


@pytest.mark.parametrize(
    ("width", "positions", "message"),
    [
        (8, None, r"x has shape \(2, 3, 13, 8\), but these .* d_head=10\); split the heads"),
        (10, torch.tensor([3]), r"positions has shape \(1,\) .* of shape \(13,\) or \(2, 13\)"),
        (10, torch.zeros(13), "dtype torch.float32, but must be integers"),
        (10, torch.zeros(13, 2, dtype=torch.int64), r"positions has shape \(13, 2\)"),
    ],
)
def test_bad_calls(width: int, positions: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RotaryEmbedding(10)(qk(d_head=width)[0], positions)


def test_bad_conversions() -> None:
    weight = torch.zeros(30, 7)
    with pytest.raises(ValueError, match="rows=30 must be divisible by n_heads=4; use 1, 2, 3"):
        convert_rotary_layout(weight, 4, to="halves")
    with pytest.raises(ValueError, match=r"d_rotary=15 must be even and lie in \[2, d_head=15\]"):
        convert_rotary_layout(weight, 2, to="halves")
    with pytest.raises(ValueError, match="to='neox' is unknown; use 'halves' or 'interleaved'"):
        convert_rotary_layout(weight, 3, to="neox")
