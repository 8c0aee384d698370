import pytest
import torch
from einops import rearrange
from parity import FLOATS, TOLERANCE, close, randomized
from torch import Tensor, nn

from tfbook.layers import BatchNorm
from tfbook.layers.batch_norm import require_tokens, token_mean

B, N, D = 3, 5, 7
# Right padding, none, left padding.
MASK = [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]


def pair(dtype: torch.dtype) -> tuple[BatchNorm, nn.BatchNorm1d]:
    ours = randomized(BatchNorm(D, momentum=0.3, eps=1e-3), dtype).train()
    theirs = nn.BatchNorm1d(D, momentum=0.3, eps=1e-3, dtype=dtype)
    # Statistics that are not the defaults.
    ours.running_mean.uniform_(-1, 1)
    ours.running_var.uniform_(0.5, 2)
    theirs.load_state_dict({**theirs.state_dict(), **ours.state_dict()})
    return ours, theirs


def inputs(dtype: torch.dtype) -> Tensor:
    return 3 * torch.randn(B, N, D, dtype=dtype) + torch.arange(D)


def agree(ours: BatchNorm, theirs: nn.BatchNorm1d) -> None:
    close(ours.running_mean, theirs.running_mean)
    close(ours.running_var, theirs.running_var)


def test_worked_by_hand() -> None:
    # Mean 3, variance 4, of which the unbiased estimate is 8.
    norm = BatchNorm(1, momentum=0.5, eps=1e-12)
    y = norm(torch.tensor([[[1.0]], [[5.0]]]))
    assert y.flatten().tolist() == [-1.0, 1.0]
    assert (norm.running_mean.item(), norm.running_var.item()) == (1.5, 4.5)
    # (6 - 1.5) / √4.5.
    assert norm.eval()(torch.tensor([[[6.0]]])).item() == pytest.approx(4.5**0.5)


@pytest.mark.parametrize("dtype", FLOATS)
def test_equals_torch_without_padding(dtype: torch.dtype) -> None:
    ours, theirs = pair(dtype)
    for _ in range(2):
        x = inputs(dtype).requires_grad_()
        y, expected = ours(x), theirs(x.mT).mT
        close(y, expected)
        agree(ours, theirs)
        gradients = torch.autograd.grad(y.sin().sum(), [x, ours.weight, ours.bias])
        wanted = torch.autograd.grad(expected.sin().sum(), [x, theirs.weight, theirs.bias])
        for our, their in zip(gradients, wanted, strict=True):
            close(our, their)
    x = inputs(dtype)
    close(ours.eval()(x), theirs.eval()(x.mT).mT)
    agree(ours, theirs)


@pytest.mark.parametrize("dtype", FLOATS)
def test_equals_torch_on_the_real_tokens(dtype: torch.dtype) -> None:
    ours, theirs = pair(dtype)
    mask = torch.tensor(MASK, dtype=torch.bool)
    for _ in range(2):
        x = inputs(dtype).requires_grad_()
        y, expected = ours(x, mask)[mask], theirs(x[mask])
        close(y, expected)
        agree(ours, theirs)
        gradients = torch.autograd.grad(y.sin().sum(), [x, ours.weight, ours.bias])
        wanted = torch.autograd.grad(expected.sin().sum(), [x, theirs.weight, theirs.bias])
        for our, their in zip(gradients, wanted, strict=True):
            close(our, their)
    x = inputs(dtype)
    close(ours.eval()(x, mask)[mask], theirs.eval()(x[mask]))
    close(ours(x, mask), ours(x))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_full_mask_changes_nothing(dtype: torch.dtype) -> None:
    ours, other = pair(dtype)[0], pair(dtype)[0]
    other.load_state_dict(ours.state_dict())
    x = inputs(dtype)
    close(ours(x, torch.ones(B, N, dtype=torch.bool)), other(x))
    # Not to the last bit: the sums run in another order.
    for mine, theirs in zip(ours.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=TOLERANCE[dtype], rtol=0)


