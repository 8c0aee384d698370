"""Additive attention: by hand and against joeynmt."""

import math
from collections.abc import Callable
from typing import Any

import joeynmt.attention as joeynmt
import pytest
import torch
from parity import FLOATS, close, copy_linear, randomized
from torch import Tensor, nn

from tfbook.attention import (
    AdditiveAttention,
    ContextCache,
    KVCache,
    LocationAttention,
    MultiplicativeAttention,
    additive_scores,
    causal_mask,
    chunked_additive_scores,
    padding_mask,
)
from tfbook.attention.single_head import require_sequences
from tfbook.layers import Block, FeedForward, LayerNorm, PostNorm

BATCH, N_Q, N_K, D_QUERY, D_KEY, D_HIDDEN = 2, 5, 7, 11, 13, 3
BOTH = (additive_scores, chunked_additive_scores)
Scores = Callable[[Tensor, Tensor, Tensor], Tensor]


def made(dtype: torch.dtype = torch.float32, **options: Any) -> AdditiveAttention:
    return randomized(AdditiveAttention(D_QUERY, D_KEY, D_HIDDEN, **options), dtype)


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return (
        torch.randn(BATCH, N_Q, D_QUERY, dtype=dtype),
        torch.randn(BATCH, N_K, D_KEY, dtype=dtype),
    )


@pytest.mark.parametrize("score", BOTH)
def test_module_worked_by_hand(score: Scores) -> None:
    # Scores 0 and ln 3: weights 1/4 and 3/4 of the context itself.
    layer = AdditiveAttention(1, 2, 1, score=score)
    layer.w_q.weight.data = torch.tensor([[1.0]])
    layer.w_k.weight.data = torch.tensor([[0.0, 1.0]])
    layer.w_score.weight.data = torch.tensor([[math.log(3.0) / 0.8]])
    x, context = torch.zeros(1, 1, 1), torch.tensor([[[4.0, 0.0], [8.0, math.log(3.0)]]])
    torch.testing.assert_close(layer.weights(x, context), torch.tensor([[[[0.25, 0.75]]]]))
    expected = torch.tensor([[[7.0, 0.75 * math.log(3.0)]]])
    torch.testing.assert_close(layer(x, context), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("score", BOTH)
def test_joeynmt(score: Scores, dtype: torch.dtype) -> None:
    ours = made(dtype, score=score)
    theirs = joeynmt.BahdanauAttention(D_HIDDEN, D_KEY, D_QUERY).to(dtype)
    copy_linear(ours.w_q, theirs.query_layer)
    copy_linear(ours.w_k, theirs.key_layer)
    copy_linear(ours.w_score, theirs.energy_layer)
    x, context = inputs(dtype)
    lengths = torch.tensor([N_K, 4])
    theirs.compute_proj_keys(context)
    visible = padding_mask(lengths, N_K)
    y = ours(x, context, mask=visible)
    weights = ours.weights(x, context, mask=visible)
    for i in range(N_Q):  # it takes one query at a time
        read, alignment = theirs(x[:, i : i + 1], visible[:, 0], context)
        close(y[:, i : i + 1], read)
        close(weights[:, 0, i : i + 1], alignment)


def test_the_concat_score_of_luong() -> None:
    layer, (x, context) = made(), inputs()
    side_by_side = torch.cat([layer.w_q.weight, layer.w_k.weight], dim=1)
    pairs = torch.cat(
        [x[:, :, None].expand(-1, -1, N_K, -1), context[:, None].expand(-1, N_Q, -1, -1)], dim=-1
    )
    scores = torch.tanh(pairs @ side_by_side.T) @ layer.w_score.weight[0]
    close(layer.weights(x, context)[:, 0], scores.softmax(dim=-1))


@pytest.mark.parametrize("score", BOTH)
def test_masks(score: Scores) -> None:
    layer = made(score=score)
    x, context = inputs()
    lengths = torch.tensor([4, N_K])
    weights = layer.weights(x, context, mask=padding_mask(lengths, N_K), causal=True)
    visible = padding_mask(lengths, N_K) & causal_mask(N_Q, N_K)
    assert ((weights > 0) == visible).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(BATCH, 1, N_Q))
    y = layer(x, context, mask=visible)
    # What is hidden may be anything.
    changed = context.clone()
    changed[0, 4:] = 1e3
    torch.testing.assert_close(layer(x, changed, mask=visible), y)
    close(y, (weights @ context[:, None])[:, 0])


def test_bias() -> None:
    layer, (x, context) = made(), inputs()
    bias = torch.randn(N_Q, N_K)
    expected = layer.weights(x, context).log() + bias
    close(layer.weights(x, context, bias=bias), expected.softmax(dim=-1))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.bfloat16])
def test_a_query_that_sees_nothing_gets_zeros_and_finite_gradients(dtype: torch.dtype) -> None:
    layer = made(dtype)
    x, context = (t.requires_grad_() for t in inputs(dtype))
    visible = torch.ones(N_Q, N_K, dtype=torch.bool)
    visible[2] = False
    y = layer(x, context, mask=visible)
    assert y.dtype == dtype
    assert (y[:, 2] == 0).all()
    assert (y[:, 1] != 0).all()
    y.sum().backward()
    tensors = [x, context, *layer.parameters()]
    assert all(t.grad.isfinite().all() for t in tensors)
    assert (x.grad[:, 2] == 0).all()


