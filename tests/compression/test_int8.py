"""Weights of eight bits: the bound of their error, both ways to multiply by them, the layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import randomized
from torch import Tensor, nn

from tfbook.compression import (
    Int8Embedding,
    Int8Linear,
    dequantize_int8,
    int8_linear,
    quantize_weight,
)
from tfbook.compression.int8 import KERNEL_ROWS, has_int8_kernel


def test_a_matrix_by_hand() -> None:
    weight = torch.tensor([[127.0, -63.6, 0.4], [0.0, 0.0, 0.0], [-2.54, 1.0, 0.01]])
    q, scales = quantize_weight(weight)
    assert q[:2].tolist() == [[127, -64, 0], [0, 0, 0]]
    assert scales[:2].tolist() == [1.0, 1.0]
    # 0.02 is no bfloat16; the next larger is 0.02002.
    assert scales[2].item() == pytest.approx(0.02, rel=2**-7)
    assert scales[2].item() > 0.02
    assert q[2].tolist() == [-127, 50, 0]


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 11)),
    exponent=st.integers(-30, 30),
)
def test_no_weight_is_off_by_more_than_half_a_step(
    seed: int, shape: tuple[int, int], exponent: int
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2.0**exponent
    q, scales = quantize_weight(weight)
    assert q.dtype == torch.int8
    assert q.min() >= -127
    step = scales.double()[:, None]
    # The division is rounded to float32 before it is rounded to an integer.
    slack = 127 * 2.0**-23
    error = (weight.double() - q.double() * step).abs()
    assert (error <= (0.5 + slack) * step).all()
    # The step is no larger than it must be, but for its own rounding.
    least = weight.abs().amax(dim=1) / 127
    assert (scales.float() >= least).all()
    assert (scales.float() <= least * (1 + 2**-7)).all()


def test_infinite_weights_are_refused() -> None:
    for bad in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="weight holds an infinite number or a NaN"):
            quantize_weight(torch.tensor([[1.0, bad]]))


def exact(x: Tensor, q: Tensor, scales: Tensor) -> Tensor:
    return torch.einsum("...i,oi,o->...o", x.double(), q.double(), scales.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [1, 7, KERNEL_ROWS, KERNEL_ROWS + 1, 29])
@pytest.mark.parametrize(("n_out", "n_in"), [(5, 7), (13, 16), (31, 48), (2, 33), (1, 1)])
def test_the_product_is_that_of_the_dequantized_weights(
    dtype: torch.dtype, rows: int, n_out: int, n_in: int, device: torch.device
) -> None:
    q, scales = quantize_weight(torch.randn(n_out, n_in))
    x = torch.randn(rows, n_in).to(dtype)
    y = int8_linear(x, q, scales)
    expected = exact(x, q, scales)
    assert y.dtype == dtype
    # The sums are at least float32; what is left is the rounding of the result, or of two.
    size = torch.einsum("ri,oi,o->ro", x.double().abs(), q.double().abs(), scales.double())
    bound = 2 * torch.finfo(dtype).eps * expected.abs() + 1e-6 * size
    assert ((y.double() - expected).abs() <= bound).all()


def test_leading_axes_and_views() -> None:
    q, scales = quantize_weight(torch.randn(5, 16))
    wide = torch.randn(2, 3, 64).bfloat16()
    for x in (wide[..., ::4], wide[..., :16], wide[:1, :, :16].expand(2, 3, 16)):
        y = int8_linear(x, q, scales)
        assert y.shape == (2, 3, 5)
        torch.testing.assert_close(y.double(), exact(x, q, scales), rtol=0.01, atol=0.01)
    assert int8_linear(wide[0, 0, :16], q, scales).shape == (5,)


def test_the_kernel_is_not_used_where_it_would_read_past_the_table() -> None:
    # With a width that is no multiple of 16, PyTorch's kernel crashed the process.
    assert not has_int8_kernel(torch.zeros(1, 40, dtype=torch.bfloat16))
    assert not has_int8_kernel(torch.zeros(1, 48))
    on_cpu = has_int8_kernel(torch.zeros(1, 48, dtype=torch.bfloat16, device="cpu"))
    assert on_cpu == hasattr(torch, "_weight_int8pack_mm")


def test_without_the_kernel_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    q, scales = quantize_weight(torch.randn(31, 48))
    x = torch.randn(3, 48).bfloat16()
    with_kernel = int8_linear(x, q, scales)
    monkeypatch.delattr(torch, "_weight_int8pack_mm", raising=False)
    without = int8_linear(x, q, scales)
    torch.testing.assert_close(without, with_kernel, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("bias", [True, False])
def test_layer(bias: bool) -> None:
    linear = randomized(nn.Linear(16, 7, bias=bias))
    layer = Int8Linear.from_linear(linear)
    x = torch.randn(2, 3, 16)
    stands_for = dequantize_int8(layer.weight_int8, layer.scales, torch.float32)
    torch.testing.assert_close(layer(x), F.linear(x, stands_for, linear.bias))
    # Half a step for each weight, times what it multiplies.
    bound = 0.51 * layer.scales.float() * x.abs().sum(-1, keepdim=True) + 1e-5
    assert ((layer(x) - linear(x)).abs() <= bound).all()
    assert repr(layer) == f"Int8Linear(16, 7, bias={bias})"


def test_the_state_is_saved_and_loaded() -> None:
    one = Int8Linear.from_linear(randomized(nn.Linear(5, 3)))
    other = Int8Linear.from_linear(nn.Linear(5, 3))
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 5)
    assert torch.equal(one(x), other(x))
    assert set(one.state_dict()) == {"weight_int8", "scales", "bias"}


def test_layers_check_what_they_are_given() -> None:
    q, scales = quantize_weight(torch.randn(5, 3))
    with pytest.raises(ValueError, match=r"weight has dtype torch\.float32 .* must be int8"):
        Int8Linear(q.float(), scales)
    with pytest.raises(ValueError, match=r"scales has shape \(4,\), but must be \(5,\)"):
        Int8Linear(q, scales[:4])


def test_embedding() -> None:
    table = Int8Linear(*quantize_weight(torch.randn(11, 6)))
    rows = dequantize_int8(table.weight_int8, table.scales, torch.float32)
    ids = torch.tensor([[3, 10, 0], [3, 3, 7]])

    def add_positions(x: Tensor, positions: Tensor) -> Tensor:
        return x + positions[..., None]

    plain = Int8Embedding(table, dtype=torch.float32)
    torch.testing.assert_close(plain(ids), rows[ids])
    torch.testing.assert_close(plain.weight, rows)
    joined = Int8Embedding(table, dtype=torch.float32, positions=add_positions, scale=3.0)
    expected = 3 * rows[ids] + torch.arange(3)[:, None]
    torch.testing.assert_close(joined(ids), expected)
    torch.testing.assert_close(joined(ids, torch.tensor([5, 6, 7])), expected + 5)
    assert joined.table is table


@pytest.mark.parametrize("ids", [[[11]], [[-1]], [3]])
def test_embedding_refuses_unknown_ids(ids: list) -> None:
    table = Int8Linear(*quantize_weight(torch.randn(11, 6)))
    with pytest.raises(ValueError, match="ids"):
        Int8Embedding(table, dtype=torch.float32)(torch.tensor(ids))
