"""Position encodings compile to one graph, without a break, and compute the same."""

import pytest
import torch
from parity import close
from torch import nn

from tfbook.positions import (
    AxialRotaryEmbedding,
    ConcatenatedPositions,
    DynamicNTKScaling,
    LearnedFrequencies,
    Llama3Scaling,
    RotaryEmbedding,
    ShawRelative,
    TransformerXLRelative,
    YaRNScaling,
    grid_positions,
)


@pytest.mark.slow
@pytest.mark.unchecked_shapes
def test_turning_and_adding_compile_to_one_graph() -> None:
    heads, tokens = torch.randn(2, 3, 14, 12), torch.randn(2, 14, 12)
    positions = torch.randint(0, 60, (2, 14))
    rotary: list[nn.Module] = [
        RotaryEmbedding(12, d_rotary=6, layout="interleaved", learnable=True),
        RotaryEmbedding(12, scaling=DynamicNTKScaling(2.0, 8)),
        RotaryEmbedding(12, scaling=YaRNScaling(2.0, 8)),
        RotaryEmbedding(12, scaling=Llama3Scaling(8.0)),
    ]
    code = LearnedFrequencies(12)
    for module, arguments in [
        *((module, (heads, positions)) for module in rotary),
        (rotary[0], (heads,)),
        (AxialRotaryEmbedding(12), (heads, grid_positions(2, 7))),
        (code, (tokens, positions)),
        (ConcatenatedPositions(code, 12), (tokens, positions)),
    ]:
        torch.compiler.reset()
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        close(compiled(*arguments), module(*arguments))


@pytest.mark.slow
@pytest.mark.unchecked_shapes
def test_relative_schemes_compile_to_one_graph() -> None:
    """In a graph none asks whether the positions count up: those of padding do not."""
    q, k = torch.randn(2, 3, 5, 12), torch.randn(2, 3, 14, 12)
    padded = (torch.arange(14) - torch.tensor([[0], [3]])).clamp(min=0)
    for module in (ShawRelative(12, max_distance=4), TransformerXLRelative(3, 12, 36)):
        torch.compiler.reset()
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        for positions in (padded, torch.arange(14)):
            arguments = (q, k, positions[..., -5:], positions)
            close(10 * compiled(*arguments), 10 * module(*arguments))
