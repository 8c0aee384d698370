"""A feed-forward layer applied to a few positions at a time, to bound memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tfbook.checks import require, require_positive


class ChunkedFeedForward(nn.Module):
    r"""Apply a feed-forward layer to ``chunk`` positions at a time.

    .. math:: y_{i:i+c} = \operatorname{FFN}(x_{i:i+c})

    Positions do not interact in it, so the result is the same. The inner features, ``d_ff``
    numbers a position, exist for one chunk at a time. Autograd would keep those of all chunks
    until the backward pass and save nothing; so with gradients on they are computed once more
    there, chunk by chunk. That costs one more forward pass.

    Args:
        feed_forward: maps ``(batch, n, d_model)`` to the same shape, each position alone.
        chunk: positions at a time.
        recompute: with gradients on, compute inner features again instead of keeping them.

    Raises:
        ValueError: ``chunk`` is below one; in the call, ``x`` has no position axis.

    Example:
        >>> from tfbook.layers import FeedForward
        >>> ChunkedFeedForward(FeedForward(4, 16), 2)(torch.zeros(2, 5, 4)).shape
        torch.Size([2, 5, 4])

    Source: Kitaev et al. 2020, section 3. Chapter: 14.
    """

    def __init__(self, feed_forward: nn.Module, chunk: int, *, recompute: bool = True) -> None:
        super().__init__()
        require_positive("chunk", chunk)
        self.feed_forward, self.chunk, self.recompute = feed_forward, chunk, recompute

    def forward(self, x: Float[Tensor, "*batch n d_model"]) -> Float[Tensor, "*batch n d_model"]:
        """Transform each position of ``x``, shape ``(…, n, d_model)``, alone."""
        require(
            x.ndim >= 2,
            f"x has shape {tuple(x.shape)}, but chunks are cut from the positions of (…, n, "
            "d_model); add the axis with x[None]",
        )
        return torch.cat([self._transform(piece) for piece in x.split(self.chunk, dim=-2)], dim=-2)

    def _transform(self, piece: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self.feed_forward, piece, use_reentrant=False)
        return self.feed_forward(piece)
