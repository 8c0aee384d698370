"""Multiplicative and location-based attention: by hand and against joeynmt."""

import math
from collections.abc import Callable
from typing import Any

import joeynmt.attention as joeynmt
import pytest
import torch
from parity import FLOATS, close, randomized
from torch import Tensor, nn

from tfbook.attention import (
    ContextCache,
    LocationAttention,
    MultiplicativeAttention,
    attention,
    causal_mask,
    fused_attention,
    padding_mask,
)

BATCH, N_Q, N_K, D_QUERY, D_KEY = 2, 5, 7, 11, 13
BOTH = (attention, fused_attention)
Attends = Callable[..., Tensor]


def general(dtype: torch.dtype = torch.float32, **options: Any) -> MultiplicativeAttention:
    w = nn.Linear(D_QUERY, D_KEY, bias=False)
    return randomized(MultiplicativeAttention(w, **options), dtype)


def location(dtype: torch.dtype = torch.float32, **options: Any) -> LocationAttention:
    return randomized(LocationAttention(D_QUERY, max_length=17, **options), dtype)


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return (
        torch.randn(BATCH, N_Q, D_QUERY, dtype=dtype),
        torch.randn(BATCH, N_K, D_KEY, dtype=dtype),
    )


@pytest.mark.parametrize("attend", BOTH)
def test_dot_worked_by_hand(attend: Attends) -> None:
    # Scores 0 and ln 3: weights 1/4 and 3/4 of the context itself.
    x, context = torch.tensor([[[math.log(3.0), 5.0]]]), torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    dot = MultiplicativeAttention(nn.Identity(), attend=attend)
    torch.testing.assert_close(dot(x, context), torch.tensor([[[0.75, 0.0]]]))
    torch.testing.assert_close(dot.weights(x, context), torch.tensor([[[[0.25, 0.75]]]]))
    # The root of the width, 2, divides the score: 1 and √3 to the power of √2.
    scaled = MultiplicativeAttention(nn.Identity(), scale=None, attend=attend)
    odds = 3.0 ** (1 / math.sqrt(2.0))
    torch.testing.assert_close(scaled(x, context)[0, 0, 0].item(), odds / (1 + odds))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("attend", BOTH)
def test_joeynmt_general(attend: Attends, dtype: torch.dtype) -> None:
    ours = general(dtype, attend=attend)
    theirs = joeynmt.LuongAttention(D_QUERY, D_KEY).to(dtype)
    theirs.key_layer.weight.data = ours.w.weight.data.T.clone()  # it maps the keys instead
    x, context = inputs(dtype)
    visible = padding_mask(torch.tensor([N_K, 4]), N_K)
    theirs.compute_proj_keys(context)
    y, weights = (f(x, context, mask=visible) for f in (ours, ours.weights))
    for i in range(N_Q):
        read, alignment = theirs(x[:, i : i + 1], visible[:, 0], context)
        close(y[:, i : i + 1], read)
        close(weights[:, 0, i : i + 1], alignment)


@pytest.mark.parametrize("attend", BOTH)
def test_general_is_dot_with_mapped_queries(attend: Attends) -> None:
    layer, (x, context) = general(attend=attend), inputs()
    dot = MultiplicativeAttention(nn.Identity(), attend=attend)
    mapped = x @ layer.w.weight.T
    options = dict(mask=padding_mask(torch.tensor([4, N_K]), N_K), causal=True)
    close(layer(x, context, **options), dot(mapped, context, **options))
    scaled = MultiplicativeAttention(nn.Identity(), scale=None, attend=attend)
    close(scaled(mapped, context, **options), dot(mapped / math.sqrt(D_KEY), context, **options))


@pytest.mark.parametrize("attend", BOTH)
def test_masks_bias_and_rows_that_see_nothing(attend: Attends) -> None:
    layer, (x, context) = general(attend=attend), inputs()
    bias = torch.randn(N_Q, N_K)
    visible = causal_mask(N_Q, N_K)
    visible[1] = False
    y = layer(x, context, mask=visible, bias=bias)
    weights = layer.weights(x, context, mask=visible, bias=bias)
    assert ((weights > 0) == visible).all()
    assert (y[:, 1] == 0).all()
    close(y, (weights @ context[:, None])[:, 0])


