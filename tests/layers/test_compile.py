"""The layers are one graph, without a break, whose values and gradients are the same."""

import copy

import pytest
import torch
import torch.nn.functional as F
from parity import close, randomized
from torch import nn

from tfbook.attention import MultiHeadAttention
from tfbook.layers import (
    BatchNorm,
    BranchNorm,
    ChunkedFeedForward,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    LowRankFeedForward,
    ParallelBlock,
    PowerNorm,
    RMSNorm,
    SandwichNorm,
    ScaleNorm,
    squared_relu,
)

D = 12


class Joined(nn.Module):
    def __init__(self, residual: nn.Module) -> None:
        super().__init__()
        self.residual, self.layer = residual, FeedForward(D, 7, activation=squared_relu)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.residual(x, self.layer)


def check(module: nn.Module, *arguments: torch.Tensor, backend: str = "eager") -> None:
    torch.compiler.reset()
    plain = randomized(module).train()
    compiled = copy.deepcopy(plain)
    call = torch.compile(compiled, backend=backend, fullgraph=True)
    # Twice, so that what the first step leaves in the buffers is read.
    for _ in range(2):
        x = torch.randn(2, 5, D)
        x, y = x.clone().requires_grad_(), x.clone().requires_grad_()
        outputs = plain(x, *arguments), call(y, *arguments)
        close(outputs[1], outputs[0])
        for output in outputs:
            output.sin().sum().backward()
    close(y.grad, x.grad)
    for mine, theirs in zip(compiled.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)
    for mine, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.unchecked_shapes
def test_everything_compiles_to_one_graph() -> None:
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]]).bool()
    attention, feed_forward = MultiHeadAttention(D, 3), FeedForward(D, 7)
    for module in [
        ScaleNorm(D),
        BatchNorm(D),
        Joined(BranchNorm(RMSNorm(D))),
        Joined(SandwichNorm(ScaleNorm(D), LayerNorm(D))),
        GatedFeedForward(D, 7),
        LowRankFeedForward(D, 7, 3),
        ChunkedFeedForward(FeedForward(D, 7, activation=F.gelu), 2),
        ParallelBlock(attention=attention, feed_forward=feed_forward, norm=LayerNorm(D)),
    ]:
        check(module)
    # Here forward and backward are cut from one graph: neither may read what the other has
    # moved on. With the first backend they are not, and a value read too late goes unnoticed.
    for backend in ("eager", "aot_eager"):
        check(BatchNorm(D), mask, backend=backend)
        check(PowerNorm(D, warmup_steps=1), mask, backend=backend)
    check(PowerNorm(D, warmup_steps=0), backend="aot_eager")
