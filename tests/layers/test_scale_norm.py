import math

import pytest
import torch
from parity import FLOATS, close
from x_transformers.x_transformers import ScaleNorm as TheirScaleNorm

from tfbook.layers import RMSNorm, ScaleNorm


def test_worked_by_hand() -> None:
    # Length 5 becomes g = √4 = 2.
    y = ScaleNorm(4)(torch.tensor([0.0, 3.0, 0.0, -4.0]))
    torch.testing.assert_close(y, torch.tensor([0.0, 1.2, 0.0, -1.6]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 5, 7)])
def test_equals_x_transformers(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ours, theirs = ScaleNorm(7).to(dtype), TheirScaleNorm(7).to(dtype)
    # They learn g/√d.
    theirs.g.data = torch.tensor([1.3], dtype=dtype)
    ours.weight.data = theirs.g.data * math.sqrt(7)
    x = (3 * torch.randn(shape, dtype=dtype)).requires_grad_()
    close(ours(x), theirs(x))
    ours_x, our_g = torch.autograd.grad(ours(x).sin().sum(), [x, ours.weight])
    theirs_x, their_g = torch.autograd.grad(theirs(x).sin().sum(), [x, theirs.g])
    close(ours_x, theirs_x)
    assert our_g.item() * math.sqrt(7) == pytest.approx(their_g.item(), rel=1e-4)


def test_is_rms_norm_with_one_gain() -> None:
    x = torch.randn(2, 5, 7, dtype=torch.float64)
    ours = ScaleNorm(7).double()
    ours.weight.data.fill_(math.sqrt(7))
    close(ours(x), RMSNorm(7, eps=0.0).double()(x))
    assert sum(p.numel() for p in ours.parameters()) == 1


def test_a_zero_vector_stays_zero() -> None:
    norm = ScaleNorm(7)
    x = torch.zeros(1, 7, requires_grad=True)
    y = norm(x)
    assert (y == 0).all()
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert norm.weight.grad.isfinite().all()


def test_bfloat16_length_is_in_float32() -> None:
    x = (40 * torch.randn(30, 512)).bfloat16()
    y = ScaleNorm(512).bfloat16()(x)
    assert y.dtype == torch.bfloat16
    # y is rounded by up to 2⁻⁸, and g = √512 by 10⁻⁴; a rounded length would add another 2⁻⁸.
    error = (y.float() / ScaleNorm(512)(x.float()) - 1).abs().max()
    assert error < 2**-8 + 3e-4


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="d_model=0 must be at least 1"):
        ScaleNorm(0)
    with pytest.raises(ValueError, match=r"eps=0.0 must be above 0: a zero vector"):
        ScaleNorm(4, eps=0.0)
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\), but this norm was .* d_model=4"):
        ScaleNorm(4)(torch.zeros(2, 5))