def test_padding_counts_for_nothing() -> None:
    mask = torch.tensor(MASK, dtype=torch.bool)
    x = inputs(torch.float32)
    outputs = []
    for padding in (0.0, 1e4, float("nan")):
        norm = BatchNorm(D)
        outputs.append(norm(x.masked_fill(~mask[..., None], padding), mask)[mask])
        assert norm.running_mean.isfinite().all()
    assert outputs[0].equal(outputs[1])
    assert outputs[0].equal(outputs[2])


def test_the_future_leaks_in_training() -> None:
    norm = randomized(BatchNorm(D))
    assert norm.mixes_positions
    x = torch.randn(1, N, D, requires_grad=True)

    def seen() -> list[bool]:
        (gradient,) = torch.autograd.grad(norm(x)[0, 1].sum(), x)
        return (gradient[0].abs().sum(dim=-1) > 0).tolist()

    assert seen() == [i == 1 for i in range(N)]
    norm.train()
    assert seen() == [True] * N


@pytest.mark.parametrize("masked", [True, False])
def test_bfloat16_statistics_are_in_float32(masked: bool) -> None:
    x = (40 + torch.randn(4, 64, D)).bfloat16()
    mask = torch.ones(4, 64, dtype=torch.bool) if masked else None
    y = BatchNorm(D).bfloat16()(x, mask)
    assert y.dtype == torch.bfloat16
    assert (y.float() - BatchNorm(D)(x.float(), mask)).abs().max() < 0.05


def test_half_precision_input_with_float32_statistics() -> None:
    x, mask = torch.randn(B, N, D).bfloat16(), torch.ones(B, N, dtype=torch.bool)
    norm = BatchNorm(D)
    for given in (None, mask):
        assert norm(x, given).dtype == torch.bfloat16
    assert norm.running_mean.dtype == torch.float32


def test_token_mean() -> None:
    x, mask = torch.randn(B, N, D), torch.tensor(MASK, dtype=torch.bool)
    close(token_mean(x, None), rearrange(x, "b n d -> (b n) d").mean(0))
    close(token_mean(x, mask), x[mask].mean(0))
    assert (token_mean(x, torch.zeros_like(mask)) == 0).all()


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="d_model=0 must be at least 1"):
        BatchNorm(0)
    with pytest.raises(ValueError, match=r"momentum=0.0 must be in \(0, 1\]"):
        BatchNorm(4, momentum=0.0)
    with pytest.raises(ValueError, match=r"eps=0.0 must be above 0: a feature may be constant"):
        BatchNorm(4, eps=0.0)


@pytest.mark.parametrize(
    ("x", "mask", "message"),
    [
        (torch.zeros(2, 3, 5), None, r"x has shape \(2, 3, 5\), but .* \(batch, n, d_model=4\)"),
        (torch.zeros(3, 4), None, r"x has shape \(3, 4\), but this norm was made for \(batch, n"),
        (torch.zeros(2, 3, 4), torch.ones(2, 1, 1, 3).bool(), r"mask has shape \(2, 1, 1, 3\)"),
        (torch.zeros(2, 3, 4), torch.ones(2, 3), r"dtype torch.float32, but must be boolean"),
        (torch.zeros(1, 1, 4), None, "x has 1 real tokens, .* at least 2; give a larger batch"),
        (torch.zeros(2, 3, 4), torch.eye(2, 3).bool() & False, "x has 0 real tokens"),
    ],
)
def test_bad_input(x: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchNorm(4)(x, mask)


def test_require_tokens() -> None:
    with pytest.raises(ValueError, match=r"x has shape \(2, 3, 4\)"):
        require_tokens(torch.zeros(2, 3, 4), None, 5)
    with pytest.raises(ValueError, match=r"mask has shape \(3, 2\) .* \(2, 3\), True at real"):
        require_tokens(torch.zeros(2, 3, 4), torch.ones(3, 2).bool(), 4)


def test_one_token_is_enough_in_evaluation() -> None:
    assert BatchNorm(4).eval()(torch.ones(1, 1, 4)).shape == (1, 1, 4)
