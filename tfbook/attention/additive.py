"""Additive attention: a small network scores every pair of query and key."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention.additive_scoring import Score, chunked_additive_scores
from tfbook.attention.cache import ContextCache, LayerCache
from tfbook.attention.single_head import one_head, require_sequences, weighted_sum
from tfbook.attention.softmax import masked_softmax
from tfbook.checks import require_positive, require_probability


class AdditiveAttention(nn.Module):
    r"""Attend with the scores of a small network, one hidden layer over query and key.

    .. math:: s_{ij} = w^\top \tanh(x_i W_q + c_j W_k), \qquad
              y_i = \sum_j \operatorname{softmax}_j(s_{ij})\, c_j

    The values are the context itself, as in the paper. There is one head, so masks are those
    of :class:`MultiHeadAttention` with one head. Luong's *concat* score is this one: a map of
    the two vectors side by side is the sum of two maps.

    Args:
        d_query: width of what asks.
        d_key: width of the context.
        d_hidden: features that a pair is scored by.
        dropout_p: probability of dropping a weight in training.
        score: the score function, :func:`additive_scores` or its chunked form.

    Raises:
        ValueError: a width below one, or a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> decoder_state, annotations = torch.zeros(2, 1, 3), torch.zeros(2, 7, 5)
        >>> AdditiveAttention(3, 5, 4)(decoder_state, annotations).shape
        torch.Size([2, 1, 5])

    Source: Bahdanau et al. 2015, section 3.1 and appendix A.1.2. Chapter: 07.
    """

    def __init__(
        self,
        d_query: int,
        d_key: int,
        d_hidden: int,
        *,
        dropout_p: float = 0.0,
        score: Score = chunked_additive_scores,
    ) -> None:
        super().__init__()
        for name, width in dict(d_query=d_query, d_key=d_key, d_hidden=d_hidden).items():
            require_positive(name, width)
        require_probability("dropout_p", dropout_p)
        self.dropout_p, self.score = dropout_p, score
        self.w_q = nn.Linear(d_query, d_hidden, bias=False)
        self.w_k = nn.Linear(d_key, d_hidden, bias=False)
        self.w_score = nn.Linear(d_hidden, 1, bias=False)

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
            mask: True where a query may attend, broadcasts to ``(batch, 1, n_q, n_k)``.
            causal: hide later keys.
            bias: added to the scores, in nats.
            positions: not used, the scores know no order; blocks pass it to every attention.
            cache: projected keys and values, so that a decoder projects its context once.

        Returns:
            Shape ``(batch, n_q, d_key)``.

        Raises:
            ValueError: widths or batches that do not fit; see :func:`tfbook.attention.attention`.
        """
        weights, values = self._attend(x, context, cache, mask=mask, causal=causal, bias=bias)
        return weighted_sum(weights, values, dropout_p=self.dropout_p, training=self.training)

    def weights(
        self,
        x: Float[Tensor, "batch n_q d_query"],
        context: Float[Tensor, "batch n_c d_key"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        bias: Float[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch 1 n_q n_k"]:
        """Give the attention weights: the soft alignment of the paper.

        Args:
            x: what asks, ``(batch, n_q, d_query)``.
            context: what is read, ``(batch, n_c, d_key)``.
            mask: True where a query may attend.
            causal: hide later keys.
            bias: added to the scores, in nats.

        Returns:
            Shape ``(batch, 1, n_q, n_k)``; each row sums to one.

        Raises:
            ValueError: as in :meth:`forward`.
        """
        return self._attend(x, context, None, mask=mask, causal=causal, bias=bias)[0]

    def _attend(
        self,
        x: Tensor,
        context: Tensor | None,
        cache: LayerCache | ContextCache | None,
        *,
        mask: Tensor | None,
        causal: bool,
        bias: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Weights and values, with an axis for the one head."""
        source = x if context is None else context
        require_sequences(x, source, d_query=self.w_q.in_features, d_key=self.w_k.in_features)

        def keys_values() -> tuple[Tensor, Tensor]:
            return one_head(self.w_k(source)), one_head(source)

        k, values = keys_values() if cache is None else cache.keys_values(keys_values)
        scores = self.score(one_head(self.w_q(x)), k, self.w_score.weight[0])
        weights = masked_softmax(scores, mask=mask, causal=causal, bias=bias)
        return weights.to(values.dtype), values
