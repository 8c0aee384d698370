import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from measuring import allocated_bytes
from parity import FLOATS, close
from torch import Tensor

from tfbook.attention import attention, attention_weights, causal_mask, fused_attention

BOTH = (attention, fused_attention)
Attends = Callable[..., Tensor]


def qkv(
    dtype: torch.dtype = torch.float32, *, n_q: int = 5, n_k: int = 7, kv_heads: int = 6
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values whose axes all differ: batch 2, heads 6, widths 11 and 13."""
    return (
        torch.randn(2, 6, n_q, 11, dtype=dtype),
        torch.randn(2, kv_heads, n_k, 11, dtype=dtype),
        torch.randn(2, kv_heads, n_k, 13, dtype=dtype),
    )


@pytest.mark.parametrize("attend", BOTH)
def test_two_keys_worked_by_hand(attend: Attends) -> None:
    # Scores 0 and ln 3 at scale 1: weights 1/4 and 3/4.
    q, k = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3.0)]])
    v = torch.tensor([[4.0, 0.0], [0.0, 8.0]])
    torch.testing.assert_close(attend(q, k, v, scale=1.0), torch.tensor([[1.0, 6.0]]))


def test_weights_worked_by_hand() -> None:
    # Width 4 divides the score 2 ln 3 by 2.
    q = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    k = torch.tensor([[0.0, 0.0, 0.0, 0.0], [math.log(3.0), 5.0, 5.0, 5.0]])
    torch.testing.assert_close(attention_weights(q, k), torch.tensor([[0.25, 0.75]]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("attend", BOTH)
def test_plain(attend: Attends, dtype: torch.dtype) -> None:
    q, k, v = qkv(dtype)
    close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v))
    close(attend(q, k, v, scale=0.7), F.scaled_dot_product_attention(q, k, v, scale=0.7))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kv_heads", [3, 2, 1])
@pytest.mark.parametrize("attend", BOTH)
def test_grouped_and_multi_query(attend: Attends, kv_heads: int, dtype: torch.dtype) -> None:
    q, k, v = qkv(dtype, kv_heads=kv_heads)
    close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v, enable_gqa=True))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("attend", BOTH)
def test_masked(attend: Attends, dtype: torch.dtype) -> None:
    q, k, v = qkv(dtype)
    mask = torch.rand(2, 6, 5, 7) < 0.6
    mask[..., 3] = True
    close(attend(q, k, v, mask=mask), F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    column = torch.tensor([[True] * 4 + [False] * 3, [True] * 7])[:, None, None]
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=column)
    close(attend(q, k, v, mask=column), theirs)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("attend", BOTH)
def test_biased(attend: Attends, dtype: torch.dtype) -> None:
    q, k, v = qkv(dtype)
    bias = torch.randn(6, 5, 7, dtype=dtype)
    close(attend(q, k, v, bias=bias), F.scaled_dot_product_attention(q, k, v, attn_mask=bias))
    mask = torch.rand(5, 7) < 0.7
    mask[:, 0] = True
    both = torch.where(mask, bias, -math.inf).expand(2, 6, 5, 7)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=both)
    close(attend(q, k, v, bias=bias, mask=mask), theirs)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("attend", BOTH)
def test_causal(attend: Attends, dtype: torch.dtype) -> None:
    q, k, v = qkv(dtype, n_q=7)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    close(attend(q, k, v, causal=True), theirs)
    close(attend(q, k, v, mask=causal_mask(7)), theirs)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_q", [1, 3, 7])
@pytest.mark.parametrize("attend", BOTH)
def test_causal_aligns_the_last_query_with_the_last_key(
    attend: Attends, n_q: int, dtype: torch.dtype
) -> None:
    q, k, v = qkv(dtype, n_q=7)
    everything = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    close(attend(q[:, :, 7 - n_q :], k, v, causal=True), everything[:, :, 7 - n_q :])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("with_mask", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_fused_equals_the_reference_with_its_gradients(
    with_bias: bool, with_mask: bool, causal: bool, dtype: torch.dtype
) -> None:
    inputs = [x.requires_grad_() for x in qkv(dtype, n_q=5, kv_heads=3)]
    mask = torch.rand(2, 1, 5, 7) < 0.7 if with_mask else None
    bias = torch.randn(5, 7, dtype=dtype) if with_bias else None
    outputs, gradients = [], []
    for attend in BOTH:
        y = attend(*inputs, mask=mask, causal=causal, bias=bias)
        outputs.append(y)
        gradients.append(torch.autograd.grad(y.sin().sum(), inputs))
    close(outputs[1], outputs[0])
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("attend", BOTH)
def test_without_heads(attend: Attends) -> None:
    q, k, v = torch.randn(3, 5, 7), torch.randn(3, 11, 7), torch.randn(3, 11, 2)
    close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v))
    close(attend(q[0], k[0], v[0]), F.scaled_dot_product_attention(q[0], k[0], v[0]))


@pytest.mark.parametrize("attend", BOTH)
def test_gradients_are_those_of_finite_differences(attend: Attends) -> None:
    q, k, v = torch.randn(2, 3, 2), torch.randn(2, 5, 2), torch.randn(2, 5, 3)
    inputs = tuple(x.double().requires_grad_() for x in (q, k, v))
    assert torch.autograd.gradcheck(lambda *x: attend(*x, causal=True), inputs)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.bfloat16])
@pytest.mark.parametrize("attend", BOTH)
@pytest.mark.parametrize("how", ["mask", "bias"])
def test_a_query_that_sees_nothing_gets_zeros_and_finite_gradients(
    attend: Attends, how: str, dtype: torch.dtype
) -> None:
    inputs = [x.requires_grad_() for x in qkv(dtype)]
    visible = torch.ones(5, 7, dtype=torch.bool)
    visible[2] = False
    bias = torch.zeros(5, 7, dtype=dtype).masked_fill(~visible, -math.inf)
    y = attend(*inputs, **({"mask": visible} if how == "mask" else {"bias": bias}))
    assert (y[:, :, 2] == 0).all()
    assert (y[:, :, 1] != 0).all()
    y.sum().backward()
    assert all(x.grad.isfinite().all() for x in inputs)
    assert (inputs[0].grad[:, :, 2] == 0).all()


def test_the_weights_of_a_query_that_sees_nothing_are_zero() -> None:
    q, k, _ = qkv()
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[4] = False
    sums = attention_weights(q, k, mask=mask).sum(dim=-1)
    torch.testing.assert_close(sums, torch.tensor([1.0, 1, 1, 1, 0]).expand(2, 6, 5))


@pytest.mark.parametrize("attend", BOTH)
def test_bfloat16_stays_near_float32(attend: Attends) -> None:
    q, k, v = qkv(torch.bfloat16)
    y = attend(q, k, v, causal=False)
    assert y.dtype == torch.bfloat16
    wide = attention(q.float(), k.float(), v.float())
    assert (y.float() - wide).abs().max() < 0.02


def test_the_softmax_of_bfloat16_scores_is_in_float32() -> None:
    # 512 equal scores: a bfloat16 sum would stop growing at 256, and the weights add up to 2.
    weights = attention_weights(
        torch.zeros(1, 2, dtype=torch.bfloat16), torch.zeros(512, 2, dtype=torch.bfloat16)
    )
    assert weights.float().sum().item() == pytest.approx(1.0)


def test_large_scores_do_not_overflow() -> None:
    q, k, v = (100 * x for x in qkv())
    assert attention(q, k, v).isfinite().all()


@pytest.mark.parametrize("attend", BOTH)
def test_dropout_keeps_the_mean(attend: Attends) -> None:
    # Equal weights 1/n, each kept with probability 0.75: the mean of many outputs is 1, and its
    # standard deviation is sqrt(0.25 / 0.75 / (200 * 50)) = 0.006.
    q, k, v = torch.zeros(1, 1, 200, 4), torch.zeros(1, 1, 50, 4), torch.ones(1, 1, 50, 1)
    y = attend(q, k, v, dropout_p=0.25)
    assert y.std() > 0.01
    assert y.mean().item() == pytest.approx(1.0, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(
    n_q=st.integers(1, 6),
    extra=st.integers(0, 4),
    d=st.integers(1, 5),
    causal=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_laws_of_the_weights(n_q: int, extra: int, d: int, causal: bool, seed: int) -> None:
    """Rows are distributions; a common shift of the keys' scores changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(n_q, d, generator=generator, dtype=torch.float64, device="cpu")
    k = torch.randn(n_q + extra, d, generator=generator, dtype=torch.float64, device="cpu")
    weights = attention_weights(q, k, causal=causal)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[:, 0]))
    if causal:
        hidden = ~causal_mask(n_q, n_q + extra, device="cpu")
        assert (weights[hidden] == 0).all()
    shift = torch.randn(d, generator=generator, dtype=torch.float64, device="cpu")
    torch.testing.assert_close(attention_weights(q, k + shift, causal=causal), weights)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(7)))
