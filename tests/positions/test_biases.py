import math

import pytest
import torch
from attn_gym.mods.sandwich import generate_sandwich_bias
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import FLOATS, close, randomized
from torch import nn
from transformers import BloomConfig, MptConfig, T5Config
from transformers.models.bloom.modeling_bloom import (
    BloomAttention,
    _get_alibi_slopes,
    build_alibi_tensor,
)
from transformers.models.mpt.modeling_mpt import MptAttention, build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from tfbook.attention import attention, causal_mask
from tfbook.positions import (
    ALiBi,
    Sandwich,
    T5RelativeBias,
    alibi_slopes,
    sinusoidal_table,
    t5_buckets,
)
from tfbook.shapes import merge_heads, split_heads

B, H, N, D_HEAD = 2, 5, 13, 6
D = H * D_HEAD


def every_bias(dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    """One of each, none of them zero."""
    t5 = dict(n_buckets=12, max_distance=11)
    made = [
        ALiBi(H),
        ALiBi(H, symmetric=True),
        Sandwich(H, 10),
        T5RelativeBias(H, bidirectional=True, **t5),
        T5RelativeBias(H, bidirectional=False, **t5),
    ]
    return [randomized(module, dtype) for module in made]


# ALiBi


def test_slopes_by_hand() -> None:
    assert alibi_slopes(8).tolist() == [1 / 2**i for i in range(1, 9)]
    assert alibi_slopes(1).tolist() == [2.0**-8]
    # 16 heads have 2^-0.5, 2^-1, 2^-1.5, ...: the first, third, fifth and seventh are added.
    added = torch.exp2(-torch.tensor([0.5, 1.5, 2.5, 3.5]))
    torch.testing.assert_close(alibi_slopes(12), torch.cat([alibi_slopes(8), added]))
    assert alibi_slopes(3, dtype=torch.float64)[2].item() == 0.25


@pytest.mark.parametrize("n_heads", [*range(1, 20), 31, 33, 48, 112])
def test_slopes_equal_bloom_and_mpt(n_heads: int, device: torch.device) -> None:
    close(16 * alibi_slopes(n_heads), 16 * _get_alibi_slopes(n_heads, device))
    # MPT's bias 16 keys before the last is 16 times minus the slope.
    mpt = build_mpt_alibi_tensor(n_heads, 17, device=device)[:, 0, 0]
    close(16 * alibi_slopes(n_heads), -mpt)
    close(ALiBi(n_heads)(torch.tensor([16]), torch.tensor([0])).flatten(), mpt)


def test_alibi_by_hand() -> None:
    bias = ALiBi(2)(torch.tensor([1, 2]), torch.arange(3))
    first = [[-1 / 16, 0.0, 1 / 16], [-2 / 16, -1 / 16, 0.0]]
    assert bias[0].tolist() == first
    assert bias[1].tolist() == [[x / 16 for x in row] for row in first]
    both = ALiBi(2, symmetric=True)(torch.tensor([1, 2]), torch.arange(3))
    assert both[0].tolist() == [[-1 / 16, 0.0, -1 / 16], [-2 / 16, -1 / 16, 0.0]]


def test_alibi_equals_mpt_up_to_a_constant_for_each_row(device: torch.device) -> None:
    ours = ALiBi(H)(torch.arange(N), torch.arange(N))
    theirs = build_mpt_alibi_tensor(H, N, device=device)
    close(ours[:, -1:], theirs)
    to_last = alibi_slopes(H)[:, None, None] * (N - 1 - torch.arange(N))[:, None]
    close(ours, theirs + to_last)


def test_attention_equals_mpt(device: torch.device) -> None:
    config = MptConfig(hidden_size=D, n_heads=H, max_seq_len=N)
    theirs = randomized(MptAttention(config))
    x = torch.randn(B, N, D)
    bias = build_mpt_alibi_tensor(H, N, device=device)
    expected = theirs(x, bias, attention_mask=~causal_mask(N))[0]
    q, k, v = (split_heads(part, H) for part in theirs.Wqkv(x).chunk(3, dim=-1))
    ours = attention(q, k, v, causal=True, bias=ALiBi(H)(torch.arange(N), torch.arange(N)))
    close(theirs.out_proj(merge_heads(ours)), expected)


def test_attention_equals_bloom_with_left_padding() -> None:
    config = BloomConfig(hidden_size=D, n_head=H, hidden_dropout=0.0, attention_dropout=0.0)
    theirs = randomized(BloomAttention(config, layer_idx=0))
    x, real = torch.randn(B, N, D), torch.ones(B, N).long()
    real[0, :4] = 0
    mask = causal_mask(N) & (real[:, None, None] == 1)
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    alibi = build_alibi_tensor(real, H, torch.float32)
    hidden = torch.zeros(B, 1, N, N).masked_fill(~mask, torch.finfo(torch.float32).min)
    expected = theirs(x, torch.zeros_like(x), alibi, hidden)[0]
    q, k, v = theirs._reshape(theirs.query_key_value(x))
    ours = attention(q, k, v, mask=mask, bias=ALiBi(H)(positions, positions))
    close(theirs.dense(merge_heads(ours))[real == 1], expected[real == 1])


# T5


def test_buckets_by_hand() -> None:
    # 8 buckets, one direction: 0 to 3 alone, then from 4·2^(t/2): 4, 5.7, 8, 11.3; 16 is the end.
    buckets = t5_buckets(-torch.arange(20), bidirectional=False, n_buckets=8, max_distance=16)
    assert buckets.tolist() == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7]
    later = t5_buckets(torch.arange(1, 9), bidirectional=False, n_buckets=8, max_distance=16)
    assert later.tolist() == [0] * 8
    both = t5_buckets(torch.arange(-3, 4), bidirectional=True, n_buckets=8, max_distance=16)
    assert both.tolist() == [2, 2, 1, 0, 5, 6, 6]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
    ("n_buckets", "max_distance"), [(32, 128), (32, 64), (4, 3), (10, 33), (64, 40), (14, 1000)]
)
def test_buckets_equal_t5(n_buckets: int, max_distance: int, bidirectional: bool) -> None:
    """Exactly, and at the borders, where a logarithm decides by its rounding."""
    offsets = torch.arange(-2 * max_distance, 2 * max_distance)
    ours = t5_buckets(
        offsets, bidirectional=bidirectional, n_buckets=n_buckets, max_distance=max_distance
    )
    theirs = T5Attention._relative_position_bucket(
        offsets, bidirectional, num_buckets=n_buckets, max_distance=max_distance
    )
    assert ours.tolist() == theirs.tolist()
    assert ours.dtype == torch.int64


