"""A feed-forward layer whose matrices are products of two thin ones."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tfbook.checks import require, require_positive, require_probability
from tfbook.layers.feed_forward import Activation


class LowRankFeedForward(nn.Module):
    r"""Widen, bend, narrow, through a bottleneck of ``rank`` features on either side.

    .. math:: \operatorname{FFN}(x) = \phi(x A_{up} B_{up} + b_{up})\, A_{down} B_{down} + b_{down}

    A matrix of :math:`d_{model} d_{ff}` weights becomes two of together
    :math:`r\,(d_{model} + d_{ff})`: fewer as long as :math:`r < d_{model} d_{ff} / (d_{model} +
    d_{ff})`, which is 0.8 · d_model at the usual ``d_ff = 4 · d_model``.

    Args:
        d_model: width of input and output.
        d_ff: inner width.
        rank: :math:`r`, width of both bottlenecks.
        activation: :math:`\phi`, elementwise.
        dropout_p: probability of dropping an inner feature in training.
        bias: whether the two products add a bias.

    Raises:
        ValueError: a width below one, a rank above the smaller width, or a probability outside
            ``[0, 1)``.

    Example:
        >>> import torch
        >>> LowRankFeedForward(4, 16, 2)(torch.zeros(2, 3, 4)).shape
        torch.Size([2, 3, 4])

    Source: Winata et al. 2020, section 2. Chapter: 14.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        rank: int,
        *,
        activation: Activation = F.relu,
        dropout_p: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        require_positive("d_model", d_model)
        require_positive("d_ff", d_ff)
        require_positive("rank", rank)
        require(
            rank <= min(d_model, d_ff),
            f"rank={rank} must be at most {min(d_model, d_ff)}, the smaller of d_model={d_model} "
            f"and d_ff={d_ff}: no product has a higher rank; use FeedForward for full rank",
        )
        require_probability("dropout_p", dropout_p)
        self.activation, self.dropout_p = activation, dropout_p
        self.w_up = _thin(d_model, rank, d_ff, bias=bias)
        self.w_down = _thin(d_ff, rank, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Transform each position of ``x``, shape ``(…, d_model)``, alone."""
        inner = self.activation(self.w_up(x))
        if self.training and self.dropout_p:
            inner = F.dropout(inner, self.dropout_p)
        return self.w_down(inner)


def _thin(d_in: int, rank: int, d_out: int, *, bias: bool) -> nn.Sequential:
    # A bias between the two would only add to the one after them.
    return nn.Sequential(nn.Linear(d_in, rank, bias=False), nn.Linear(rank, d_out, bias=bias))
