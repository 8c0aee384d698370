from collections.abc import Callable

import pytest
import torch
from parity import close, randomized
from torch import Tensor, nn
from transformers import Gemma2Config, Olmo2Config
from transformers.models.gemma2.modeling_gemma2 import Gemma2DecoderLayer
from transformers.models.olmo2.modeling_olmo2 import Olmo2DecoderLayer

from tfbook.layers import BranchNorm, PostNorm, PreNorm, RMSNorm, SandwichNorm

Sublayer = Callable[[Tensor], Tensor]
D, D_FF = 30, 37
SIZES = dict(
    hidden_size=D,
    intermediate_size=D_FF,
    num_attention_heads=3,
    num_key_value_heads=3,
    head_dim=10,
    vocab_size=5,
    num_hidden_layers=1,
)
PLACEMENTS = [PreNorm, PostNorm, BranchNorm, SandwichNorm]


def residual(placement: type[nn.Module], dropout_p: float) -> nn.Module:
    norms = [nn.Identity()] * (2 if placement is SandwichNorm else 1)
    return placement(*norms, dropout_p=dropout_p)


class Halve(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


class Third(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 3


class Attention(nn.Module):
    """Stands where the oracle's attention does: the placement of the norms is what is tested."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(D, D)

    def forward(self, hidden_states: Tensor, **options: object) -> tuple[Tensor, None]:
        return self.linear(hidden_states), None


def test_worked_by_hand() -> None:
    x = torch.tensor([8.0])
    assert PreNorm(Halve())(x, lambda h: h + 1).item() == 8 + (4 + 1)
    assert PostNorm(Halve())(x, lambda h: h + 1).item() == (8 + 9) / 2
    assert BranchNorm(Halve())(x, lambda h: h + 1).item() == 8 + 9 / 2
    assert SandwichNorm(Halve(), Third())(x, lambda h: h + 2).item() == 8 + (4 + 2) / 3


def test_branch_norm_is_that_of_olmo_2() -> None:
    theirs = Olmo2DecoderLayer(Olmo2Config(**SIZES, rms_norm_eps=1e-6), layer_idx=0)
    theirs.self_attn = Attention()
    randomized(theirs)
    ours = [BranchNorm(RMSNorm(D)) for _ in range(2)]
    ours[0].norm.weight = theirs.post_attention_layernorm.weight
    ours[1].norm.weight = theirs.post_feedforward_layernorm.weight
    x = torch.randn(2, 5, D)
    y = ours[1](ours[0](x, theirs.self_attn.linear), theirs.mlp)
    close(y, theirs(x))


def test_sandwich_norm_is_that_of_gemma_2() -> None:
    theirs = Gemma2DecoderLayer(Gemma2Config(**SIZES, rms_norm_eps=1e-6), layer_idx=0)
    theirs.self_attn = Attention()
    randomized(theirs)
    ours = [SandwichNorm(RMSNorm(D), RMSNorm(D)) for _ in range(2)]
    names = [
        ("input_layernorm", "post_attention_layernorm"),
        ("pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ]
    for our, (before, after) in zip(ours, names, strict=True):
        # Gemma's gains are stored as their difference from 1.
        our.norm.weight.data = 1 + getattr(theirs, before).weight.data
        our.branch_norm.weight.data = 1 + getattr(theirs, after).weight.data
    x = torch.randn(2, 5, D)
    y = ours[1](ours[0](x, theirs.self_attn.linear), theirs.mlp)
    close(y, theirs(x))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_dropout_falls_on_what_is_added(placement: type[nn.Module]) -> None:
    x = torch.ones(1, 400, 5)
    joined = residual(placement, 0.5)
    y = joined(x, torch.ones_like)
    assert set(y.unique().tolist()) == {1.0, 3.0}
    assert (joined.eval()(x, torch.ones_like) == 2).all()


def test_dropout_comes_after_the_norm_of_a_branch() -> None:
    """Before it, the norm would undo the scaling and see the zeros."""
    x = torch.zeros(1, 400, 5)
    for joined in (
        BranchNorm(RMSNorm(5), dropout_p=0.5),
        SandwichNorm(nn.Identity(), RMSNorm(5), dropout_p=0.5),
    ):
        y = joined(x, torch.ones_like)
        assert y.unique().round(decimals=4).tolist() == [0.0, 2.0]


@pytest.mark.parametrize("depth", [3, 11])
def test_how_the_stream_grows(depth: int) -> None:
    """Branches of one size bound a stream; without a norm behind the sublayer nothing does."""
    weight = 3 * torch.randn(D, D)
    sizes = {}
    for placement in (PreNorm, BranchNorm, PostNorm):
        x = torch.randn(2, 5, D)
        for _ in range(depth):
            x = placement(RMSNorm(D))(x, lambda h: h @ weight)
        sizes[placement] = x.square().mean().sqrt().item()
    assert sizes[PostNorm] == pytest.approx(1.0, abs=1e-3)
    assert sizes[BranchNorm] <= depth + 1.5
    assert sizes[PreNorm] > 3 * sizes[BranchNorm]


@pytest.mark.parametrize("placement", [PreNorm, PostNorm, BranchNorm, SandwichNorm])
def test_bad_probability(placement: type[nn.Module]) -> None:
    assert placement in (PreNorm, PostNorm, BranchNorm, SandwichNorm)
    with pytest.raises(ValueError, match=r"dropout_p=1.0 must be in \[0, 1\)"):
        residual(placement, 1.0)
