"""The block whose attention and feed-forward read the same input."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention.cache import ContextCache, LayerCache
from tfbook.checks import require, require_probability


class ParallelBlock(nn.Module):
    r"""One layer in which attention and feed-forward work side by side.

    .. math:: y = x + \operatorname{attention}(\operatorname{norm}_1(x))
              + \operatorname{feed\_forward}(\operatorname{norm}_2(x))

    In :class:`Block` the feed-forward layer reads what attention has written; here both read
    ``x``. Their first matrices can then be multiplied as one, and with the work split over
    devices one exchange a layer is enough. GPT-J and PaLM use one norm for both, GPT-NeoX two.

    Args:
        attention: self-attention, called as ``MultiHeadAttention``.
        feed_forward: maps ``(batch, n, d_model)`` to the same shape.
        norm: of what attention reads.
        feed_forward_norm: of what the feed-forward layer reads; None means that it reads what
            attention does.
        dropout_p: probability of dropping a feature of either's output in training.

    Attributes:
        cross_attention: None: a parallel block reads no context.

    Raises:
        ValueError: a probability outside ``[0, 1)``; in the call, a context.

    Example:
        >>> import torch
        >>> from tfbook.attention import MultiHeadAttention
        >>> from tfbook.layers import FeedForward, LayerNorm
        >>> block = ParallelBlock(
        ...     attention=MultiHeadAttention(8, 2),
        ...     feed_forward=FeedForward(8, 32),
        ...     norm=LayerNorm(8),
        ... )
        >>> block(torch.zeros(2, 5, 8), causal=True).shape
        torch.Size([2, 5, 8])

    Source: Wang and Komatsuzaki 2021 (GPT-J); Chowdhery et al. 2022, section 2 (PaLM); Black et
    al. 2022, section 2.1.2 (GPT-NeoX). Chapter: 15.
    """

    cross_attention = None

    def __init__(
        self,
        *,
        attention: nn.Module,
        feed_forward: nn.Module,
        norm: nn.Module,
        feed_forward_norm: nn.Module | None = None,
        dropout_p: float = 0.0,
    ) -> None:
        super().__init__()
        require_probability("dropout_p", dropout_p)
        self.attention, self.feed_forward = attention, feed_forward
        self.norm, self.feed_forward_norm = norm, feed_forward_norm
        self.dropout_p = dropout_p

    def forward(
        self,
        x: Float[Tensor, "batch n d_model"],
        context: Float[Tensor, "batch n_c d_context"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        bias: Float[Tensor, "..."] | None = None,
        positions: Int[Tensor, "..."] | None = None,
        cache: LayerCache | None = None,
        context_mask: Bool[Tensor, "..."] | None = None,
        context_cache: ContextCache | None = None,
    ) -> Float[Tensor, "batch n d_model"]:
        """Transform the residual stream; the call is that of :class:`Block`.

        Args:
            x: the stream, ``(batch, n, d_model)``.
            context: must be None.
            mask: True where a query may attend.
            causal: hide later positions.
            bias: added to the scores, in nats.
            positions: of the tokens of ``x``.
            cache: earlier keys and values.
            context_mask: unused, as there is no context.
            context_cache: unused, as there is no context.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: a context is given.
        """
        require(
            context is None,
            "context is given, but a parallel block has no cross-attention to read it; use Block "
            "where there is a context",
        )
        h = self.norm(x)
        attended = self.attention(
            h, mask=mask, causal=causal, bias=bias, positions=positions, cache=cache
        )
        transformed = self.feed_forward(
            h if self.feed_forward_norm is None else self.feed_forward_norm(x)
        )
        return x + self._dropped(attended) + self._dropped(transformed)

    def _dropped(self, branch: Tensor) -> Tensor:
        return F.dropout(branch, self.dropout_p, self.training)