def test_self_attention_is_attention_to_itself() -> None:
    layer, x = randomized(AdditiveAttention(D_KEY, D_KEY, D_HIDDEN)), inputs()[1]
    close(layer(x, causal=True), layer(x, x, causal=True))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_decoder_projects_its_context_once(dtype: torch.dtype) -> None:
    layer, (x, context) = made(dtype), inputs(dtype)
    cache = ContextCache()
    first = layer(x[:, :1], context, cache=cache)
    layer.w_k.weight.data.zero_()  # not read again
    rest = layer(x[:, 1:], context, cache=cache)
    close(torch.cat([first, rest], dim=1), made(dtype)(x, context))


def test_cached_self_attention() -> None:
    layer = randomized(AdditiveAttention(D_KEY, D_KEY, D_KEY))
    x = inputs()[1]
    cache = KVCache(n_layers=1, batch=BATCH, n_kv_heads=1, max_length=N_K, d_head=D_KEY)
    steps = []
    for i in range(N_K):
        steps.append(layer(x[:, i : i + 1], causal=True, cache=cache.layer(0)))
        cache.advance(1)
    close(torch.cat(steps, dim=1), layer(x, causal=True))


def test_part_of_a_block() -> None:
    block = Block(
        attention=AdditiveAttention(D_KEY, D_KEY, D_HIDDEN),
        attention_residual=PostNorm(LayerNorm(D_KEY)),
        feed_forward=FeedForward(D_KEY, 5),
        feed_forward_residual=PostNorm(LayerNorm(D_KEY)),
    )
    x = inputs()[1]
    y = block(x, causal=True, positions=torch.arange(N_K))
    changed = torch.cat([x[:, :-1], x[:, -1:] + 1], dim=1)
    torch.testing.assert_close(block(changed, causal=True)[:, :-1], y[:, :-1])


def test_bfloat16_and_autocast_stay_near_float32() -> None:
    layer, (x, context) = made(), inputs()
    exact = layer(x, context)
    with torch.autocast(x.device.type, torch.bfloat16):
        assert (layer(x, context) - exact).abs().max() < 0.05
    rounded = layer.bfloat16()(x.bfloat16(), context.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < 0.05


def test_dropout_acts_in_training_alone() -> None:
    layer, (x, context) = made(dropout_p=0.5), inputs()
    context = torch.ones_like(context)
    torch.testing.assert_close(layer(x, context), torch.ones(BATCH, N_Q, D_KEY))
    layer.train()
    assert layer(x, context).std() > 0.1


def test_counts_its_parameters() -> None:
    assert sum(p.numel() for p in made().parameters()) == D_HIDDEN * (D_QUERY + D_KEY + 1)


@pytest.mark.unchecked_shapes
def test_all_of_2015_compiles() -> None:
    x, context = inputs()
    mask = padding_mask(torch.tensor([N_K, 4]), N_K)
    w = nn.Linear(D_QUERY, D_KEY, bias=False)
    for layer in (
        made(),
        randomized(MultiplicativeAttention(w)),
        randomized(LocationAttention(D_QUERY, max_length=N_K)),
    ):
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        close(compiled(x, context, mask=mask), layer(x, context, mask=mask))
        compiled(x, context).sum().backward()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m(torch.zeros(2, 5, 3), inputs()[1]), r"x has shape \(2, 5, 3\), but this"),
        (lambda m: m(inputs()[0]), r"context has shape \(2, 5, 11\).*\(batch, n, 13\)"),
        (lambda m: m(inputs()[0][0], inputs()[1]), r"x has shape \(5, 11\)"),
        (lambda m: m(inputs()[0][:1], inputs()[1]), "x has batch 1 and context 2; give one"),
        (lambda m: m.weights(*inputs(), mask=torch.ones(5, 7)), "mask has dtype torch.float32"),
        (lambda m: m(*inputs(), mask=torch.ones(2, 5, 7).bool()), "does not broadcast"),
        (lambda m: m(*inputs(), bias=torch.ones(6, 7)), r"bias has shape \(6, 7\)"),
        (lambda m: m(inputs()[1][..., :11], inputs()[0] @ torch.ones(11, 13), causal=True),
         "n_k=5 must be at least n_q=7"),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[[nn.Module], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(made())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(d_query=0), "d_query=0 must be at least 1"),
        (dict(d_hidden=-1), "d_hidden=-1 must be at least 1"),
        (dict(dropout_p=1.0), r"dropout_p=1.0 must be in \[0, 1\)"),
    ],
)
def test_bad_sizes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdditiveAttention(**{**dict(d_query=2, d_key=3, d_hidden=5), **change})


def test_sequences_that_do_not_fit() -> None:
    x, context = inputs()
    require_sequences(x, context, d_query=D_QUERY, d_key=D_KEY)
    with pytest.raises(ValueError, match=r"context has shape \(2, 7, 13\).*\(batch, n, 5\)"):
        require_sequences(x, context, d_query=D_QUERY, d_key=5)
