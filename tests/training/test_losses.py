import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import FLOATS, close
from torch import Tensor

from tfbook.training import cross_entropy, next_token_loss

B, N, V = 3, 5, 7


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return 2 * torch.randn(B, N, V, dtype=dtype), torch.randint(0, V, (B, N))


def test_worked_by_hand() -> None:
    # p = (1/4, 3/4): -ln p of the right token; smoothing by 0.2 keeps 0.8 and gives 0.1 to each.
    logits = torch.tensor([[0.0, math.log(3.0)]])
    assert cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(math.log(4 / 3))
    smoothed = cross_entropy(logits, torch.tensor([1]), label_smoothing=0.2).item()
    assert smoothed == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("ignore_id", [None, 0, -100])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
def test_equals_torch(label_smoothing: float, ignore_id: int | None, dtype: torch.dtype) -> None:
    logits, targets = batch(dtype)
    if ignore_id is not None:
        targets[0, 2:] = targets[2, 4:] = ignore_id
    options = {} if ignore_id is None else {"ignore_index": ignore_id}
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = cross_entropy(ours, targets, ignore_id=ignore_id, label_smoothing=label_smoothing)
    expected = F.cross_entropy(
        theirs.flatten(0, 1), targets.flatten(), label_smoothing=label_smoothing, **options
    )
    close(loss, expected)
    loss.backward()
    expected.backward()
    close(10 * ours.grad, 10 * theirs.grad)


def test_any_number_of_axes() -> None:
    logits, targets = batch()
    close(cross_entropy(logits, targets), cross_entropy(logits.flatten(0, 1), targets.flatten()))


def test_ignored_targets_have_no_gradient() -> None:
    logits, targets = batch()
    logits.requires_grad_()
    targets[1] = 0
    targets[0] = targets[2] = 3
    cross_entropy(logits, targets, ignore_id=0, label_smoothing=0.1).backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[0] != 0).all()


def test_half_precision_is_computed_in_float32() -> None:
    logits, targets = batch()
    loss = cross_entropy(logits.bfloat16(), targets)
    assert loss.dtype == torch.float32
    close(loss, cross_entropy(logits.bfloat16().float(), targets))


@given(epsilon=st.floats(0.01, 0.99), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_smoothing_mixes_with_guessing(epsilon: float, seed: int) -> None:
    """The smoothed loss is a mixture of the plain one and of its mean over all targets."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, V, generator=generator, dtype=torch.float64, device="cpu")
    every = [cross_entropy(logits, torch.tensor([w], device="cpu")) for w in range(V)]
    ours = cross_entropy(logits, torch.tensor([2], device="cpu"), label_smoothing=epsilon)
    expected = (1 - epsilon) * every[2] + epsilon * torch.stack(every).mean()
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        (torch.zeros(B, N), {}, "dtype torch.float32, but logits .* need torch.int64"),
        (torch.zeros(B, N).int(), {}, "dtype torch.int32, but logits .* need torch.int64"),
        (torch.zeros(B, N - 1).long(), {}, r"targets has shape \(3, 4\)"),
        (torch.zeros(B, 1).long(), {}, r"need torch.int64 of shape \(3, 5\)"),
        (torch.zeros(B * N).long(), {}, r"targets has shape \(15,\)"),
        (torch.full((B, N), V), {}, r"targets=7…7 must lie in \[0, vocab=7\)"),
        (torch.full((B, N), -100), {}, "name the padding with ignore_id="),
        (torch.zeros(B, N).long(), {"ignore_id": 0}, "nothing but ignore_id=0; a batch needs"),
        (torch.zeros(B, N).long(), {"label_smoothing": 1.0}, r"label_smoothing=1.0 must be in \[0"),
    ],
)
def test_bad_input(targets: Tensor, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cross_entropy(torch.zeros(B, N, V), targets, **options)


def test_no_targets_at_all() -> None:
    with pytest.raises(ValueError, match="not empty; give one id for every row of logits"):
        cross_entropy(torch.zeros(0, V), torch.zeros(0).long())


def test_next_token_loss_is_cross_entropy_of_shifted_ids() -> None:
    torch.manual_seed(0)
    table = torch.nn.Embedding(5, 5).double()  # a model that looks at the last token alone
    windows = torch.randint(5, (3, 7))
    expected = F.cross_entropy(
        table.weight[windows[:, :-1]].flatten(0, 1), windows[:, 1:].flatten()
    )
    torch.testing.assert_close(next_token_loss(table, windows), expected)


def test_next_token_loss_wants_a_target() -> None:
    with pytest.raises(ValueError, match=r"targets has shape \(3, 0\).*not empty"):
        next_token_loss(torch.nn.Embedding(5, 5), torch.zeros(3, 1).long())