def test_the_order_of_the_keys_does_not_matter(order: list[int]) -> None:
    q, k, v = qkv(torch.float64)
    close(attention(q, k[:, :, order], v[:, :, order]), attention(q, k, v))


@pytest.mark.parametrize("attend", BOTH)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(q=torch.zeros(2, 6, 5, 3)), "q has width 3 and k has width 11"),
        (dict(q=torch.zeros(1, 6, 5, 11)), r"q has shape \(1, 6, 5, 11\) and k \(2, 6, 7, 11\)"),
        (dict(q=torch.zeros(6, 5, 11)), r"q has shape \(6, 5, 11\) and k \(2, 6, 7, 11\)"),
        (dict(q=torch.zeros(2, 8, 5, 11)), "n_heads=8 must be divisible by n_kv_heads=6"),
        (dict(v=torch.zeros(2, 6, 1, 13)), "every key needs one value"),
        (dict(mask=torch.zeros(5, 7)), r"mask has dtype torch.float32.*use mask.bool\(\)"),
        (dict(mask=torch.ones(7, 5, dtype=torch.bool)), r"mask has shape \(7, 5\)"),
        (dict(mask=torch.ones(1, 2, 6, 5, 7, dtype=torch.bool)), "mask has shape"),
        (dict(mask=torch.ones(5, 1, 1, 7, dtype=torch.bool)), "does not broadcast"),
        (dict(bias=torch.zeros(5, 7, dtype=torch.bool)), "bias has dtype torch.bool"),
        (dict(bias=torch.zeros(5, 6)), r"bias has shape \(5, 6\)"),
        (dict(q=torch.zeros(2, 6, 8, 11), causal=True), "n_k=7 must be at least n_q=8"),
        (dict(dropout_p=1.0), r"dropout_p=1.0 must be in \[0, 1\)"),
        (dict(dropout_p=math.nan), "dropout_p=nan must be in"),
    ],
)
def test_bad_input(attend: Attends, change: dict[str, object], message: str) -> None:
    arguments = dict(zip("qkv", qkv(), strict=True), **change)
    q, k, v = (arguments.pop(name) for name in "qkv")
    assert attention is not fused_attention
    with pytest.raises(ValueError, match=message):
        attend(q, k, v, **arguments)


def test_bad_input_of_the_weights() -> None:
    q, k, _ = qkv()
    with pytest.raises(ValueError, match=r"mask has dtype torch.int64"):
        attention_weights(q, k, mask=torch.ones(5, 7, dtype=torch.int64))
    with pytest.raises(ValueError, match="the axes before n_q and n_k must agree"):
        attention_weights(q, k[:1])


@pytest.mark.parametrize("n_q", [1, 7])
def test_shared_keys_and_values_are_not_repeated(n_q: int) -> None:
    """What the fused kernel allocates is small beside the keys, and does not grow with them."""

    def allocated(n_k: int) -> int:
        q, k, v = (
            torch.randn(2, 12, n_q, 16),
            torch.randn(2, 2, n_k, 16),
            torch.randn(2, 2, n_k, 16),
        )
        return allocated_bytes(lambda: fused_attention(q, k, v))

    assert allocated(4000) == allocated(2000) < 2 * 2 * 2000 * 16 * 4
