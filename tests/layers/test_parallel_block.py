from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hugging_face import copy_gptj, copy_neox
from parity import close, randomized
from torch import Tensor, nn
from transformers import GPTJConfig, GPTNeoXConfig
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXLayer, GPTNeoXRotaryEmbedding
from transformers.models.gptj.modeling_gptj import GPTJBlock

from tfbook.attention import KVCache, MultiHeadAttention, causal_mask, padding_mask
from tfbook.layers import FeedForward, LayerNorm, ParallelBlock
from tfbook.models import Decoder
from tfbook.positions import RotaryEmbedding

# Batch 2, length 5, heads 3 of width 11, of which 4 features are turned, inner width 37.
B, N, H, D_HEAD, D_ROTARY, D, D_FF = 2, 5, 3, 11, 4, 33, 37


def block(
    *, norms: int, layout: str = "halves", bias: bool = True, dropout_p: float = 0.0
) -> ParallelBlock:
    return ParallelBlock(
        attention=MultiHeadAttention(
            D,
            H,
            bias=bias,
            rotate=RotaryEmbedding(D_HEAD, d_rotary=D_ROTARY, layout=layout),
        ),
        feed_forward=FeedForward(D, D_FF, activation=partial(F.gelu, approximate="tanh")),
        norm=LayerNorm(D),
        feed_forward_norm=LayerNorm(D) if norms == 2 else None,
        dropout_p=dropout_p,
    )


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Ours as theirs: 0 where a query may attend, a large negative number elsewhere."""
    blocked = torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
    return blocked.expand(B, 1, N, N)


def gptj() -> tuple[ParallelBlock, GPTJBlock]:
    ours = randomized(block(norms=1, layout="interleaved", bias=False))
    config = GPTJConfig(
        n_embd=D, n_head=H, n_inner=D_FF, rotary_dim=D_ROTARY, n_positions=16,
        resid_pdrop=0.0, attn_pdrop=0.0, embd_pdrop=0.0, activation_function="gelu_new",
        attn_implementation="eager",
    )  # fmt: skip
    theirs = GPTJBlock(config, layer_idx=0).eval()
    copy_gptj(ours, theirs)
    return ours, theirs


def neox() -> tuple[ParallelBlock, GPTNeoXLayer, GPTNeoXRotaryEmbedding]:
    ours = randomized(block(norms=2))
    # 4/11 of a head, written so that the product rounds down to 4.
    rope = dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=4.001 / 11)
    config = GPTNeoXConfig(
        hidden_size=D, num_attention_heads=H, intermediate_size=D_FF, rope_parameters=rope,
        hidden_act="gelu_new", attention_dropout=0.0, hidden_dropout=0.0,
        use_parallel_residual=True, attn_implementation="eager",
    )  # fmt: skip
    theirs = GPTNeoXLayer(config, layer_idx=0).eval()
    copy_neox(ours, theirs)
    return ours, theirs, GPTNeoXRotaryEmbedding(config)


@pytest.mark.parametrize("start", [0, 7])
def test_one_norm_equals_gpt_j(start: int) -> None:
    ours, theirs = gptj()
    x, positions = torch.randn(B, N, D), torch.arange(start, start + N)
    mask = causal_mask(N) & padding_mask(torch.tensor([4, 5]), N)
    expected = theirs(
        x, attention_mask=additive(mask, x.dtype), position_ids=positions.expand(B, N)
    )[0]
    padding = padding_mask(torch.tensor([4, 5]), N)
    close(ours(x, mask=padding, causal=True, positions=positions), expected)


@pytest.mark.parametrize("start", [0, 7])
def test_two_norms_equal_gpt_neox(start: int) -> None:
    ours, theirs, rotary = neox()
    x, positions = torch.randn(B, N, D), torch.arange(start, start + N)
    mask = causal_mask(N) & padding_mask(torch.tensor([4, 5]), N)
    expected = theirs(
        x,
        attention_mask=additive(mask, x.dtype),
        position_embeddings=rotary(x, positions.expand(B, N)),
    )
    padding = padding_mask(torch.tensor([4, 5]), N)
    close(ours(x, mask=padding, causal=True, positions=positions), expected)


def test_worked_by_hand() -> None:
    class Times(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor, **options: object) -> Tensor:
            return self.factor * x

    parts = dict(attention=Times(3), feed_forward=Times(5), norm=Times(10))
    x = torch.full((1, 1, 1), 2.0)
    # 2 + 3·20 + 5·20, and with a norm of its own 2 + 3·20 + 5·200.
    assert ParallelBlock(**parts)(x).item() == 162
    assert ParallelBlock(**parts, feed_forward_norm=Times(100))(x).item() == 1062


def test_one_norm_is_shared() -> None:
    one, two = block(norms=1), block(norms=2)
    count = [sum(p.numel() for p in ours.parameters()) for ours in (one, two)]
    assert count[1] - count[0] == 2 * D


@pytest.mark.parametrize("norms", [1, 2])
def test_the_future_does_not_leak(norms: int) -> None:
    ours = randomized(block(norms=norms))
    x = torch.randn(1, N, D, requires_grad=True)
    for t in range(N):
        (gradient,) = torch.autograd.grad(ours(x, causal=True)[0, t].sin().sum(), x)
        assert (gradient[0].abs().sum(dim=-1) > 0).tolist() == [i <= t for i in range(N)]


def test_a_decoder_of_parallel_blocks_continues_from_its_cache() -> None:
    ours = Decoder([block(norms=1), block(norms=2)], final_norm=LayerNorm(D))
    ours = randomized(ours, torch.float64)
    assert all(b.cross_attention is None for b in ours.blocks)
    x = torch.randn(B, N, D, dtype=torch.float64)
    sizes = dict(batch=B, n_kv_heads=H, max_length=N, d_head=D_HEAD)
    cache = KVCache(n_layers=2, dtype=torch.float64, **sizes)
    outputs, start = [], 0
    for piece in x.split([2, 1, 2], dim=1):
        positions = torch.arange(start, start + piece.shape[1])
        outputs.append(ours(piece, positions=positions, cache=cache))
        start += piece.shape[1]
    close(torch.cat(outputs, dim=1), ours(x, positions=torch.arange(N)))


def test_dropout_falls_on_each_branch() -> None:
    class Ones(nn.Module):
        def forward(self, x: Tensor, **options: object) -> Tensor:
            return torch.ones_like(x)

    ours = ParallelBlock(attention=Ones(), feed_forward=Ones(), norm=nn.Identity(), dropout_p=0.5)
    x = torch.zeros(1, 400, D)
    # Neither, one, or both, each scaled to 2.
    assert set(ours(x).unique().tolist()) == {0.0, 2.0, 4.0}
    assert (ours.eval()(x) == 2).all()


def test_bfloat16() -> None:
    ours = randomized(block(norms=1))
    x = torch.randn(B, N, D)
    expected = ours(x)
    y = ours.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).abs().max() < 0.15


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"dropout_p=1.0 must be in \[0, 1\)"):
        block(norms=1, dropout_p=1.0)
    with pytest.raises(ValueError, match="context is given, but a parallel block has no cross-"):
        block(norms=1)(torch.zeros(B, N, D), torch.zeros(B, N, D))
    assert ParallelBlock.cross_attention is None
