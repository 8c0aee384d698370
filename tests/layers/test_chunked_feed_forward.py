import pytest
import torch
import torch.nn.functional as F
from parity import FLOATS, close, randomized
from torch import Tensor, nn

from tfbook.layers import ChunkedFeedForward, FeedForward, GatedFeedForward

N = 7


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 7, 11])
@pytest.mark.parametrize("make", [FeedForward, GatedFeedForward])
def test_equals_the_unchunked_layer(
    make: type[nn.Module], chunk: int, recompute: bool, dtype: torch.dtype
) -> None:
    whole = randomized(make(5, 13, activation=F.gelu), dtype).train()
    ours = ChunkedFeedForward(whole, chunk, recompute=recompute)
    inputs = [torch.randn(2, N, 5, dtype=dtype, requires_grad=True), *whole.parameters()]
    y, expected = ours(inputs[0]), whole(inputs[0])
    close(y, expected)
    gradients = torch.autograd.grad(y.sin().sum(), inputs)
    for our, their in zip(
        gradients, torch.autograd.grad(expected.sin().sum(), inputs), strict=True
    ):
        close(our, their)
    with torch.no_grad():
        close(ours.eval()(inputs[0]), expected)


class Spy(nn.Module):
    """Counts the positions of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = FeedForward(5, 64), []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.shape[-2])
        return self.layer(x)


def test_no_call_sees_more_positions_than_a_chunk() -> None:
    spy = Spy()
    with torch.no_grad():
        ChunkedFeedForward(spy, 3)(torch.randn(2, N, 5))
    assert spy.seen == [3, 3, 1]


def kept(module: nn.Module, x: Tensor) -> int:
    """Numbers that autograd keeps for the backward pass, parameters left out."""
    parameters = {p.data_ptr() for p in module.parameters()}
    total = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        total += 0 if tensor.data_ptr() in parameters else tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x)
    return total


def test_memory_in_training_is_bounded_by_recomputing() -> None:
    layer = FeedForward(5, 64)
    x = torch.randn(1, 60, 5, requires_grad=True)
    inner = 60 * 64
    assert kept(layer, x) > inner
    assert kept(ChunkedFeedForward(layer, 6, recompute=False), x) > inner
    assert kept(ChunkedFeedForward(layer, 6), x) < inner / 6


def test_dropout_is_the_same_when_it_is_recomputed() -> None:
    x = torch.ones(2, N, 5, requires_grad=True)
    y = ChunkedFeedForward(nn.Dropout(0.5), 3)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert gradient.equal(y)


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="chunk=0 must be at least 1"):
        ChunkedFeedForward(FeedForward(5, 13), 0)
    with pytest.raises(ValueError, match=r"x has shape \(5,\), but chunks are cut from the pos"):
        ChunkedFeedForward(FeedForward(5, 13), 2)(torch.zeros(5))
