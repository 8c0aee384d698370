"""Offsets between queries and keys, and what is computed at them."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import require
from tfbook.positions.frequencies import angle_dtype, frequencies


def relative_offsets(
    positions_q: Int[Tensor, "*batch_q n_q"], positions_k: Int[Tensor, "*batch_k n_k"]
) -> Int[Tensor, "*batch n_q n_k"]:
    r"""Give how far each key lies after each query: :math:`o_{ij} = t_j - t_i`.

    Args:
        positions_q: of the queries, ``(n_q,)`` or ``(batch, n_q)``, tokens.
        positions_k: of the keys, ``(n_k,)`` or ``(batch, n_k)``, tokens.

    Returns:
        Shape ``(n_q, n_k)`` or ``(batch, n_q, n_k)``, tokens; negative for earlier keys.

    Raises:
        ValueError: positions that are not integers, or whose shapes do not fit.

    Example:
        >>> relative_offsets(torch.tensor([2]), torch.arange(4))
        tensor([[-2, -1,  0,  1]])

    Source: Shaw et al. 2018, section 3.2. Chapter: 12.
    """
    require_position_pair(positions_q, positions_k)
    return positions_k[..., None, :] - positions_q[..., :, None]


def sinusoidal_codes(
    positions: Int[Tensor, "*batch n"], d_model: int, *, dtype: torch.dtype
) -> Float[Tensor, "*batch n d_model"]:
    """Give the rows of :func:`tfbook.positions.sinusoidal_table` at any positions.

    Args:
        positions: ``(…, n)``, tokens; they may be negative.
        d_model: width, even.
        dtype: of the result. The angles are computed in the widest float of the device.

    Returns:
        Shape ``(…, n, d_model)``.

    Raises:
        ValueError: ``d_model`` is below one or odd.

    Example:
        >>> sinusoidal_codes(torch.tensor([-1]), 4, dtype=torch.float32).round(decimals=2)
        tensor([[-0.8400,  0.5400, -0.0100,  1.0000]])

    Source: Vaswani et al. 2017, section 3.5. Chapter: 11.
    """
    wide = angle_dtype(positions.device)
    rates = frequencies(d_model, dtype=wide, device=positions.device)
    angles = positions[..., None].to(wide) * rates
    pairs = torch.stack([angles.sin(), angles.cos()], dim=-1)
    return rearrange(pairs, "... i two -> ... (i two)").to(dtype)


def require_position_pair(positions_q: Tensor, positions_k: Tensor) -> None:
    """Raise unless the two are positions of the same sequences.

    Args:
        positions_q: of the queries, ``(n_q,)`` or ``(batch, n_q)``, tokens.
        positions_k: of the keys, ``(n_k,)`` or ``(batch, n_k)``, tokens.

    Raises:
        ValueError: positions that are not integers, or whose shapes do not fit.

    Example:
        >>> require_position_pair(torch.arange(3), torch.arange(5))
    """
    for name, positions in {"positions_q": positions_q, "positions_k": positions_k}.items():
        require(
            positions.ndim in (1, 2) and positions.dtype in (torch.int32, torch.int64),
            f"{name} has shape {tuple(positions.shape)} and dtype {positions.dtype}, but must be "
            "integers of shape (n,) or (batch, n); give one for every token",
        )
    batches = {positions.shape[0] for positions in (positions_q, positions_k) if positions.ndim > 1}
    require(
        len(batches - {1}) < 2,
        f"positions_q has shape {tuple(positions_q.shape)} and positions_k "
        f"{tuple(positions_k.shape)}; give both for the same sequences",
    )