def t5_pair(bidirectional: bool, dtype: torch.dtype) -> tuple[T5RelativeBias, T5Attention]:
    sizes = dict(d_model=D, d_kv=D_HEAD, num_heads=H, dropout_rate=0.0)
    buckets = dict(relative_attention_num_buckets=12, relative_attention_max_distance=11)
    config = T5Config(is_decoder=not bidirectional, **sizes, **buckets)
    config._attn_implementation = "eager"
    theirs = randomized(T5Attention(config, True, layer_idx=0), dtype)
    ours = T5RelativeBias(H, bidirectional=bidirectional, n_buckets=12, max_distance=11).to(dtype)
    theirs.relative_attention_bias.weight.data *= 3
    ours.table.data = theirs.relative_attention_bias.weight.data.clone()
    return ours, theirs


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_bias_and_attention_equal_t5(bidirectional: bool, dtype: torch.dtype) -> None:
    ours, theirs = t5_pair(bidirectional, dtype)
    positions = torch.arange(N)
    bias = ours(positions, positions)
    close(bias[None], theirs.compute_bias(N, N))
    close(ours(positions[-3:], positions)[None], theirs.compute_bias(3, N, past_seen_tokens=N - 3))
    x = torch.randn(B, N, D, dtype=dtype)
    q, k, v = (split_heads(part(x), H) for part in (theirs.q, theirs.k, theirs.v))
    causal = None if bidirectional else causal_mask(N)
    hidden = None if causal is None else torch.zeros(N, N).masked_fill(~causal, -1e30)[None, None]
    heads = attention(q, k, v, bias=bias, mask=causal, scale=1.0)
    # T5's softmax is in float32, whatever the dtype.
    expected = theirs(x, mask=hidden)[0]
    close(theirs.o(merge_heads(heads)).float(), expected.float())


def test_the_table_gets_a_gradient_for_every_pair() -> None:
    bias = T5RelativeBias(2, bidirectional=True, n_buckets=8, max_distance=16)
    bias(torch.arange(3), torch.arange(3)).sum().backward()
    # Offset 0 three times, -1 and 1 twice, -2 and 2 once.
    assert bias.table.grad[:, 1].tolist() == [3, 2, 1, 0, 0, 2, 1, 0]


# Sandwich


