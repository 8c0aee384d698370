"""The shared softmax: against the reference attention, whose rules it states for any scores."""

import math

import pytest
import torch
from parity import FLOATS, close

from tfbook.attention import attention_weights, causal_mask, masked_softmax
from tfbook.attention.softmax import visible_keys


def test_worked_by_hand() -> None:
    scores = torch.tensor([[0.0, math.log(3.0), 9.0]])
    mask = torch.tensor([True, True, False])
    torch.testing.assert_close(masked_softmax(scores, mask=mask), torch.tensor([[0.25, 0.75, 0]]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("with_mask", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_the_weights_of_dot_products(
    with_bias: bool, with_mask: bool, causal: bool, dtype: torch.dtype
) -> None:
    q, k = torch.randn(2, 3, 5, 11, dtype=dtype), torch.randn(2, 3, 7, 11, dtype=dtype)
    options = dict(
        mask=torch.rand(2, 1, 5, 7) < 0.5 if with_mask else None,
        bias=torch.randn(3, 5, 7, dtype=dtype) if with_bias else None,
        causal=causal,
    )
    close(masked_softmax(q @ k.mT, **options), attention_weights(q, k, scale=1.0, **options))


@pytest.mark.parametrize("how", ["mask", "bias"])
def test_a_row_that_sees_nothing_gets_zeros_and_finite_gradients(how: str) -> None:
    scores = torch.randn(3, 5, requires_grad=True)
    visible = torch.ones(3, 5, dtype=torch.bool)
    visible[1] = False
    bias = torch.zeros(3, 5).masked_fill(~visible, -math.inf)
    weights = masked_softmax(scores, **({"mask": visible} if how == "mask" else {"bias": bias}))
    torch.testing.assert_close(weights.sum(-1), torch.tensor([1.0, 0.0, 1.0]))
    weights.sin().sum().backward()
    assert scores.grad.isfinite().all()
    assert (scores.grad[1] == 0).all()


def test_bfloat16_is_summed_in_float32() -> None:
    weights = masked_softmax(torch.zeros(1, 512, dtype=torch.bfloat16))
    assert weights.dtype == torch.bfloat16
    assert weights.float().sum().item() == pytest.approx(1.0)


def test_causal_aligns_the_last_query_with_the_last_key() -> None:
    weights = masked_softmax(torch.randn(3, 5), causal=True)
    assert ((weights > 0) == causal_mask(3, 5)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mask=torch.zeros(5, 7)), r"mask has dtype torch.float32.*use mask.bool\(\)"),
        (dict(mask=torch.ones(7, 5, dtype=torch.bool)), r"mask has shape \(7, 5\), which does not"),
        (dict(bias=torch.zeros(5, 7, dtype=torch.bool)), "bias has dtype torch.bool"),
        (dict(bias=torch.zeros(3, 5, 7)), r"bias has shape \(3, 5, 7\).*scores' shape \(5, 7\)"),
        (dict(causal=True), "n_k=7 must be at least n_q=8"),
    ],
)
def test_bad_input(options: dict[str, object], message: str) -> None:
    scores = torch.zeros(8 if "causal" in options else 5, 7)
    with pytest.raises(ValueError, match=message):
        masked_softmax(scores, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mask=torch.ones(2, 3)), "mask has dtype torch.float32"),
        (dict(mask=torch.ones(4, 3, dtype=torch.bool)), r"mask has shape \(4, 3\), which does not"),
        (dict(bias=torch.ones(2, 3, dtype=torch.bool)), "bias has dtype torch.bool"),
        (dict(causal=True), "n_q=5"),
    ],
)
def test_what_restricts_scores_is_checked(options: dict, message: str) -> None:
    given = dict(mask=None, causal=False, bias=None) | options
    shape = (5, 3) if given["causal"] else (2, 3)
    with pytest.raises(ValueError, match=message):
        visible_keys(shape, **given, device=torch.device("cpu"))
