from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from parity import FLOATS, close, copy_linear, randomized
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP
from x_transformers.x_transformers import FeedForward as TheirFeedForward

from tfbook.layers import FeedForward, GatedFeedForward, gated_width

# GLU, ReGLU, GEGLU, SwiGLU.
VARIANTS = [
    (torch.sigmoid, nn.Sigmoid),
    (F.relu, nn.ReLU),
    (F.gelu, nn.GELU),
    (F.silu, nn.SiLU),
]


def test_worked_by_hand() -> None:
    layer = GatedFeedForward(1, 2, activation=F.relu, bias=False)
    layer.w_gate.weight.data = torch.tensor([[1.0], [-1.0]])
    layer.w_up.weight.data = torch.tensor([[2.0], [5.0]])
    layer.w_down.weight.data = torch.tensor([[1.0, 10.0]])
    # x = 3: gates (3, 0), values (6, 15): 18. x = -1: gates (0, 1), values (-2, -5): 10·(-5).
    assert layer(torch.tensor([[3.0], [-1.0]])).tolist() == [[18.0], [-50.0]]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("ours_activation", "theirs_activation"), VARIANTS)
def test_equals_x_transformers(
    ours_activation: Callable[[Tensor], Tensor],
    theirs_activation: type[nn.Module],
    dtype: torch.dtype,
) -> None:
    ours = randomized(GatedFeedForward(7, 21, activation=ours_activation), dtype)
    theirs = TheirFeedForward(7, mult=3, glu=True, custom_activation=theirs_activation())
    theirs.to(dtype)
    gated, _, down = theirs.ff
    # Values first, gates second.
    both = [ours.w_up, ours.w_gate]
    gated.proj.weight.data = torch.cat([part.weight.data for part in both])
    gated.proj.bias.data = torch.cat([part.bias.data for part in both])
    copy_linear(ours.w_down, down)
    x = 2 * torch.randn(2, 3, 5, 7, dtype=dtype)
    close(ours(x), theirs(x))


@pytest.mark.parametrize("dtype", FLOATS)
def test_equals_llama(dtype: torch.dtype) -> None:
    ours = randomized(GatedFeedForward(7, 13, bias=False), dtype)
    config = LlamaConfig(hidden_size=7, intermediate_size=13, num_attention_heads=1, head_dim=2)
    theirs = LlamaMLP(config).to(dtype)
    for our, name in [("w_gate", "gate_proj"), ("w_up", "up_proj"), ("w_down", "down_proj")]:
        copy_linear(getattr(ours, our), getattr(theirs, name))
    x = 2 * torch.randn(2, 5, 7, dtype=dtype)
    close(ours(x), theirs(x))


def test_each_position_alone() -> None:
    layer = randomized(GatedFeedForward(7, 13))
    x = torch.randn(2, 5, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, 3].sum(), x)
    seen = gradient.abs().sum(dim=-1) > 0
    assert seen.nonzero().tolist() == [[0, 3]]


def test_dropout_acts_on_inner_features_in_training() -> None:
    layer = randomized(GatedFeedForward(7, 13, dropout_p=0.5))
    x = torch.randn(5, 7)
    assert layer(x).equal(layer(x))
    layer.train()
    assert not layer(x).equal(layer(x))
    layer.w_down.weight.data.zero_()
    close(layer(x), layer.w_down.bias.expand(5, 7))


def test_bfloat16() -> None:
    layer = randomized(GatedFeedForward(7, 13))
    x = torch.randn(5, 7)
    assert (layer.bfloat16()(x.bfloat16()).float() - layer.float()(x)).abs().max() < 0.1


def test_equal_parameters() -> None:
    gated = GatedFeedForward(32, gated_width(96), bias=False)
    plain = FeedForward(32, 96, bias=False)
    count = [sum(p.numel() for p in layer.parameters()) for layer in (gated, plain)]
    assert count[0] == count[1]


@pytest.mark.parametrize(
    ("d_ff", "multiple_of", "expected"),
    # Shazeer's T5 base, and the models of 7, 13 and 65 billion parameters of Llama.
    [(3072, 1, 2048), (16384, 256, 11008), (20480, 256, 13824), (32768, 256, 22016)],
)
def test_widths_of_published_models(d_ff: int, multiple_of: int, expected: int) -> None:
    assert gated_width(d_ff, multiple_of=multiple_of) == expected


@given(d_ff=st.integers(1, 10**6), multiple_of=st.integers(1, 512))
def test_width_is_the_next_multiple(d_ff: int, multiple_of: int) -> None:
    width = gated_width(d_ff, multiple_of=multiple_of)
    assert width % multiple_of == 0
    assert 2 * d_ff <= 3 * width < 2 * d_ff + 3 * multiple_of


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="d_model=0 must be at least 1"):
        GatedFeedForward(0, 4)
    with pytest.raises(ValueError, match="d_ff=-1 must be at least 1"):
        GatedFeedForward(4, -1)
    with pytest.raises(ValueError, match=r"dropout_p=1.0 must be in \[0, 1\)"):
        GatedFeedForward(4, 4, dropout_p=1.0)
    with pytest.raises(ValueError, match="d_ff=0 must be at least 1"):
        gated_width(0)
    with pytest.raises(ValueError, match="multiple_of=0 must be at least 1"):
        gated_width(4, multiple_of=0)