def test_cached_context() -> None:
    layer, (x, context), cache = general(), inputs(), ContextCache()
    first = layer(x[:, :2], context, cache=cache)
    rest = layer(x[:, 2:], torch.zeros_like(context), cache=cache)
    close(torch.cat([first, rest], dim=1), layer(x, context))


def test_location_worked_by_hand() -> None:
    layer = LocationAttention(1, max_length=3)
    layer.w.weight.data = torch.tensor([[0.0], [math.log(3.0)], [99.0]])
    x, context = torch.ones(1, 1, 1), torch.tensor([[[4.0], [8.0]]])
    torch.testing.assert_close(layer.weights(x, context), torch.tensor([[[[0.25, 0.75]]]]))
    torch.testing.assert_close(layer(x, context), torch.tensor([[[7.0]]]))


def test_location_knows_the_place_and_not_what_stands_there() -> None:
    layer, (x, context) = location(), inputs()
    visible = padding_mask(torch.tensor([4, N_K]), N_K)
    weights = layer.weights(x, context, mask=visible)
    torch.testing.assert_close(layer.weights(x, 9 * context, mask=visible), weights)
    assert ((weights > 0) == visible.expand_as(weights)).all()
    close(layer(x, context, mask=visible), (weights @ context[:, None])[:, 0])
    bias = torch.randn(N_Q, N_K)
    shifted = (weights.log() + bias).softmax(dim=-1)
    close(layer.weights(x, context, mask=visible, bias=bias), shifted)
    hidden = torch.zeros(N_Q, N_K, dtype=torch.bool)
    assert (layer(x, context, mask=hidden) == 0).all()


@pytest.mark.parametrize("make", [general, location])
def test_dropout_acts_in_training_alone(make: Callable[..., nn.Module]) -> None:
    layer, (x, context) = make(dropout_p=0.5), inputs()
    context = torch.ones_like(context)
    torch.testing.assert_close(layer(x, context), torch.ones(BATCH, N_Q, D_KEY))
    layer.train()
    assert layer(x, context).std() > 0.1


@pytest.mark.parametrize("make", [general, location])
def test_gradients_and_bfloat16(make: Callable[..., nn.Module]) -> None:
    layer = make(torch.float64)
    x, context = (t.requires_grad_() for t in inputs(torch.float64))
    assert torch.autograd.gradcheck(lambda x, c: layer(x, c, mask=causal_mask(5, 7)), (x, context))
    y = make(torch.bfloat16)(x.bfloat16(), context.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.double() - layer(x, context)).abs().max() < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MultiplicativeAttention(nn.Identity(), dropout_p=-0.1), "dropout_p=-0.1 must be"),
        (lambda: MultiplicativeAttention(nn.Identity())(*inputs()), r"x has shape \(2, 5, 11\)"),
        (lambda: general()(inputs()[0][:1], inputs()[1]), "x has batch 1 and context 2"),
        (lambda: general()(*inputs(), mask=torch.ones(5, 7)), "mask has dtype torch.float32"),
        (lambda: general().weights(*inputs(), bias=torch.ones(5)), r"bias has shape \(5,\)"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LocationAttention(0, max_length=3), "d_query=0 must be at least 1"),
        (lambda: LocationAttention(3, max_length=0), "max_length=0 must be at least 1"),
        (lambda: LocationAttention(3, max_length=5, dropout_p=1.0), r"dropout_p=1.0 must be in"),
        (lambda: location()(inputs()[0], torch.zeros(BATCH, 18, D_KEY)),
         "context has 18 places, but this attention was made for max_length=17"),
        (lambda: location()(inputs()[1], inputs()[1]), r"x has shape \(2, 7, 13\)"),
        (lambda: location().weights(*inputs(), mask=torch.ones(5, 7)), "mask has dtype"),
    ],
)  # fmt: skip
def test_bad_locations(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
