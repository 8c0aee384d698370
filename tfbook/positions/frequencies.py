"""Angles of positions: what sinusoidal and rotary encodings share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import require, require_positive


def frequencies(
    d: int,
    *,
    base: float = 10_000.0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Float[Tensor, "pairs"]:
    r"""Give the frequency of every pair of features, a geometric series from 1 downwards.

    .. math:: \omega_i = base^{-2i/d}

    Args:
        d: features, even: two share a frequency.
        base: the longest wavelength is ``2π·base`` tokens (nearly).
        dtype: of the result.
        device: where it is made.

    Returns:
        Shape ``(d/2,)``, radians per token.

    Raises:
        ValueError: ``d`` is below one or odd, or ``base`` is not above 1.

    Source: Vaswani et al. 2017, section 3.5. Chapter: 11.
    """
    require_positive("d", d)
    require(d % 2 == 0, f"d={d} must be even: two features share a frequency; use {d + 1}")
    require(base > 1, f"base={base} must be above 1; the usual is 10000")
    exponent = torch.arange(0, d, 2, dtype=dtype, device=device) / d
    return base**-exponent


def angle_dtype(device: torch.device) -> torch.dtype:
    """Give the widest float of a device. At position 100,000 float32 is off by 0.004 radians.

    Args:
        device: where the angles are computed.

    Returns:
        float64; float32 on MPS, which has no wider one.
    """
    return torch.float32 if device.type == "mps" else torch.float64


def require_positions(positions: Int[Tensor, "..."], batch: int, n: int) -> None:
    """Raise unless there is one integer position for every token.

    Args:
        positions: position indices.
        batch: sequences.
        n: tokens.

    Raises:
        ValueError: another shape than ``(n,)``, ``(1, n)`` or ``(batch, n)``, or no integers.
    """
    # A single position would broadcast: every token would get the same one.
    require(
        positions.shape in ((n,), (1, n), (batch, n))
        and positions.dtype in (torch.int32, torch.int64),
        f"positions has shape {tuple(positions.shape)} and dtype {positions.dtype}, but must be "
        f"integers of shape ({n},) or {(batch, n)}; give one for every token",
    )
