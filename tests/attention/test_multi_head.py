import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import FLOATS, close, copy_attention, randomized
from torch import Tensor, nn

from tfbook.attention import (
    KVCache,
    MultiHeadAttention,
    attention,
    causal_mask,
    padding_mask,
    sliding_window_mask,
)
from tfbook.shapes import merge_heads, split_heads

# Batch 2, queries 5, context 7, heads 3 of width 11: d_model 33.
B, N, C, H, D = 2, 5, 7, 3, 33


def pair(
    dtype: torch.dtype, *, bias: bool = True, d_context: int = D
) -> tuple[MultiHeadAttention, nn.MultiheadAttention]:
    """Our module and PyTorch's, with the same random weights."""
    ours = MultiHeadAttention(D, H, bias=bias, d_context=d_context)
    theirs = nn.MultiheadAttention(
        D, H, bias=bias, batch_first=True, kdim=d_context, vdim=d_context, dtype=dtype
    )
    randomized(ours, dtype)
    copy_attention(ours, theirs)
    return ours, theirs.eval()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bias", [True, False])
def test_self_attention(bias: bool, dtype: torch.dtype) -> None:
    ours, theirs = pair(dtype, bias=bias)
    x = torch.randn(B, N, D, dtype=dtype)
    output, weights = theirs(x, x, x, average_attn_weights=False)
    close(ours(x), output)
    close(ours.weights(x), weights)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d_context", [D, 13])
