from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from parity import FLOATS, close, randomized
from torch import Tensor, nn
from transformers.activations import NewGELUActivation
from x_transformers.x_transformers import ReluSquared

from tfbook.layers import FeedForward, squared_relu


def test_worked_by_hand() -> None:
    layer = FeedForward(1, 2)
    layer.w_up.weight.data, layer.w_up.bias.data = torch.tensor([[1.0], [-1.0]]), torch.ones(2)
    layer.w_down.weight.data, layer.w_down.bias.data = torch.tensor([[2.0, 3.0]]), torch.ones(1)
    # x = 2: inner (3, -1) becomes (3, 0) and gives 2·3 + 1; x = -3: (-2, 4) gives 3·4 + 1.
    assert layer(torch.tensor([[2.0], [-3.0]])).tolist() == [[7.0], [13.0]]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [F.relu, F.gelu, F.silu, squared_relu])
def test_two_linear_layers(
    activation: Callable[[Tensor], Tensor], bias: bool, dtype: torch.dtype
) -> None:
    ours = randomized(FeedForward(7, 13, activation=activation, bias=bias), dtype)
    up, down = (nn.Linear(*sizes, bias=bias, dtype=dtype) for sizes in [(7, 13), (13, 7)])
    up.load_state_dict(ours.w_up.state_dict())
    down.load_state_dict(ours.w_down.state_dict())
    x = torch.randn(2, 3, 5, 7, dtype=dtype)
    close(ours(x), down(activation(up(x))))


def test_squared_relu() -> None:
    assert squared_relu(torch.tensor([-3.0, 0.0, 2.0])).tolist() == [0.0, 0.0, 4.0]
    x = torch.randn(2, 5, 7, dtype=torch.float64)
    close(squared_relu(x), ReluSquared()(x))
    assert squared_relu(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gelu_of_gpt_2_is_the_tanh_form(dtype: torch.dtype) -> None:
    ours = randomized(FeedForward(7, 13, activation=partial(F.gelu, approximate="tanh")), dtype)
    x = 2 * torch.randn(2, 5, 7, dtype=dtype)
    close(ours(x), ours.w_down(NewGELUActivation()(ours.w_up(x))))
    # The exact form is another function, if only a little.
    assert (ours(x) - ours.w_down(F.gelu(ours.w_up(x)))).abs().max() > 1e-4


def test_each_position_alone() -> None:
    layer = randomized(FeedForward(7, 13))
    x = torch.randn(2, 5, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, 3].sum(), x)
    others = gradient.clone()
    others[0, 3] = 0
    assert gradient[0, 3].abs().sum() > 0
    assert others.abs().sum() == 0


def test_dropout_acts_on_inner_features_in_training() -> None:
    layer = randomized(FeedForward(7, 13, dropout_p=0.5))
    x = torch.randn(5, 7)
    assert layer(x).equal(layer(x))
    layer.train()
    assert not layer(x).equal(layer(x))
    layer.w_down.weight.data.zero_()
    close(layer(x), layer.w_down.bias.expand(5, 7))


def test_bfloat16() -> None:
    layer = randomized(FeedForward(7, 13))
    x = torch.randn(5, 7)
    assert (layer.bfloat16()(x.bfloat16()).float() - layer.float()(x)).abs().max() < 0.1


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="d_model=0 must be at least 1"):
        FeedForward(0, 4)
    with pytest.raises(ValueError, match="d_ff=-1 must be at least 1"):
        FeedForward(4, -1)
    with pytest.raises(ValueError, match=r"dropout_p=1.0 must be in \[0, 1\)"):
        FeedForward(4, 4, dropout_p=1.0)
