"""Multiplicative and location-based attention: the other scores of 2015."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention.cache import ContextCache, LayerCache
from tfbook.attention.protocols import Attend
from tfbook.attention.scaled_dot_product import attention_weights, fused_attention
from tfbook.attention.single_head import one_head, require_sequences, weighted_sum
from tfbook.attention.softmax import masked_softmax
from tfbook.checks import require, require_positive, require_probability


class MultiplicativeAttention(nn.Module):
    r"""Attend with dot products of queries and the context itself.

    .. math:: s_{ij} = \lambda\, w(x_i) \cdot c_j, \qquad
              y_i = \sum_j \operatorname{softmax}_j(s_{ij})\, c_j

    ============================================  ===========  ============================
    score                                         ``w``        :math:`\lambda` (``scale``)
    ============================================  ===========  ============================
    *dot*: :math:`x_i \cdot c_j`                  identity     1
    *general*: :math:`x_i W \cdot c_j`            linear map   1
    *scaled dot*                                  identity     None: :math:`1/\sqrt{d_{key}}`
    ============================================  ===========  ============================

    The paper's *concat* score is additive: :class:`AdditiveAttention`.

    Args:
        w: maps queries to the width of the context; ``nn.Identity()`` for *dot*,
            ``nn.Linear(d_query, d_key, bias=False)`` for *general*.
        scale: factor of the scores; None means one over the root of the context's width.
        dropout_p: probability of dropping a weight in training.
        attend: the attention function.

    Raises:
        ValueError: a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> general = MultiplicativeAttention(nn.Linear(3, 5, bias=False))
        >>> general(torch.zeros(2, 1, 3), torch.zeros(2, 7, 5)).shape
        torch.Size([2, 1, 5])

    Source: Luong et al. 2015, section 3.1; Vaswani et al. 2017, section 3.2.1. Chapter: 07.
    """

    def __init__(
        self,
        w: nn.Module,
        *,
        scale: float | None = 1.0,
        dropout_p: float = 0.0,
        attend: Attend = fused_attention,
    ) -> None:
        super().__init__()
        require_probability("dropout_p", dropout_p)
        self.w, self.scale, self.dropout_p, self.attend = w, scale, dropout_p, attend

    def forward(
        self,
        x: Float[Tensor, "batch n_q d_query"],
        context: Float[Tensor, "batch n_c d_key"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        bias: Float[Tensor, "..."] | None = None,
        positions: Int[Tensor, "..."] | None = None,
        cache: LayerCache | ContextCache | None = None,
    ) -> Float[Tensor, "batch n_q d_key"]:
        """Attend from ``x`` to ``context``, or to ``x`` itself.

        Args:
            x: what asks, such as decoder states, ``(batch, n_q, d_query)``.
            context: what is read, ``(batch, n_c, d_key)``.
            mask, causal, bias, positions: as in :meth:`AdditiveAttention.forward`.
            cache: what was read before; the new context is kept in it.

        Returns:
            Shape ``(batch, n_q, d_key)``.

        Raises:
            ValueError: widths or batches that do not fit; see :func:`tfbook.attention.attention`.
        """
        q, k = self._project(x, context)
        k, v = (k, k) if cache is None else cache.keys_values(lambda: (k, k))
        dropout_p = self.dropout_p if self.training else 0.0
        y = self.attend(
            q, k, v, mask=mask, causal=causal, bias=bias, scale=self.scale, dropout_p=dropout_p
        )
        return y[:, 0]

    def weights(
        self,
        x: Float[Tensor, "batch n_q d_query"],
        context: Float[Tensor, "batch n_c d_key"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        bias: Float[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch 1 n_q n_k"]:
        """Give the attention weights, which the fused kernel never holds.

        Args:
            x, context, mask, causal, bias: as in :meth:`forward`.

        Returns:
            Shape ``(batch, 1, n_q, n_k)``; each row sums to one.

        Raises:
            ValueError: as in :meth:`forward`.
        """
        q, k = self._project(x, context)
        return attention_weights(q, k, mask=mask, causal=causal, bias=bias, scale=self.scale)

    def _project(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        source = x if context is None else context
        q = self.w(x)
        require_sequences(q, source, d_query=source.shape[-1], d_key=source.shape[-1])
        return one_head(q), one_head(source)


class LocationAttention(nn.Module):
    r"""Attend by place alone: the query says where to look, whatever stands there.

    .. math:: s_{ij} = (x_i W)_j, \qquad y_i = \sum_j \operatorname{softmax}_j(s_{ij})\, c_j

    Args:
        d_query: width of what asks.
        max_length: places that can be looked at, tokens.
        dropout_p: probability of dropping a weight in training.

    Raises:
        ValueError: a size below one, or a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> LocationAttention(3, max_length=11)(torch.zeros(2, 1, 3), torch.zeros(2, 7, 5)).shape
        torch.Size([2, 1, 5])

    Source: Luong et al. 2015, section 3.1. Chapter: 07.
    """

    def __init__(self, d_query: int, *, max_length: int, dropout_p: float = 0.0) -> None:
        super().__init__()
        require_positive("d_query", d_query)
        require_positive("max_length", max_length)
        require_probability("dropout_p", dropout_p)
        self.dropout_p = dropout_p
        self.w = nn.Linear(d_query, max_length, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch n_q d_query"],
        context: Float[Tensor, "batch n_c d_key"],
        *,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        bias: Float[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch n_q d_key"]:
        """Attend from ``x`` to the first ``max_length`` places of ``context``.

        Args:
            x: what asks, such as decoder states, ``(batch, n_q, d_query)``.
            context: what is read, ``(batch, n_c, d_key)``.
            mask, causal, bias: as in :meth:`AdditiveAttention.forward`.

        Returns:
            Shape ``(batch, n_q, d_key)``.

        Raises:
            ValueError: a context longer than ``max_length``, or widths or batches that do not
                fit; see :func:`tfbook.attention.attention`.
        """
        weights = self.weights(x, context, mask=mask, causal=causal, bias=bias)
        return weighted_sum(
            weights, one_head(context), dropout_p=self.dropout_p, training=self.training
        )

    def weights(
        self,
        x: Float[Tensor, "batch n_q d_query"],
        context: Float[Tensor, "batch n_c d_key"],
        *,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        bias: Float[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch 1 n_q n_c"]:
        """Give the attention weights.

        Args:
            x: what asks, ``(batch, n_q, d_query)``.
            context: what is read; only its length matters here.
            mask, causal, bias: as in :meth:`forward`.

        Returns:
            Shape ``(batch, 1, n_q, n_c)``; each row sums to one.

        Raises:
            ValueError: as in :meth:`forward`.
        """
        require_sequences(x, context, d_query=self.w.in_features, d_key=context.shape[-1])
        n, max_length = context.shape[1], self.w.out_features
        require(
            n <= max_length,
            f"context has {n} places, but this attention was made for max_length={max_length}; "
            "shorten it, or make the attention with a larger max_length",
        )
        scores = one_head(self.w(x)[..., :n])
        return masked_softmax(scores, mask=mask, causal=causal, bias=bias)