def test_sandwich_by_hand() -> None:
    # Width 4 has wavelengths 2π and 200π; two heads divide by 4 and by 8.
    bias = Sandwich(2, 4)(torch.tensor([5]), torch.tensor([5, 3, 9]))
    sums = [2.0, math.cos(2) + math.cos(0.02), math.cos(4) + math.cos(0.04)]
    expected = torch.tensor([[sums], [sums]]) / torch.tensor([4.0, 8.0])[:, None, None]
    torch.testing.assert_close(bias, expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sandwich_is_the_inner_product_of_sinusoidal_codes(dtype: torch.dtype) -> None:
    """Appendix E of the paper: codes times codes, divided by 8h/H."""
    table = sinusoidal_table(N, 22, dtype=dtype)
    expected = torch.stack([table @ table.T / (8 * h / 3) for h in (1, 2, 3)])
    close(Sandwich(3, 22).to(dtype)(torch.arange(N), torch.arange(N)), expected)


@pytest.mark.parametrize("d_bar", [10, 128])
def test_sandwich_equals_attention_gym(d_bar: int, device: torch.device) -> None:
    add = generate_sandwich_bias(H, N, d_bar, device)
    h, i, j = torch.arange(H)[:, None, None], torch.arange(N)[:, None], torch.arange(N)
    ours = Sandwich(H, d_bar)(torch.arange(N), torch.arange(N))
    # Sums of d_bar/2 cosines: compare them at size 1.
    close(ours / d_bar, add(torch.zeros(()), 0, h, i, j) / d_bar)


def test_sandwich_is_exact_far_from_the_start() -> None:
    near = Sandwich(3, 128)(torch.arange(N), torch.arange(N))
    far = Sandwich(3, 128)(torch.arange(N) + 100_000, torch.arange(N) + 100_000)
    torch.testing.assert_close(far, near, atol=1e-4, rtol=0)


# All of them


@settings(deadline=None, max_examples=10)
@given(shift=st.integers(-50, 5000), n_q=st.integers(1, N))
def test_a_bias_depends_on_offsets_alone_and_works_with_a_cache(shift: int, n_q: int) -> None:
    positions = torch.arange(N)
    for module in every_bias(torch.float64):
        full = module(positions, positions)
        close(module(positions[-n_q:], positions), full[:, -n_q:])
        close(module(positions + shift, positions + shift), full)


@pytest.mark.parametrize("index", range(5))
def test_left_padding(index: int) -> None:
    """A padded sequence has, at its tokens, the bias of the sequence alone."""
    module = every_bias()[index]
    lengths = torch.tensor([N, 8])
    positions = (torch.arange(N) - (N - lengths)[:, None]).clamp(min=0)
    bias = module(positions, positions)
    assert bias.shape == (2, H, N, N)
    for row, length in enumerate(lengths.tolist()):
        alone = module(torch.arange(length), torch.arange(length))
        close(bias[row, :, -length:, -length:], alone)
    close(module(positions[:, -1:], positions), bias[:, :, -1:])
    close(module(torch.arange(N), positions)[0], bias[0])
    close(module(positions.int(), positions.int()), bias)


@pytest.mark.parametrize("index", range(5))
def test_bfloat16(index: int) -> None:
    """Computed in float32, where the bias has no weights of its own dtype."""
    expected = every_bias()[index](torch.arange(N), torch.arange(400))
    bias = every_bias(torch.bfloat16)[index](torch.arange(N), torch.arange(400))
    assert bias.dtype == (torch.float32 if index < 3 else torch.bfloat16)
    assert ((bias - expected).abs() <= 0.004 * expected.abs() + 1e-4).all()


def test_what_is_learned_and_saved() -> None:
    learned = [[name for name, _ in module.named_parameters()] for module in every_bias()]
    assert learned == [[], [], [], ["table"], ["table"]]
    assert [list(module.state_dict()) for module in every_bias()] == learned


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="n_heads=0 must be at least 1"):
        alibi_slopes(0)
    with pytest.raises(ValueError, match="n_heads=0 must be at least 1"):
        ALiBi(0)
    with pytest.raises(ValueError, match="n_heads=0 must be at least 1"):
        Sandwich(0, 4)
    with pytest.raises(ValueError, match="n_heads=0 must be at least 1"):
        T5RelativeBias(0, bidirectional=True)
    for d_bar in (0, 5):
        with pytest.raises(ValueError, match=f"d_bar={d_bar} must be even and at least 2"):
            Sandwich(2, d_bar)


@pytest.mark.parametrize(
    ("bidirectional", "n_buckets", "max_distance", "message"),
    [
        (True, 7, 128, "n_buckets=7 must be at least 4 and even: each direction has half"),
        (True, 2, 128, "n_buckets=2 must be at least 4 and even"),
        (False, 1, 128, "n_buckets=1 must be at least 2; use 32"),
        (False, 32, 16, "max_distance=16 must be above 16, since the distances below 16 have"),
    ],
)
def test_bad_buckets(bidirectional: bool, n_buckets: int, max_distance: int, message: str) -> None:
    sizes = dict(bidirectional=bidirectional, n_buckets=n_buckets, max_distance=max_distance)
    with pytest.raises(ValueError, match=message):
        t5_buckets(torch.arange(3), **sizes)
    with pytest.raises(ValueError, match=message):
        T5RelativeBias(2, **sizes)
