"""The loss at each place of a window."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tfbook.evaluation import loss_by_position, windows_of
from tfbook.models import CausalLM, CausalLMConfig, StackConfig
from tfbook.training import next_token_loss


class Counting(nn.Module):
    """Gives token 1 probability e/(e + 2) at even places, and all alike at odd ones."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, ids: Tensor) -> Tensor:
        self.seen.append(tuple(ids.shape))
        logits = torch.zeros(*ids.shape, 3)
        logits[:, ::2, 1] = 1.0
        return logits + self.anchor


def test_by_hand() -> None:
    windows = torch.tensor([[0, 1, 1, 1, 1], [2, 1, 2, 0, 1]])
    likely = math.log(math.e + 2)
    # Place 2 predicts token 1 in the first window and token 0 in the second.
    expected = [likely - 1, math.log(3), likely - 0.5, math.log(3)]
    torch.testing.assert_close(
        loss_by_position(Counting(), windows), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize(("batch_tokens", "rows"), [(1, [1] * 5), (8, [2, 2, 1]), (99, [5])])
def test_batches_change_nothing(batch_tokens: int, rows: list[int]) -> None:
    windows = torch.randint(3, (5, 5), generator=torch.Generator().manual_seed(0))
    model = Counting()
    one = loss_by_position(model, windows, batch_tokens=batch_tokens)
    assert [shape[0] for shape in model.seen] == rows
    torch.testing.assert_close(one, loss_by_position(Counting(), windows))


def test_mean_is_the_training_loss() -> None:
    stack = StackConfig(d_model=12, n_heads=3, d_ff=20, n_layers=2, placement="pre", dropout_p=0.0)
    torch.manual_seed(0)
    model = CausalLM(CausalLMConfig(vocab_size=11, decoder=stack)).double()
    windows = torch.randint(11, (7, 6))
    torch.testing.assert_close(
        loss_by_position(model, windows).mean().float(), next_token_loss(model, windows).float()
    )


def test_windows_lie_side_by_side() -> None:
    texts = [torch.arange(8), torch.arange(2), 10 + torch.arange(4)]
    assert windows_of(texts, 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [10, 11, 12, 13]]


def test_all_lengths_score_the_same_targets() -> None:
    text = [torch.arange(13)]
    targets = [windows_of(text, n)[:, 1:].flatten().tolist() for n in (2, 3, 4, 6, 12)]
    assert all(t == list(range(1, 13)) for t in targets)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="length=0 must be at least 1"):
        windows_of([torch.arange(4)], 0)
    with pytest.raises(ValueError, match=r"texts has no text of length=4 \+ 1 tokens"):
        windows_of([torch.arange(4)], 4)
    with pytest.raises(ValueError, match=r"windows has shape \(4,\)"):
        loss_by_position(Counting(), torch.arange(4))
    with pytest.raises(ValueError, match="batch_tokens=0 must be at least 1"):
        loss_by_position(Counting(), torch.ones(2, 3).long(), batch_tokens=0)
