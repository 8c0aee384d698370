"""The expected values are derived from algorithm 2 by hand.

The authors' code is no oracle: it scales each token first, and its backward pass divides by the
root mean square of the batch.
"""

import pytest
import torch
from parity import FLOATS, close, randomized
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tfbook.layers import PowerNorm, RMSNorm

B, N, D = 3, 5, 7
# Right padding, none, left padding.
MASK = [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]


def column(*values: float) -> Tensor:
    """One sequence of one feature."""
    return torch.tensor(values, dtype=torch.float32)[None, :, None]


def train(norm: PowerNorm, x: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
    """One step: the output, and the gradient of ``x`` where the output's gradient is ``h``."""
    x = x.detach().requires_grad_()
    y = norm(x, mask)
    (gradient,) = torch.autograd.grad(y, x, h)
    return y.detach(), gradient


def random_state(norm: PowerNorm) -> PowerNorm:
    randomized(norm).train()
    norm.running_square.uniform_(0.5, 2)
    norm.running_gradient.uniform_(-1, 1)
    return norm


def test_two_steps_worked_by_hand() -> None:
    norm = PowerNorm(1, alpha_forward=0.5, alpha_backward=0.5, warmup_steps=0, eps=0.0)
    y, gradient = train(norm, column(4, 2, 1), column(1, 1, 0))
    # ψ₀ = 1 and ν₀ = 0: nothing changes on the way.
    assert y.flatten().tolist() == [4, 2, 1]
    assert gradient.flatten().tolist() == [1, 1, 0]
    # ψ₁² = (1 + (16 + 4 + 1) / 3) / 2 = 4;  ν₁ = 0 + (4 + 2 + 0) / 3 / 2 = 1.
    assert (norm.running_square.item(), norm.running_gradient.item()) == (4, 1)
    y, gradient = train(norm, column(2, 4, 0), column(3, 1, 1))
    # x̂ = x / 2;  (h - 1·x̂) / 2 = ((3, 1, 1) - (1, 2, 0)) / 2.
    assert y.flatten().tolist() == [1, 2, 0]
    assert gradient.flatten().tolist() == [1, -0.5, 0.5]
    # ψ₂² = (4 + 20/3) / 2;  ⟨x̂²⟩ = 5/3 and ⟨h·x̂⟩ = 5/3: ν₂ = 1 - 5/6 + 5/6.
    assert norm.running_square.item() == pytest.approx(16 / 3)
    assert norm.running_gradient.item() == pytest.approx(1)


def test_gain_and_bias_by_hand() -> None:
    norm = PowerNorm(1, alpha_forward=0.5, alpha_backward=0.5, warmup_steps=0, eps=0.0)
    norm.weight.data, norm.bias.data = torch.tensor([10.0]), torch.tensor([3.0])
    norm.running_square.fill_(4.0)
    norm.running_gradient.fill_(1.0)
    x = column(2, 4, 0).requires_grad_()
    y = norm(x)
    y.backward(column(0.3, 0.1, 0.1))
    # x̂ = (1, 2, 0), and h = 10·(0.3, 0.1, 0.1) as in the second step above.
    assert y.flatten().tolist() == [13, 23, 3]
    torch.testing.assert_close(x.grad, column(1, -0.5, 0.5))
    # Σ 0.3·1 + 0.1·2, and Σ of the output's gradient.
    assert norm.weight.grad.item() == pytest.approx(0.5)
    assert norm.bias.grad.item() == pytest.approx(0.5)
    assert norm.running_gradient.item() == pytest.approx(1)


@pytest.mark.parametrize("dtype", FLOATS)
def test_gain_and_bias_have_the_exact_gradient(dtype: torch.dtype) -> None:
    """Only the way back to x is approximate."""
    norm = random_state(PowerNorm(D, warmup_steps=0)).to(dtype)
    x = torch.randn(B, N, D, dtype=dtype)
    plain = norm.weight * (x * torch.rsqrt(norm.running_square + 1e-5)) + norm.bias
    wanted = torch.autograd.grad(plain.sin().sum(), [norm.weight, norm.bias])
    y = norm(x)
    close(y, plain)
    for our, their in zip(
        torch.autograd.grad(y.sin().sum(), [norm.weight, norm.bias]), wanted, strict=True
    ):
        close(our, their)


def exact(norm: PowerNorm, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """PN-V: the batch's own mean square, differentiated through by autograd."""
    x = x.detach().requires_grad_()
    square = x.square().mean(dim=(0, 1))
    y = norm.weight * (x / torch.sqrt(square + norm.eps)) + norm.bias
    return y.detach(), torch.autograd.grad(y, x, h)[0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_warm_up_is_exact(dtype: torch.dtype) -> None:
    norm = random_state(PowerNorm(D, warmup_steps=2, eps=0.1)).to(dtype)
    for step in range(3):
        x, h = (3 * torch.randn(B, N, D, dtype=dtype) for _ in range(2))
        y, gradient = train(norm, x, h)
        wanted_y, wanted = exact(norm, x, h)
        if step < 2:
            close(y, wanted_y)
            close(gradient, wanted)
        else:
            assert (y - wanted_y).abs().max() > 0.1
    assert norm.steps.item() == 3


def test_the_same_batch_for_ever_gives_the_exact_gradient() -> None:
    """ψ² and ν are averages: at rest they are the batch's own, and nothing is approximate."""
    norm = random_state(PowerNorm(D, warmup_steps=0, eps=0.0)).double()
    x, h = (torch.randn(B, N, D, dtype=torch.float64) for _ in range(2))
    for _ in range(400):
        y, gradient = train(norm, x, h)
    wanted_y, wanted = exact(norm, x, h)
    close(y, wanted_y)
    close(gradient, wanted)


@pytest.mark.parametrize("warmup_steps", [0, 9])
def test_padding_counts_for_nothing(warmup_steps: int) -> None:
    mask = torch.tensor(MASK, dtype=torch.bool)
    padded, packed = (random_state(PowerNorm(D, warmup_steps=warmup_steps)) for _ in range(2))
    packed.load_state_dict(padded.state_dict())
    for _ in range(3):
        x, h = torch.randn(B, N, D), torch.randn(B, N, D)
        scale = torch.rsqrt(padded.running_square + padded.eps)
        y, gradient = train(padded, x, h, mask)
        # The real tokens alone, as one sequence.
        wanted_y, wanted = train(packed, x[mask][None], h[mask][None])
        close(y[mask], wanted_y[0])
        close(gradient[mask], wanted[0])
        if not warmup_steps:
            # Padding was in no average: its gradient is that of a division by a constant.
            close(gradient[~mask], (h * padded.weight * scale)[~mask])
    torch.testing.assert_close(padded.running_square, packed.running_square)
    torch.testing.assert_close(padded.running_gradient, packed.running_gradient)


@pytest.mark.parametrize("dtype", FLOATS)
def test_evaluation_divides_by_the_running_mean_square(dtype: torch.dtype) -> None:
    norm = random_state(PowerNorm(D)).to(dtype).eval()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(B, N, D, dtype=dtype, requires_grad=True)
    y = norm(x)
    gain = norm.weight / torch.sqrt(norm.running_square + 1e-5)
    close(y, x * gain + norm.bias)
    close(torch.autograd.grad(y.sum(), x)[0], gain.expand(B, N, D))
    assert all(value.equal(before[name]) for name, value in norm.state_dict().items())


def test_a_forward_pass_can_be_run_again() -> None:
    """Activation checkpointing runs it twice: the averages move once, and in the backward pass."""
    plain, again = (random_state(PowerNorm(D, warmup_steps=0)) for _ in range(2))
    again.load_state_dict(plain.state_dict())
    for _ in range(2):
        x = torch.randn(B, N, D, requires_grad=True)
        (wanted,) = torch.autograd.grad(plain(plain(x)).sin().sum(), x)
        y = checkpoint(lambda x: again(again(x)), x, use_reentrant=False)
        close(torch.autograd.grad(y.sin().sum(), x)[0], wanted)
    assert plain.steps.item() == again.steps.item() == 4
    torch.testing.assert_close(plain.state_dict(), again.state_dict())


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_the_future_leaks_in_warm_up_only(warmup_steps: int) -> None:
    norm = random_state(PowerNorm(D, warmup_steps=warmup_steps))
    assert norm.mixes_positions == (warmup_steps > 0)
    leaks = []
    for _ in range(2):
        x = torch.randn(1, N, D)
        later = torch.cat([x[:, :2], torch.randn(1, N - 2, D)], dim=1)
        leaks.append(not norm(x)[:, :2].equal(norm(later)[:, :2]))
        norm(x).sum().backward()
    assert leaks == [warmup_steps > 0, False]


def test_growing_batches_make_the_average_diverge_and_rms_norm_bounds_it() -> None:
    def final(*, bounded: bool) -> float:
        norm, first = PowerNorm(1, alpha_forward=0.99999, warmup_steps=0), RMSNorm(1)
        for _ in range(40):
            x = 30**0.5 * column(1, -1)
            train(norm, first(x) if bounded else x, column(1, 1.5))
        return norm.running_gradient.abs().item()

    # 1 - 0.1·30 = -2: ν doubles each step, until the running mean square has grown.
    assert final(bounded=False) > 1e3
    assert final(bounded=True) < 1


def test_bfloat16_statistics_are_in_float32() -> None:
    x = (40 + torch.randn(4, 64, D)).bfloat16()
    y = PowerNorm(D).bfloat16()(x)
    assert y.dtype == torch.bfloat16
    assert (y.float() - PowerNorm(D)(x.float())).abs().max() < 0.01
    norm = PowerNorm(D, warmup_steps=0)
    assert norm(x).dtype == torch.bfloat16
    norm(x).sum().backward()
    assert norm.running_square.dtype == norm.weight.grad.dtype == torch.float32


def test_bfloat16_parameters_get_bfloat16_gradients() -> None:
    norm = PowerNorm(D, warmup_steps=0).bfloat16()
    x = torch.randn(B, N, D).bfloat16().requires_grad_()
    norm(x).sum().backward()
    assert x.grad.dtype == norm.weight.grad.dtype == norm.bias.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(d_model=0), "d_model=0 must be at least 1"),
        (dict(d_model=4, alpha_forward=1.0), r"alpha_forward=1.0 must be in \[0, 1\)"),
        (dict(d_model=4, alpha_backward=-0.1), r"alpha_backward=-0.1 must be in \[0, 1\)"),
        (dict(d_model=4, warmup_steps=-1), "warmup_steps=-1 must be at least 0; 0 skips it"),
        (dict(d_model=4, eps=-1.0), r"eps=-1.0 must be at least 0"),
    ],
)
def test_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PowerNorm(**options)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\), but .* \(batch, n, d_model=4\)"):
        PowerNorm(4)(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"mask has shape \(3, 2\) and dtype torch.bool"):
        PowerNorm(4)(torch.zeros(2, 3, 4), torch.ones(3, 2).bool())
