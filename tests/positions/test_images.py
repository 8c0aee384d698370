from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from parity import FLOATS, close
from torch import Tensor
from transformers import DINOv3ViTConfig
from transformers.models.detr.modeling_detr import DetrSinePositionEmbedding
from transformers.models.dinov3_vit import modeling_dinov3_vit as dino
from transformers.models.qwen2_vl import modeling_qwen2_vl as qwen
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from tfbook.attention import MultiHeadAttention
from tfbook.positions import (
    AxialRotaryEmbedding,
    apply_rotary_complex,
    grid_positions,
    sinusoidal_table,
    sinusoidal_table_2d,
)


def test_rows_then_columns() -> None:
    grid = grid_positions(2, 3)
    assert grid.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert grid.dtype == torch.int64


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_table_patch_by_patch(dtype: torch.dtype) -> None:
    side = sinusoidal_table(7, 10, dtype=dtype)
    table = sinusoidal_table_2d(5, 7, 20, dtype=dtype)
    for patch, (row, column) in enumerate(grid_positions(5, 7).tolist()):
        assert table[patch].equal(torch.cat([side[row], side[column]]))


def test_detr() -> None:
    """It counts from 1."""
    theirs = DetrSinePositionEmbedding(num_position_features=10)
    expected = theirs(torch.Size([1, 3, 5, 7]), "cpu", torch.float32)
    ours = sinusoidal_table_2d(6, 8, 20).unflatten(0, (6, 8))[1:, 1:]
    close(ours.cpu(), expected[0].permute(1, 2, 0))


def test_mae_has_the_same_columns_in_another_order() -> None:
    """In each half all sines come first."""
    expected = build_2d_sinusoidal_position_embedding(5, 7, 20)
    row, column = sinusoidal_table_2d(5, 7, 20).cpu().chunk(2, dim=1)
    close(torch.cat([half[:, i::2] for half in (row, column) for i in (0, 1)], dim=1), expected)


def test_qwen2_vl() -> None:
    config = Qwen2VLVisionConfig(embed_dim=60, num_heads=3)
    grid = grid_positions(5, 7)
    q, k = torch.randn(2, 1, 35, 3, 20)  # by token, then by head
    cos, sin = qwen.Qwen2VLVisionRotaryEmbedding(config)(q, grid.T[None])
    expected = qwen.apply_rotary_pos_emb_vision(q, k, cos, sin)
    ours = AxialRotaryEmbedding(20)
    close(ours(q.transpose(1, 2), grid).transpose(1, 2), expected[0])
    close(ours(k.transpose(1, 2), grid).transpose(1, 2), expected[1])


def test_dino_takes_real_coordinates() -> None:
    config = DINOv3ViTConfig(hidden_size=60, num_attention_heads=3, image_size=112, patch_size=16)
    theirs = dino.DINOv3ViTRopePositionEmbedding(config).eval()
    q, k = torch.randn(2, 1, 3, 35, 20)
    cos, sin = theirs(torch.zeros(1, 3, 80, 112))
    expected, _ = dino.apply_rotary_pos_emb(q, k, cos, sin)
    centres = (grid_positions(5, 7) + 0.5) / torch.tensor([5, 7])
    positions = 2 * math.pi * (2 * centres - 1)
    close(AxialRotaryEmbedding(20, base=config.rope_theta)(q, positions), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["halves", "interleaved"])
def test_half_of_the_pairs_for_each_side(layout: str, dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 35, 12, dtype=dtype)
    grid = grid_positions(5, 7)
    omega = 10_000.0 ** (-torch.arange(0, 6, 2).double() / 6)
    row, column = grid.double().split(1, dim=1)
    angles = torch.cat([row * omega, column * omega], dim=1)
    ours = AxialRotaryEmbedding(12, layout=layout)
    close(ours(x, grid), apply_rotary_complex(x, angles, layout=layout))
    each = torch.stack([grid, grid.flip(0)])
    flipped = apply_rotary_complex(x[1:], angles.flip(0), layout=layout)
    close(ours(x, each)[1:], flipped)
    still = ours(x, torch.zeros_like(grid))
    assert still.equal(x)


def test_scores_depend_on_the_two_offsets_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 12, dtype=torch.float64)
    rotary = AxialRotaryEmbedding(12)

    def score(query: tuple[int, int], key: tuple[int, int]) -> Tensor:
        return (rotary(q, torch.tensor([query])) * rotary(k, torch.tensor([key]))).sum()

    torch.testing.assert_close(score((3, 5), (1, 9)), score((13, 105), (11, 109)))
    assert (score((3, 5), (1, 9)) - score((5, 3), (9, 1))).abs() > 1e-3
    assert (score((3, 5), (1, 9)) - score((3, 5), (1, 8))).abs() > 1e-3


def test_it_is_a_rotate_of_multi_head_attention() -> None:
    mha = MultiHeadAttention(24, 2, rotate=AxialRotaryEmbedding(12)).double()
    x = torch.randn(1, 35, 24, dtype=torch.float64)
    grid = grid_positions(5, 7)
    shuffled = torch.randperm(35)
    y = mha(x, positions=grid)
    close(mha(x[:, shuffled], positions=grid[shuffled]), y[:, shuffled])
    close(mha(x, positions=grid + torch.tensor([30, 70])), y)
    assert (mha(x, positions=grid.flip(1)) - y).abs().max() > 1e-3


def test_far_patches_stay_exact_in_bfloat16() -> None:
    x = torch.randn(1, 2, 1, 8).bfloat16()
    far = torch.tensor([[100_000, 257]])
    rotary = AxialRotaryEmbedding(8).bfloat16()
    expected = rotary(x.double(), far)
    assert rotary(x, far).dtype == torch.bfloat16
    assert (rotary(x, far).double() - expected).abs().max() < 3 * 2**-8 * x.abs().max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grid_positions(0, 3), "height=0 must be at least 1"),
        (lambda: sinusoidal_table_2d(0, 3, 8), "height=0 must be at least 1"),
        (lambda: sinusoidal_table_2d(3, 0, 8), "width=0 must be at least 1"),
        (lambda: sinusoidal_table_2d(3, 3, 10), "d_model=10 must be divisible by 4: .* use 12"),
        (lambda: AxialRotaryEmbedding(10), "d_head=10 must be divisible by 4: two .* use 12"),
        (lambda: AxialRotaryEmbedding(8, base=1.0), "base=1.0 must be above 1"),
        (lambda: AxialRotaryEmbedding(8, layout="x"), "layout='x' is unknown; use 'halves'"),
    ],
)
def test_bad_sizes(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("width", "positions", "message"),
    [
        (12, grid_positions(2, 3), r"x has shape \(2, 3, 6, 12\), but these .* d_head=8\)"),
        (8, None, r"positions=None must be rows and columns of shape \(6, 2\) or \(2, 6, 2\)"),
        (8, torch.arange(6), r"positions=\(6,\), torch.int64 must be rows and columns"),
        (8, grid_positions(1, 1), r"positions=\(1, 2\), torch.int64 must be rows and columns"),
        (8, torch.zeros(6, 2).bfloat16(), "integers or float32 or wider; give grid_positions"),
    ],
)
def test_bad_calls(width: int, positions: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AxialRotaryEmbedding(8)(torch.zeros(2, 3, 6, width), positions)
