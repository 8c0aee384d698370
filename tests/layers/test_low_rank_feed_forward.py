import pytest
import torch
import torch.nn.functional as F
from parity import FLOATS, close, randomized

from tfbook.layers import FeedForward, LowRankFeedForward


def merged(layer: LowRankFeedForward, dtype: torch.dtype) -> FeedForward:
    """The dense layer whose matrices are the products."""
    dense = FeedForward(7, 13, activation=layer.activation).to(dtype).eval()
    for name in ("w_up", "w_down"):
        (first, second), whole = getattr(layer, name), getattr(dense, name)
        whole.weight.data = second.weight.data @ first.weight.data
        whole.bias.data = second.bias.data
    return dense


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rank", [1, 3, 7])
def test_equals_the_dense_layer_of_the_products(rank: int, dtype: torch.dtype) -> None:
    ours = randomized(LowRankFeedForward(7, 13, rank, activation=F.gelu), dtype)
    dense = merged(ours, dtype)
    assert torch.linalg.matrix_rank(dense.w_up.weight) == rank
    x = 2 * torch.randn(2, 3, 5, 7, dtype=dtype)
    close(ours(x), dense(x))


@pytest.mark.parametrize("bias", [True, False])
def test_parameters(bias: bool) -> None:
    layer = LowRankFeedForward(7, 13, 3, bias=bias)
    count = sum(p.numel() for p in layer.parameters())
    assert count == 2 * 3 * (7 + 13) + (7 + 13 if bias else 0)


def test_break_even_is_at_four_fifths_of_the_width() -> None:
    for rank, fewer in [(79, True), (81, False)]:
        layer = LowRankFeedForward(100, 400, rank, bias=False)
        assert (sum(p.numel() for p in layer.parameters()) < 2 * 100 * 400) == fewer


def test_each_position_alone() -> None:
    layer = randomized(LowRankFeedForward(7, 13, 3, activation=F.gelu))
    x = torch.randn(2, 5, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, 3].sum(), x)
    assert (gradient.abs().sum(dim=-1) > 0).nonzero().tolist() == [[0, 3]]


def test_dropout_acts_on_inner_features_in_training() -> None:
    layer = randomized(LowRankFeedForward(7, 13, 3, activation=F.gelu, dropout_p=0.5))
    x = torch.randn(5, 7)
    assert layer(x).equal(layer(x))
    layer.train()
    assert not layer(x).equal(layer(x))


def test_bfloat16() -> None:
    layer = randomized(LowRankFeedForward(7, 13, 3))
    x = torch.randn(5, 7)
    assert (layer.bfloat16()(x.bfloat16()).float() - layer.float()(x)).abs().max() < 0.1


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="d_model=0 must be at least 1"):
        LowRankFeedForward(0, 4, 1)
    with pytest.raises(ValueError, match="d_ff=-1 must be at least 1"):
        LowRankFeedForward(4, -1, 1)
    with pytest.raises(ValueError, match="rank=0 must be at least 1"):
        LowRankFeedForward(4, 16, 0)
    with pytest.raises(ValueError, match="rank=5 must be at most 4, the smaller of d_model=4 and"):
        LowRankFeedForward(4, 16, 5)
    with pytest.raises(ValueError, match=r"dropout_p=1.0 must be in \[0, 1\)"):
        LowRankFeedForward(4, 16, 2, dropout_p=1.0)
