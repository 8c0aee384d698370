"""Positions in two dimensions: rows and columns of an image's patches."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from tfbook.checks import require, require_choice, require_positive
from tfbook.positions.absolute import sinusoidal_table
from tfbook.positions.frequencies import angle_dtype, frequencies
from tfbook.positions.rotary import PAIRS, apply_rotary


def grid_positions(
    height: int, width: int, *, device: torch.device | str | None = None
) -> Int[Tensor, "n 2"]:
    """Give row and column of every patch, row by row.

    Args:
        height: rows, patches.
        width: columns, patches.
        device: where they are made.

    Returns:
        Shape ``(height·width, 2)``: row, column.

    Raises:
        ValueError: a side below one.

    Example:
        >>> grid_positions(2, 2).tolist()
        [[0, 0], [0, 1], [1, 0], [1, 1]]

    Source: Dosovitskiy et al. 2021, section 3.1 (patches in raster order). Chapter: 12.
    """
    require_positive("height", height)
    require_positive("width", width)
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return torch.cartesian_prod(rows, columns)


def sinusoidal_table_2d(
    height: int,
    width: int,
    d_model: int,
    *,
    base: float = 10_000.0,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "n d_model"]:
    r"""Give sines and cosines of the row in one half of the features, of the column in the other.

    .. math:: P_{(r,c)} = [\,S_r;\; S_c\,]

    with :math:`S` the :func:`~tfbook.positions.sinusoidal_table` of width ``d_model/2``. This
    is DETR's order; DETR counts rows and columns from 1. In MAE the sines of a half come
    before its cosines, and in its authors' code the column before the row.

    Args:
        height: rows, patches.
        width: columns, patches.
        d_model: width, divisible by 4.
        base: the longest wavelength is ``2π·base`` patches (nearly).
        dtype: of the table; None means PyTorch's default.

    Returns:
        Shape ``(height·width, d_model)``, row by row.

    Raises:
        ValueError: a side below one.
        ValueError: ``d_model`` is not divisible by 4.

    Example:
        >>> sinusoidal_table_2d(1, 2, 4).round(decimals=2)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.0000, 1.0000, 0.8400, 0.5400]])

    Source: Carion et al. 2020, DETR, appendix; He et al. 2022, MAE, section 3. Chapter: 12.
    """
    require_positive("height", height)
    require_positive("width", width)
    _require_fours("d_model", d_model)
    rows = sinusoidal_table(height, d_model // 2, base=base, dtype=dtype)
    columns = sinusoidal_table(width, d_model // 2, base=base, dtype=dtype)
    halves = [
        repeat(rows, "height d -> (height width) d", width=width),
        repeat(columns, "width d -> (height width) d", height=height),
    ]
    return torch.cat(halves, dim=-1)


class AxialRotaryEmbedding(nn.Module):
    r"""Turn half of the pairs of features by the row, and half by the column.

    .. math:: \theta_{(r,c)} = [\,r\,\omega;\; c\,\omega\,], \qquad \omega_i = base^{-4i/d_{head}}

    A score then depends on the two offsets alone. It is the ``rotate`` of
    ``MultiHeadAttention``, with positions of two numbers. Real coordinates do as well: DINOv3
    takes ``2π`` times coordinates in [-1, 1], with base 100.

    Args:
        d_head: width of a head, divisible by 4.
        base: the longest wavelength is ``2π·base`` patches (nearly).
        layout: ``halves`` or ``interleaved``; see :func:`~tfbook.positions.apply_rotary`.

    Raises:
        ValueError: ``d_head`` is not divisible by 4.
        ValueError: a base that is not above 1, or an unknown layout.
        ValueError: in the call, ``x`` of another width, or positions that are missing or of
            another shape or dtype.

    Example:
        >>> rotary = AxialRotaryEmbedding(8)
        >>> rotary(torch.zeros(1, 3, 6, 8), grid_positions(2, 3)).shape
        torch.Size([1, 3, 6, 8])

    Source: Heo et al. 2024, RoPE-ViT, the axial variant; Wang et al. 2024, Qwen2-VL (the
    vision encoder); Siméoni et al. 2025, DINOv3. Chapter: 12.
    """

    def __init__(self, d_head: int, *, base: float = 10_000.0, layout: str = "halves") -> None:
        super().__init__()
        _require_fours("d_head", d_head)
        require(base > 1, f"base={base} must be above 1; the usual is 10000")
        require_choice("layout", layout, PAIRS)
        self.d_head, self.base, self.layout = d_head, base, layout

    def angles(self, positions: Num[Tensor, "*batch n 2"]) -> Float[Tensor, "*batch n pairs"]:
        """Give the angle of every pair at every position.

        Args:
            positions: row and column, ``(n, 2)`` or ``(batch, n, 2)``.

        Returns:
            Shape ``(n, d_head/2)`` or ``(batch, n, d_head/2)``, radians; the row's first.
        """
        t = positions.to(angle_dtype(positions.device))
        omega = frequencies(self.d_head // 2, base=self.base, dtype=t.dtype, device=t.device)
        return rearrange(t.unsqueeze(-1) * omega, "... n side i -> ... n (side i)")

    def forward(
        self,
        x: Float[Tensor, "batch heads n d_head"],
        positions: Num[Tensor, "*batch n 2"] | None = None,
    ) -> Float[Tensor, "batch heads n d_head"]:
        """Turn every patch of every head.

        Args:
            x: queries or keys, ``(batch, heads, n, d_head)``.
            positions: row and column, ``(n, 2)`` or ``(batch, n, 2)``, integers, or real
                numbers in float32 or wider. They are required: ``n`` patches do not tell the
                image's width.

        Returns:
            Shape and dtype of ``x``.

        Raises:
            ValueError: ``x`` of another width, or positions that are missing or of another
                shape or dtype.
        """
        require(
            x.ndim == 4 and x.shape[-1] == self.d_head,
            f"x has shape {tuple(x.shape)}, but these positions were made for (batch, heads, n, "
            f"d_head={self.d_head}); split the heads first",
        )
        return apply_rotary(x, self.angles(_checked(positions, x)), layout=self.layout)


def _checked(positions: Tensor | None, x: Tensor) -> Tensor:
    batch, n = x.shape[0], x.shape[2]
    wide = (torch.int32, torch.int64, torch.float32, torch.float64)
    if positions is None or not (
        positions.shape in ((n, 2), (1, n, 2), (batch, n, 2)) and positions.dtype in wide
    ):
        given = "None" if positions is None else f"{tuple(positions.shape)}, {positions.dtype}"
        raise ValueError(
            f"positions={given} must be rows and columns of shape ({n}, 2) or ({batch}, {n}, 2), "
            "integers or float32 or wider; give grid_positions(height, width)"
        )
    return positions


def _require_fours(name: str, value: int) -> None:
    require_positive(name, value)
    require(
        value % 4 == 0,
        f"{name}={value} must be divisible by 4: two axes, and two features to a frequency; use "
        f"{-(-value // 4) * 4}",
    )
