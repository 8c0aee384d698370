"""The block: attention and feed-forward, each joined to the residual stream."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention.cache import ContextCache, LayerCache
from tfbook.checks import require


class Block(nn.Module):
    r"""One layer of an encoder or decoder: attention, perhaps cross-attention, feed-forward.

    .. math:: x &\leftarrow R_1(x,\ \operatorname{attention}) \\
              x &\leftarrow R_2(x,\ \operatorname{cross\_attention}(\cdot, C))
              \quad\text{(decoders that read a context)} \\
              x &\leftarrow R_3(x,\ \operatorname{feed\_forward})

    Each residual connection :math:`R` is a part of its own (:class:`PreNorm`,
    :class:`PostNorm` and others), so a placement of the norms is a choice of parts.

    Args:
        attention: self-attention, called as ``MultiHeadAttention``.
        attention_residual: joins its output to the stream.
        feed_forward: maps ``(batch, n, d_model)`` to the same shape.
        feed_forward_residual: joins its output to the stream.
        cross_attention: attention to a context; None for encoders and decoder-only models.
        cross_attention_residual: joins its output to the stream.

    Raises:
        ValueError: only one of the two cross-attention parts is given; in the call, a context
            is missing or superfluous.

    Example:
        >>> import torch
        >>> from tfbook.attention import MultiHeadAttention
        >>> from tfbook.layers import FeedForward, LayerNorm, PreNorm
        >>> block = Block(
        ...     attention=MultiHeadAttention(8, 2),
        ...     attention_residual=PreNorm(LayerNorm(8)),
        ...     feed_forward=FeedForward(8, 32),
        ...     feed_forward_residual=PreNorm(LayerNorm(8)),
        ... )
        >>> block(torch.zeros(2, 5, 8), causal=True).shape
        torch.Size([2, 5, 8])

    Source: Vaswani et al. 2017, section 3.1. Chapter: 15.
    """

    def __init__(
        self,
        *,
        attention: nn.Module,
        attention_residual: nn.Module,
        feed_forward: nn.Module,
        feed_forward_residual: nn.Module,
        cross_attention: nn.Module | None = None,
        cross_attention_residual: nn.Module | None = None,
    ) -> None:
        super().__init__()
        require(
            (cross_attention is None) == (cross_attention_residual is None),
            "cross_attention and cross_attention_residual belong together; give both or neither",
        )
        self.attention, self.attention_residual = attention, attention_residual
        self.cross_attention = cross_attention
        self.cross_attention_residual = cross_attention_residual
        self.feed_forward, self.feed_forward_residual = feed_forward, feed_forward_residual

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
        """Transform the residual stream.

        Args:
            x: the stream, ``(batch, n, d_model)``.
            context: what cross-attention reads, ``(batch, n_c, d_context)``.
            mask: of self-attention, True where a query may attend.
            causal: hide later positions from self-attention.
            bias: added to the scores of self-attention, in nats.
            positions: of the tokens of ``x``.
            cache: earlier keys and values of self-attention.
            context_mask: of cross-attention.
            context_cache: keys and values of the context.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: the context is missing, or the block has no cross-attention for it.
        """

        def attend(h: Tensor) -> Tensor:
            return self.attention(
                h, mask=mask, causal=causal, bias=bias, positions=positions, cache=cache
            )

        cross_attention = self.cross_attention
        require(
            (context is None) == (cross_attention is None),
            f"context is {'missing' if context is None else 'given'}, but the block has "
            f"cross_attention={'None' if cross_attention is None else 'a module'}; a block "
            "reads a context exactly when it has cross-attention",
        )
        x = self.attention_residual(x, attend)
        if cross_attention is not None and self.cross_attention_residual is not None:
            x = self.cross_attention_residual(
                x, lambda h: cross_attention(h, context, mask=context_mask, cache=context_cache)
            )
        return self.feed_forward_residual(x, self.feed_forward)
