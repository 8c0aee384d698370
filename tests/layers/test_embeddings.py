import math

import pytest
import torch
from parity import FLOATS, close, randomized
from torch import Tensor, nn

from tfbook.layers import Embedding, LayerNorm
from tfbook.positions import LearnedPositions, SinusoidalPositions, sinusoidal_table


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scaled", [True, False])
def test_a_scaled_look_up(scaled: bool, dtype: torch.dtype) -> None:
    ours = randomized(Embedding(29, 7, scaled=scaled), dtype)
    theirs = nn.Embedding(29, 7, _weight=ours.weight.data)
    ids = torch.randint(0, 29, (2, 5))
    close(ours(ids), theirs(ids) * (math.sqrt(7) if scaled else 1.0))


def test_scaling_gives_unit_variance() -> None:
    # 500 · 64 numbers of variance 1: the sample's deviation has standard error 0.004.
    y = Embedding(500, 64)(torch.arange(500)[None])
    assert y.std().item() == pytest.approx(1.0, abs=0.02)


def test_positions_are_joined_after_scaling() -> None:
    ours = Embedding(29, 6, positions=SinusoidalPositions(11, 6))
    ids = torch.randint(0, 29, (2, 5))
    x = ours.weight[ids] * math.sqrt(6)
    close(ours(ids), x + sinusoidal_table(5, 6))
    later = torch.arange(3, 8)
    close(ours(ids, later), x + sinusoidal_table(11, 6)[later])


def test_dropout_comes_last() -> None:
    ours = Embedding(29, 6, positions=LearnedPositions(11, 6), dropout_p=0.5)
    ids = torch.randint(0, 29, (2, 5))
    y, dropped = ours.eval()(ids), ours.train()(ids)
    kept = dropped != 0
    assert 0 < kept.sum() < kept.numel()
    close(dropped[kept], 2 * y[kept])


def test_gradients_reach_the_rows_that_were_read() -> None:
    ours = Embedding(29, 7)
    ours(torch.tensor([[3, 3, 5]])).sum().backward()
    counts = ours.weight.grad[:, 0] / math.sqrt(7)
    torch.testing.assert_close(counts[[3, 5]], torch.tensor([2.0, 1.0]))
    assert counts.count_nonzero() == 2


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="vocab_size=0 must be at least 1"):
        Embedding(0, 4)
    with pytest.raises(ValueError, match="d_model=0 must be at least 1"):
        Embedding(4, 0)
    with pytest.raises(ValueError, match=r"dropout_p=-0.1 must be in \[0, 1\)"):
        Embedding(4, 4, dropout_p=-0.1)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.tensor([[0, 29]]), r"ids=0…29 must lie in \[0, vocab_size=29\); encode the text"),
        (torch.tensor([[-1, 2]]), r"ids=-1…2 must lie in \[0, vocab_size=29\)"),
        (torch.tensor([1, 2]), r"shape \(2,\) .* add the batch axis with ids\[None\]"),
        (torch.tensor([[1.0]]), "dtype torch.float32, but must be integers"),
        (torch.tensor([[True]]), "dtype torch.bool, but must be integers"),
        (torch.zeros(2, 0, dtype=torch.int64), r"shape \(2, 0\)"),
        (torch.zeros(0, 2, dtype=torch.int64), r"shape \(0, 2\)"),
    ],
)
def test_bad_ids(ids: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embedding(29, 4)(ids)


def test_segments_and_the_norm() -> None:
    ours = Embedding(29, 6, positions=LearnedPositions(11, 6), norm=LayerNorm(6), n_segments=3)
    randomized(ours)
    ids, segments = torch.randint(0, 29, (2, 5)), torch.randint(0, 3, (2, 5))
    x = math.sqrt(6) * ours.weight[ids] + ours.positions.table[:5]
    close(ours(ids, segments=segments), ours.norm(x + ours.segments[segments]))
    close(ours(ids), ours.norm(x + ours.segments[0]))


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (torch.zeros(2, 4).long(), r"segments has shape \(2, 4\) .* of shape \(2, 5\)"),
        (torch.zeros(2, 5), "and dtype torch.float32, but must be integers"),
        (torch.full((2, 5), 3), r"integers in \[0, n_segments=3\)"),
        (torch.full((2, 5), -1), r"integers in \[0, n_segments=3\)"),
    ],
)
def test_bad_segments(segments: Tensor, message: str) -> None:
    ids = torch.zeros(2, 5).long()
    with pytest.raises(ValueError, match=message):
        Embedding(29, 6, n_segments=3).forward(ids, segments=segments)


def test_segments_without_a_table() -> None:
    ids = torch.zeros(2, 5).long()
    with pytest.raises(ValueError, match="segments are given, but the embedding has no vectors"):
        Embedding(29, 6)(ids, segments=ids)
