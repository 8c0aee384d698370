import pytest
import torch
import torch.nn.functional as F
from parity import FLOATS, close, copy_block, randomized
from torch import nn

from tfbook.attention import KVCache, MultiHeadAttention, causal_mask, padding_mask
from tfbook.layers import Block, FeedForward, LayerNorm, PostNorm, PreNorm, RMSNorm
from tfbook.models import count_parameters

# Batch 2, length 5, context 7, heads 3 of width 11, inner width 37.
B, N, C, H, D, D_FF = 2, 5, 7, 3, 33, 37
RESIDUALS = {"pre": PreNorm, "post": PostNorm}


def block(placement: str, *, cross: bool, dropout_p: float = 0.0, gelu: bool = True) -> Block:
    def residual() -> nn.Module:
        return RESIDUALS[placement](LayerNorm(D), dropout_p=dropout_p)

    return Block(
        attention=MultiHeadAttention(D, H),
        attention_residual=residual(),
        cross_attention=MultiHeadAttention(D, H) if cross else None,
        cross_attention_residual=residual() if cross else None,
        feed_forward=FeedForward(D, D_FF, activation=F.gelu if gelu else F.relu),
        feed_forward_residual=residual(),
    )


def torch_layer(
    placement: str, dtype: torch.dtype, *, cross: bool, gelu: bool = True
) -> nn.TransformerEncoderLayer | nn.TransformerDecoderLayer:
    make = nn.TransformerDecoderLayer if cross else nn.TransformerEncoderLayer
    # In training mode with dropout 0: its fast path of evaluation is another implementation.
    return make(
        D,
        H,
        D_FF,
        dropout=0.0,
        activation="gelu" if gelu else "relu",
        batch_first=True,
        norm_first=placement == "pre",
        dtype=dtype,
    ).train()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_encoder_layer(placement: str, gelu: bool, dtype: torch.dtype) -> None:
    ours = randomized(block(placement, cross=False, gelu=gelu), dtype)
    theirs = torch_layer(placement, dtype, cross=False, gelu=gelu)
    copy_block(ours, theirs)
    x = torch.randn(B, N, D, dtype=dtype)
    close(ours(x), theirs(x))
    mask = padding_mask(torch.tensor([3, 5]), N)
    close(ours(x, mask=mask), theirs(x, src_key_padding_mask=~mask[:, 0, 0]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_decoder_layer(placement: str, dtype: torch.dtype) -> None:
    ours = randomized(block(placement, cross=True), dtype)
    theirs = torch_layer(placement, dtype, cross=True)
    copy_block(ours, theirs)
    x, context = torch.randn(B, N, D, dtype=dtype), torch.randn(B, C, D, dtype=dtype)
    mask = padding_mask(torch.tensor([4, 7]), C)
    expected = theirs(x, context, tgt_mask=~causal_mask(N), memory_key_padding_mask=~mask[:, 0, 0])
    close(ours(x, context, causal=True, context_mask=mask), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_gradients(placement: str, dtype: torch.dtype) -> None:
    ours = randomized(block(placement, cross=True), dtype)
    theirs = torch_layer(placement, dtype, cross=True)
    copy_block(ours, theirs)
    inputs = [torch.randn(B, n, D, dtype=dtype, requires_grad=True) for n in (N, C)]
    mine = torch.autograd.grad(ours(*inputs, causal=True).sin().sum(), inputs)
    expected = theirs(*inputs, tgt_mask=~causal_mask(N))
    for our, their in zip(mine, torch.autograd.grad(expected.sin().sum(), inputs), strict=True):
        close(our, their)


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_the_future_does_not_leak(placement: str) -> None:
    ours = randomized(block(placement, cross=True))
    x, context = torch.randn(1, N, D, requires_grad=True), torch.randn(1, C, D)
    for t in range(N):
        y = ours(x, context, causal=True)[0, t]
        # Not the plain sum: a layer norm keeps that at zero.
        (gradient,) = torch.autograd.grad((y * torch.arange(D)).sum(), x)
        seen = gradient[0].abs().sum(dim=-1) > 0
        assert seen.tolist() == [i <= t for i in range(N)]


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_cached_equals_uncached(placement: str) -> None:
    ours = randomized(block(placement, cross=True), torch.float64)
    x = torch.randn(B, N, D, dtype=torch.float64)
    context = torch.randn(B, C, D, dtype=torch.float64)
    cache = KVCache(n_layers=1, batch=B, n_kv_heads=H, max_length=N, d_head=11, dtype=torch.float64)
    outputs = []
    for piece in x.split([2, 1, 2], dim=1):
        caches = dict(cache=cache.layer(0), context_cache=cache.context(0))
        outputs.append(ours(piece, context, causal=True, **caches))
        cache.advance(piece.shape[1])
    close(torch.cat(outputs, dim=1), ours(x, context, causal=True))


def test_parts_are_passed_in() -> None:
    ours = Block(
        attention=MultiHeadAttention(D, H, n_kv_heads=1),
        attention_residual=PreNorm(RMSNorm(D)),
        feed_forward=nn.Linear(D, D),
        feed_forward_residual=PostNorm(RMSNorm(D)),
    )
    x = torch.randn(B, N, D)
    h = x + ours.attention(ours.attention_residual.norm(x))
    close(ours(x), ours.feed_forward_residual.norm(h + ours.feed_forward(h)))


def test_a_feed_forward_layer_shared_by_two_blocks() -> None:
    """One module passed twice: counted once, and its gradient is the sum of both uses."""
    ours = [randomized(block("pre", cross=False)) for _ in range(2)]
    x = torch.randn(B, N, D)

    def run() -> None:
        (ours[1](ours[0](x)) ** 2).mean().backward()

    run()
    apart = [b.feed_forward.w_up.weight.grad.clone() for b in ours]
    n_apart = count_parameters(nn.ModuleList(ours))
    ours[1].feed_forward = ours[0].feed_forward
    nn.ModuleList(ours).zero_grad()
    run()
    shared = nn.ModuleList(ours)
    assert n_apart - count_parameters(shared) == 2 * D * D_FF + D_FF + D
    close(ours[0].feed_forward.w_up.weight.grad, apart[0] + apart[1])


def test_bfloat16() -> None:
    ours = randomized(block("pre", cross=False))
    x = torch.randn(B, N, D)
    expected = ours(x)
    y = ours.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).abs().max() < 0.15


def test_cross_attention_comes_with_its_residual() -> None:
    parts = dict(
        attention=MultiHeadAttention(D, H),
        attention_residual=PreNorm(LayerNorm(D)),
        feed_forward=FeedForward(D, D_FF),
        feed_forward_residual=PreNorm(LayerNorm(D)),
    )
    with pytest.raises(ValueError, match="belong together; give both or neither"):
        Block(**parts, cross_attention=MultiHeadAttention(D, H))
    with pytest.raises(ValueError, match="belong together; give both or neither"):
        Block(**parts, cross_attention_residual=PreNorm(LayerNorm(D)))


def test_a_context_is_given_exactly_where_it_is_read() -> None:
    x, context = torch.zeros(B, N, D), torch.zeros(B, C, D)
    with pytest.raises(ValueError, match=r"context is missing, but the block has .*a module"):
        block("pre", cross=True)(x)
    with pytest.raises(ValueError, match=r"context is given, but the block has .*None"):
        block("pre", cross=False)(x, context)
