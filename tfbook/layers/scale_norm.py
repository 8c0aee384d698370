"""Normalisation of each token to one learned length."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tfbook.checks import require, require_positive


class ScaleNorm(nn.Module):
    r"""Bring every token's vector to the same length, one learned number.

    .. math:: y = g \, \frac{x}{\lVert x \rVert_2}, \qquad g = \sqrt{d_{model}} \text{ at first}

    This is :class:`RMSNorm` with one gain for all features, :math:`g/\sqrt{d_{model}}`: a layer
    has one parameter instead of ``d_model``. Some libraries learn that quotient, which starts
    at 1; their :math:`g` gets a gradient that is √d_model times as large.

    Args:
        d_model: width.
        eps: shortest length that is divided by, so that a zero vector stays zero.

    Raises:
        ValueError: ``d_model`` is below one, or ``eps`` is not positive; in the call, ``x`` has
            another width.

    Example:
        >>> with torch.no_grad():
        ...     ScaleNorm(4)(torch.tensor([0.0, 3.0, 0.0, 4.0]))
        tensor([0.0000, 1.2000, 0.0000, 1.6000])

    Source: Nguyen and Salazar 2019, section 2.3. Chapter: 13.
    """

    def __init__(self, d_model: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        require_positive("d_model", d_model)
        require(eps > 0, f"eps={eps} must be above 0: a zero vector has no direction; try 1e-5")
        self.d_model, self.eps = d_model, eps
        # One axis, not none: sharded training (FSDP) refuses parameters without an axis.
        self.weight = nn.Parameter(torch.full((1,), math.sqrt(d_model)))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Scale the last axis of ``x`` to length ``g``."""
        require(
            x.shape[-1:] == (self.d_model,),
            f"x has shape {tuple(x.shape)}, but this norm was made for d_model={self.d_model}; "
            "normalise the feature axis, and put it last",
        )
        wide = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide).clamp_min(self.eps)
        return (x * (self.weight / length)).to(x.dtype)
