"""Multi-head attention: a thin module around the attention function."""

from __future__ import annotations

from typing import TypeGuard

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention.cache import ContextCache, LayerCache
from tfbook.attention.masks import combine_masks, sliding_window_mask
from tfbook.attention.protocols import Attend, Relative, RelativeValues, Rotate
from tfbook.attention.scaled_dot_product import attention_weights, fused_attention
from tfbook.checks import (
    require,
    require_divisible,
    require_positive,
    require_probability,
    require_state,
)
from tfbook.shapes import merge_heads, split_heads


class MultiHeadAttention(nn.Module):
    r"""Attend with several heads, each in its own subspace, and mix what they find.

    .. math:: \operatorname{head}_i = \operatorname{attention}(XW^Q_i, CW^K_i, CW^V_i), \qquad
              \operatorname{MHA}(X, C) = [\operatorname{head}_1; \dots; \operatorname{head}_h] W^O

    The context :math:`C` is :math:`X` itself in self-attention and another sequence in
    cross-attention. With fewer key and value heads than query heads, neighbouring query
    heads share one: grouped attention, and multi-query with ``n_kv_heads=1``.

    Args:
        d_model: width of the input and the output.
        n_heads: query heads.
        n_kv_heads: key and value heads; None means ``n_heads``.
        d_head: width of a head; None means ``d_model / n_heads``.
        d_context: width of the context; None means ``d_model``.
        bias: whether ``w_q``, ``w_k`` and ``w_v`` add a bias.
        output_bias: whether ``w_o`` does; None means as ``bias``.
        dropout_p: probability of dropping a weight in training.
        attend: the attention function.
        rotate: applied to queries and keys with their positions, before the scores.
        relative: gives a bias from queries, keys and the positions of both. One that
            ``adds_to_values`` (:class:`tfbook.positions.ShawRelative`) also adds vectors to what
            each head gives; the weights are then computed beside ``attend``.
        window: how many tokens a query sees, itself included: query ``i`` sees key ``j`` where
            ``0 ≤ i − j < window`` (where nothing is causal, ``|i − j| < window``). None means all.

    Raises:
        ValueError: widths or head counts that do not divide, a probability outside
            ``[0, 1)``, a window below one, or dropout of weights together with vectors for the
            values.
        RuntimeError: in the call, a cache with a ``rotate`` that depends on the length, or one
            that keeps another window.

    Example:
        >>> import torch
        >>> mha = MultiHeadAttention(12, 3)
        >>> mha(torch.zeros(2, 5, 12)).shape
        torch.Size([2, 5, 12])

    Source: Vaswani et al. 2017, section 3.2.2; Ainslie et al. 2023 (grouped);
    Shazeer 2019 (multi-query). Chapter: 09.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        d_head: int | None = None,
        d_context: int | None = None,
        bias: bool = True,
        output_bias: bool | None = None,
        dropout_p: float = 0.0,
        attend: Attend = fused_attention,
        rotate: Rotate | None = None,
        relative: Relative | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__()
        if d_head is None:
            require_divisible("d_model", d_model, "n_heads", n_heads)
            d_head = d_model // n_heads
        require_positive("d_head", d_head)
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        require_divisible("n_heads", n_heads, "n_kv_heads", n_kv_heads)
        require_probability("dropout_p", dropout_p)
        d_context = d_model if d_context is None else d_context
        require_positive("window", 1 if window is None else window)
        self.n_heads, self.n_kv_heads, self.d_head = n_heads, n_kv_heads, d_head
        self.dropout_p, self.attend, self.window = dropout_p, attend, window
        self.rotate, self.relative = rotate, relative
        # The weights are computed twice: two draws of dropout would disagree.
        require(
            not (_adds_to_values(relative) and dropout_p),
            f"dropout_p={dropout_p} must be 0 with relative vectors for the values; drop features "
            "of the output instead, or make them with values=False",
        )
        self.w_q = nn.Linear(d_model, n_heads * d_head, bias=bias)
        self.w_k = nn.Linear(d_context, n_kv_heads * d_head, bias=bias)
        self.w_v = nn.Linear(d_context, n_kv_heads * d_head, bias=bias)
        output_bias = bias if output_bias is None else output_bias
        self.w_o = nn.Linear(n_heads * d_head, d_model, bias=output_bias)

    def forward(
        self,
        x: Float[Tensor, "batch n_q d_model"],
        context: Float[Tensor, "batch n_c d_context"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        bias: Float[Tensor, "..."] | None = None,
        positions: Int[Tensor, "..."] | None = None,
        cache: LayerCache | ContextCache | None = None,
    ) -> Float[Tensor, "batch n_q d_model"]:
        """Attend from ``x`` to ``context``, or to ``x`` itself.

        Args:
            x: where the queries come from, ``(batch, n_q, d_model)``.
            context: where keys and values come from, ``(batch, n_c, d_context)``.
            mask: True where a query may attend, broadcasts to ``(batch, heads, n_q, n_k)``.
            causal: hide later keys.
            bias: added to the scaled scores, in nats.
            positions: of the tokens of ``x``, for ``rotate`` and ``relative``.
            cache: earlier keys and values; the new ones are kept in it.

        Returns:
            Shape ``(batch, n_q, d_model)``.

        Raises:
            ValueError: widths that do not fit (see :func:`tfbook.attention.attention`), or a
                context with relative positions.
        """
        mask = self._visible(mask, x, context, causal, cache)
        both = self._positions(x, context, positions, cache)  # before the cache moves on
        q, k, v = self.project(x, context, positions=positions, cache=cache)
        bias = self._bias(q, k, bias, both)
        dropout_p = self.dropout_p if self.training else 0.0
        heads = self.attend(q, k, v, mask=mask, causal=causal, bias=bias, dropout_p=dropout_p)
        if both is not None and _adds_to_values(self.relative):
            weights = attention_weights(q, k, mask=mask, causal=causal, bias=bias)
            heads = heads + self.relative.add_to_values(weights, *both)
        return self.w_o(merge_heads(heads))

    def project(
        self,
        x: Float[Tensor, "batch n_q d_model"],
        context: Float[Tensor, "batch n_c d_context"] | None = None,
        *,
        positions: Int[Tensor, "..."] | None = None,
        cache: LayerCache | ContextCache | None = None,
    ) -> tuple[
        Float[Tensor, "batch heads n_q d_head"],
        Float[Tensor, "batch kv_heads n_k d_head"],
        Float[Tensor, "batch kv_heads n_k d_head"],
    ]:
        """Give the queries, keys and values of every head.

        Args:
            x: where the queries come from, ``(batch, n_q, d_model)``.
            context: where keys and values come from, ``(batch, n_c, d_context)``.
            positions: of the tokens of ``x``, for ``rotate`` and ``relative``.
            cache: earlier keys and values; the new ones are kept in it.

        Returns:
            ``(batch, heads, n_q, d_head)`` and twice ``(batch, kv_heads, n_k, d_head)``.

        Raises:
            ValueError: ``x`` or ``context`` has another width than the projections, or they
                hold different numbers of sequences.
        """
        source = x if context is None else context
        self._require_width("x", x, self.w_q.in_features)
        self._require_width("context", source, self.w_k.in_features)
        require(
            x.shape[0] == source.shape[0],
            f"x has batch {x.shape[0]} and context {source.shape[0]}; give one context for every "
            "sequence",
        )

        require_state(
            cache is None or not getattr(self.rotate, "depends_on_length", False),
            "cache is given, but this rotation depends on the length of the sequence: keys that "
            "were kept would be turned by another angle; generate with use_cache=False, or use "
            "another scaling",
        )

        def keys_values() -> tuple[Tensor, Tensor]:
            k = split_heads(self.w_k(source), self.n_kv_heads)
            v = split_heads(self.w_v(source), self.n_kv_heads)
            return (k if self.rotate is None else self.rotate(k, positions)), v

        q = split_heads(self.w_q(x), self.n_heads)
        q = q if self.rotate is None else self.rotate(q, positions)
        k, v = keys_values() if cache is None else cache.keys_values(keys_values)
        return q, k, v

    def weights(
        self,
        x: Float[Tensor, "batch n_q d_model"],
        context: Float[Tensor, "batch n_c d_context"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        bias: Float[Tensor, "..."] | None = None,
        positions: Int[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch heads n_q n_k"]:
        """Give the attention weights of every head, which the fused kernel never holds.

        Args:
            x: where the queries come from, ``(batch, n_q, d_model)``.
            context: where keys and values come from, ``(batch, n_c, d_context)``.
            mask: True where a query may attend.
            causal: hide later keys.
            bias: added to the scaled scores, in nats.
            positions: of the tokens of ``x``, for ``rotate`` and ``relative``.

        Returns:
            Shape ``(batch, heads, n_q, n_k)``; each row sums to one.

        Raises:
            ValueError: as in :meth:`forward`.
        """
        mask = self._visible(mask, x, context, causal, None)
        q, k, _ = self.project(x, context, positions=positions)
        bias = self._bias(q, k, bias, self._positions(x, context, positions, None))
        return attention_weights(q, k, mask=mask, causal=causal, bias=bias)

    def _visible(
        self,
        mask: Tensor | None,
        x: Tensor,
        context: Tensor | None,
        causal: bool,
        cache: LayerCache | ContextCache | None,
    ) -> Tensor | None:
        """Join the mask with the window and with what the cache hides."""
        kept = cache if isinstance(cache, LayerCache) else None
        if kept is not None:
            mask = kept.restrict(mask, x.shape[1])
            require_state(
                kept.window is None or kept.window == self.window,
                f"the cache keeps window={kept.window}, but this attention has window="
                f"{self.window}; make the cache with the window of the model, or with None",
            )
        if self.window is None or (kept is not None and kept.window is not None):
            return mask
        require(
            context is None,
            f"context is given, but window={self.window} counts offsets within one sequence; use "
            "it in self-attention only",
        )
        n = x.shape[1]
        n_k = n if kept is None else kept.length + n
        if n_k <= self.window:
            return mask
        near = sliding_window_mask(n, n_k, window=self.window, causal=causal, device=x.device)
        return combine_masks(mask, near)

    def _positions(
        self,
        x: Tensor,
        context: Tensor | None,
        positions: Tensor | None,
        cache: LayerCache | ContextCache | None,
    ) -> tuple[Tensor, Tensor] | None:
        """The positions of queries and keys; None where no scheme asks for them."""
        if self.relative is None:
            return None
        require(
            context is None,
            "context is given, but relative positions count offsets within one sequence; use "
            "them in self-attention only",
        )
        if positions is None:
            start = cache.length if isinstance(cache, LayerCache) else 0
            positions = torch.arange(start, start + x.shape[1], device=x.device)
        return positions, (
            cache.key_positions(positions) if isinstance(cache, LayerCache) else positions
        )

    def _bias(
        self, q: Tensor, k: Tensor, bias: Tensor | None, both: tuple[Tensor, Tensor] | None
    ) -> Tensor | None:
        if self.relative is None or both is None:
            return bias
        relative = self.relative(q, k, *both)
        return relative if bias is None else relative + bias

    def _require_width(self, name: str, x: Tensor, width: int) -> None:
        require(
            x.ndim == 3 and x.shape[-1] == width,
            f"{name} has shape {tuple(x.shape)}, but this attention was made for (batch, n, "
            f"{width}); pass d_model= or d_context= to match",
        )


def _adds_to_values(relative: Relative | None) -> TypeGuard[RelativeValues]:
    return relative is not None and relative.adds_to_values