def test_cross_attention(d_context: int, dtype: torch.dtype) -> None:
    ours, theirs = pair(dtype, d_context=d_context)
    x, context = torch.randn(B, N, D, dtype=dtype), torch.randn(B, C, d_context, dtype=dtype)
    close(ours(x, context), theirs(x, context, context)[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_padding_mask(dtype: torch.dtype) -> None:
    ours, theirs = pair(dtype)
    x, context = torch.randn(B, N, D, dtype=dtype), torch.randn(B, C, D, dtype=dtype)
    mask = padding_mask(torch.tensor([4, 7]), C)
    expected = theirs(x, context, context, key_padding_mask=~mask[:, 0, 0])[0]
    close(ours(x, context, mask=mask), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_causal_and_biased(dtype: torch.dtype) -> None:
    ours, theirs = pair(dtype)
    x, bias = torch.randn(B, N, D, dtype=dtype), torch.randn(N, N, dtype=dtype)
    close(ours(x, causal=True), theirs(x, x, x, attn_mask=~causal_mask(N))[0])
    close(ours(x, bias=bias), theirs(x, x, x, attn_mask=bias)[0])
    both = bias.masked_fill(~causal_mask(N), float("-inf"))
    close(ours(x, bias=bias, causal=True), theirs(x, x, x, attn_mask=both)[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients(dtype: torch.dtype) -> None:
    ours, theirs = pair(dtype)
    x = torch.randn(B, N, D, dtype=dtype)
    ours(x).sin().sum().backward()
    theirs(x, x, x)[0].sin().sum().backward()
    stacked = torch.cat([ours.w_q.weight.grad, ours.w_k.weight.grad, ours.w_v.weight.grad])
    close(stacked / 10, theirs.in_proj_weight.grad / 10)
    close(ours.w_o.weight.grad / 10, theirs.out_proj.weight.grad / 10)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_kv_heads", [2, 1])
def test_grouped_heads(n_kv_heads: int, dtype: torch.dtype) -> None:
    ours = randomized(MultiHeadAttention(22, 4, n_kv_heads=n_kv_heads, d_head=7), dtype)
    x = torch.randn(B, N, 22, dtype=dtype)
    assert ours.w_k.weight.shape == (n_kv_heads * 7, 22)
    q, k, v = (
        split_heads(part(x), heads)
        for part, heads in [(ours.w_q, 4), (ours.w_k, n_kv_heads), (ours.w_v, n_kv_heads)]
    )
    heads = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    close(ours(x), ours.w_o(merge_heads(heads)))


@pytest.mark.parametrize("n_kv_heads", [1, 2, 6])
def test_grouped_equals_plain_with_repeated_heads(n_kv_heads: int) -> None:
    """Neighbouring query heads share: group 0 is heads 0 to h/k-1."""
    grouped = randomized(MultiHeadAttention(30, 6, n_kv_heads=n_kv_heads))
    plain = MultiHeadAttention(30, 6).eval()
    for name in ("w_q", "w_o"):
        getattr(plain, name).load_state_dict(getattr(grouped, name).state_dict())
    for name in ("w_k", "w_v"):
        for part in ("weight", "bias"):
            few = getattr(getattr(grouped, name), part)
            each = few.reshape(n_kv_heads, 5, -1).repeat_interleave(6 // n_kv_heads, dim=0)
            getattr(getattr(plain, name), part).data = each.reshape(30, *few.shape[1:])
    x = torch.randn(B, N, 30)
    close(grouped(x), plain(x))


def test_as_many_key_heads_as_query_heads_is_plain() -> None:
    plain, grouped = MultiHeadAttention(D, H), MultiHeadAttention(D, H, n_kv_heads=H)
    grouped.load_state_dict(plain.state_dict())
    x = torch.randn(B, N, D)
    assert grouped(x).equal(plain(x))


def test_the_future_does_not_leak() -> None:
    mha = randomized(MultiHeadAttention(D, H))
    x = torch.randn(1, N, D, requires_grad=True)
    for t in range(N):
        (gradient,) = torch.autograd.grad(mha(x, causal=True)[0, t].sum(), x)
        seen = gradient[0].abs().sum(dim=-1) > 0
        assert seen.tolist() == [i <= t for i in range(N)]


@given(order=st.permutations(range(N)))
@settings(deadline=None, max_examples=15)
def test_without_positions_the_order_does_not_matter(order: list[int]) -> None:
    torch.manual_seed(0)
    mha = randomized(MultiHeadAttention(D, H), torch.float64)
    x = torch.randn(B, N, D, dtype=torch.float64)
    close(mha(x[:, order]), mha(x)[:, order])


@pytest.mark.parametrize("n_kv_heads", [3, 1])
@pytest.mark.parametrize("pieces", [[1, 1, 1, 1, 1], [3, 2], [4, 1], [5]])
def test_cached_equals_uncached(pieces: list[int], n_kv_heads: int) -> None:
    mha = randomized(MultiHeadAttention(D, H, n_kv_heads=n_kv_heads), torch.float64)
    x = torch.randn(B, N, D, dtype=torch.float64)
    cache = KVCache(
        n_layers=1, batch=B, n_kv_heads=n_kv_heads, max_length=N, d_head=11, dtype=torch.float64
    )
    outputs = []
    for piece in x.split(pieces, dim=1):
        outputs.append(mha(piece, causal=True, cache=cache.layer(0)))
        cache.advance(piece.shape[1])
    close(torch.cat(outputs, dim=1), mha(x, causal=True))


def test_a_context_is_projected_once() -> None:
    mha = randomized(MultiHeadAttention(D, H))
    x, context = torch.randn(B, N, D), torch.randn(B, C, D)
    cache = KVCache(n_layers=1, batch=B, n_kv_heads=H, max_length=N, d_head=11).context(0)
    calls = []
    mha.w_k.register_forward_hook(lambda *_: calls.append(1))
    for i in range(N):
        close(mha(x[:, i : i + 1], context, cache=cache), mha(x, context)[:, i : i + 1])
    assert len(calls) == 1 + N  # once for the cache, once for each comparison


def test_the_attending_function_is_passed_in() -> None:
    fused = MultiHeadAttention(D, H)
    reference = MultiHeadAttention(D, H, attend=attention)
    reference.load_state_dict(fused.state_dict())
    x = torch.randn(B, N, D)
    close(reference(x, causal=True), fused(x, causal=True))


def test_rotate_sees_the_positions() -> None:
    seen = []

    def rotate(h: Tensor, positions: Tensor | None) -> Tensor:
        seen.append((h.shape, positions))
        return h

    positions = torch.arange(N) + 17
    MultiHeadAttention(D, H, n_kv_heads=1, rotate=rotate)(torch.randn(B, N, D), positions=positions)
    assert [shape for shape, _ in seen] == [(B, H, N, 11), (B, 1, N, 11)]
    assert all(given is positions for _, given in seen)


def test_biases_are_chosen_apart() -> None:
    mha = MultiHeadAttention(D, H, bias=True, output_bias=False)
    assert mha.w_q.bias is not None
    assert mha.w_o.bias is None
    mha = MultiHeadAttention(D, H, bias=False, output_bias=True)
    assert mha.w_q.bias is None
    assert mha.w_o.bias is not None


def test_dropout_acts_in_training_only() -> None:
    mha = randomized(MultiHeadAttention(D, H, dropout_p=0.5))
    x = torch.randn(B, N, D)
    assert mha(x).equal(mha(x))
    mha.train()
    assert not mha(x).equal(mha(x))


def test_bfloat16() -> None:
    mha = randomized(MultiHeadAttention(D, H))
    x = torch.randn(B, N, D)
    expected = mha(x, causal=True)
    y = mha.bfloat16()(x.bfloat16(), causal=True)
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).abs().max() < 0.1


def test_one_tensor_is_the_softmax_of_its_weights() -> None:
    mha = randomized(MultiHeadAttention(D, H))
    weights = mha.weights(torch.randn(B, N, D), causal=True)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, N))
    assert (weights.masked_select(~causal_mask(N)) == 0).all()


@pytest.mark.parametrize(
    ("d_model", "n_heads", "options", "message"),
    [
        (32, 5, {}, "d_model=32 must be divisible by n_heads=5; use 1, 2, 4, 8, 16 or 32"),
        (12, 12, {"n_kv_heads": 5}, "n_heads=12 must be divisible by n_kv_heads=5; use 1, 2, 3, 4"),
        (12, 0, {}, "n_heads=0 must be at least 1"),
        (12, 3, {"d_head": 0}, "d_head=0 must be at least 1"),
        (12, 3, {"dropout_p": 1.5}, r"dropout_p=1.5 must be in \[0, 1\)"),
    ],
)
def test_bad_sizes(d_model: int, n_heads: int, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(d_model, n_heads, **options)


def test_bad_input() -> None:
    mha = MultiHeadAttention(D, H, d_context=13)
    x, context = torch.zeros(B, N, D), torch.zeros(B, C, 13)
    with pytest.raises(ValueError, match=r"x has shape \(2, 7, 13\), but .* for \(batch, n, 33\)"):
        mha(context)
    with pytest.raises(ValueError, match=r"x has shape \(5, 33\), but .* \(batch, n, 33\)"):
        mha(x[0])
    with pytest.raises(ValueError, match=r"context has shape \(2, 5, 33\), but .* n, 13\)"):
        mha.project(x)
    with pytest.raises(ValueError, match="mask has shape"):
        mha.weights(x, context, mask=causal_mask(N))
    with pytest.raises(ValueError, match="x has batch 2 and context 1; give one context"):
        mha(x, context[:1])
    with pytest.raises(ValueError, match="n_k=4 must be at least n_q=5"):
        mha(x, context[:, :4], causal=True)


@pytest.mark.parametrize("causal", [True, False])
def test_a_window_is_a_mask(causal: bool) -> None:
    whole = randomized(MultiHeadAttention(D, H), torch.float64)
    windowed = MultiHeadAttention(D, H, window=2).double()
    windowed.load_state_dict(whole.state_dict())
    x, other = torch.randn(B, N, D, dtype=torch.float64), torch.rand(N, N) > 0.3
    near = sliding_window_mask(N, window=2, causal=causal)
    close(windowed(x, causal=causal), whole(x, causal=causal, mask=near))
    close(windowed(x, causal=causal, mask=other), whole(x, causal=causal, mask=near & other))
    close(windowed.weights(x, causal=causal), whole.weights(x, causal=causal, mask=near))
    wide = MultiHeadAttention(D, H, window=N).double()
    wide.load_state_dict(whole.state_dict())
    assert wide(x, causal=True).equal(whole(x, causal=True))


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("pieces", [[1] * 9, [4, 1, 4], [2, 7], [9]])
def test_a_window_decodes_as_it_trains(pieces: list[int], bounded: bool) -> None:
    mha = randomized(MultiHeadAttention(D, H, n_kv_heads=1, window=3), torch.float64)
    x = torch.randn(B, 9, D, dtype=torch.float64)
    sizes = dict(n_layers=1, batch=B, n_kv_heads=1, max_length=9, d_head=11)
    cache = KVCache(dtype=torch.float64, window=3 if bounded else None, **sizes)
    outputs = []
    for piece in x.split(pieces, dim=1):
        outputs.append(mha(piece, causal=True, cache=cache.layer(0)))
        cache.advance(piece.shape[1])
    close(torch.cat(outputs, dim=1), mha(x, causal=True))


def test_bad_windows() -> None:
    with pytest.raises(ValueError, match="window=0 must be at least 1"):
        MultiHeadAttention(D, H, window=0)
    x = torch.randn(B, N, D)
    with pytest.raises(ValueError, match="window=2 counts offsets within one sequence"):
        MultiHeadAttention(D, H, window=2)(x, x)
    cache = KVCache(n_layers=1, batch=B, n_kv_heads=H, max_length=9, d_head=11, window=4)
    message = "the cache keeps window=4, but this attention has window="
    with pytest.raises(RuntimeError, match=f"{message}2"):
        MultiHeadAttention(D, H, window=2)(x, cache=cache.layer(0))
    with pytest.raises(RuntimeError, match=f"{message}None"):
        MultiHeadAttention(D, H)(x, cache=cache.layer(0))
