"""Scaled dot-product attention: the equation, and the fused kernel behind one signature."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import einsum, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from tfbook.attention.softmax import masked_softmax, visible_keys
from tfbook.checks import require, require_divisible, require_probability


def attention(
    q: Float[Tensor, "*batch_q n_q d_head"],
    k: Float[Tensor, "*batch_k n_k d_head"],
    v: Float[Tensor, "*batch_k n_k d_value"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    bias: Float[Tensor, "..."] | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
) -> Float[Tensor, "*batch_q n_q d_value"]:
    r"""Attend as the equation says. The reference that everything else is tested against.

    .. math:: \operatorname{attention}(Q, K, V) = \operatorname{softmax}\!\left(
              \frac{QK^\top}{\sqrt{d_{head}}} + B + M\right) V

    where :math:`M` is 0 where a query may attend and :math:`-\infty` elsewhere. A query
    that may attend to nothing gets zeros. Scores and softmax are in at least float32.

    Args:
        q: queries, ``(…, n_q, d_head)``; with heads ``(batch, heads, n_q, d_head)``.
        k: keys, ``(…, n_k, d_head)``. Four axes may have fewer heads than ``q``: each then
            serves ``heads / kv_heads`` neighbouring query heads.
        v: values, ``(…, n_k, d_value)``.
        mask: boolean, True where a query may attend, broadcasts to ``(…, n_q, n_k)``.
        causal: hide later keys; the last query sees the last key.
        bias: added to the scaled scores, in nats, broadcasts to ``(…, n_q, n_k)``.
        scale: factor of the scores; None means ``1/√d_head``.
        dropout_p: probability of dropping a weight; the caller sets 0 outside training.

    Returns:
        Shape ``(…, n_q, d_value)``, dtype of ``q``.

    Raises:
        ValueError: shapes that do not fit, a mask that is not boolean, a bias that is not
            floating point, or a probability outside ``[0, 1)``.

    Example:
        >>> q = k = v = torch.eye(2)
        >>> attention(q, k, v).round(decimals=2)
        tensor([[0.6700, 0.3300],
                [0.3300, 0.6700]])

    Source: Vaswani et al. 2017, equation 1. Chapter: 08.
    """
    require_probability("dropout_p", dropout_p)
    _require_values(k, v)
    weights = attention_weights(q, k, mask=mask, causal=causal, bias=bias, scale=scale)
    if dropout_p:
        weights = F.dropout(weights, dropout_p)
    v = _repeat_heads(v, like=q)
    return einsum(weights, v, "... i j, ... j d -> ... i d")


def attention_weights(
    q: Float[Tensor, "*batch_q n_q d_head"],
    k: Float[Tensor, "*batch_k n_k d_head"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    bias: Float[Tensor, "..."] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "*batch_q n_q n_k"]:
    r"""Give the weights of :func:`attention`: each row is a distribution over the keys.

    .. math:: A = \operatorname{softmax}\!\left(\frac{QK^\top}{\sqrt{d_{head}}} + B + M\right)

    Args:
        q: queries, ``(…, n_q, d_head)``.
        k: keys, ``(…, n_k, d_head)``.
        mask: boolean, True where a query may attend, broadcasts to ``(…, n_q, n_k)``.
        causal: hide later keys; the last query sees the last key.
        bias: added to the scaled scores, in nats.
        scale: factor of the scores; None means ``1/√d_head``.

    Returns:
        Shape ``(…, n_q, n_k)``. Rows sum to one, or to zero where nothing is visible.

    Raises:
        ValueError: shapes that do not fit, a mask that is not boolean, or a bias that is
            not floating point.

    Example:
        >>> attention_weights(torch.zeros(1, 2), torch.zeros(4, 2))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])

    Source: Vaswani et al. 2017, equation 1. Chapter: 08.
    """
    _require_pair(q, k)
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    k = _repeat_heads(k, like=q)
    scores = einsum(q, k, "... i d, ... j d -> ... i j")
    # A half-precision softmax loses the small weights: 1 + 2⁻⁸ is 1 in bfloat16.
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) * scale
    return masked_softmax(scores, mask=mask, causal=causal, bias=bias).to(q.dtype)


def fused_attention(
    q: Float[Tensor, "*batch_q n_q d_head"],
    k: Float[Tensor, "*batch_k n_k d_head"],
    v: Float[Tensor, "*batch_k n_k d_value"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    bias: Float[Tensor, "..."] | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
) -> Float[Tensor, "*batch_q n_q d_value"]:
    r"""Compute :func:`attention` by PyTorch's fused kernel: same arguments, same values.

    The kernel never holds the ``n_q × n_k`` weights, and reads keys and values that heads share
    where they lie, without repeating them. Its own causal path, which needs no
    mask at all, is taken when ``causal`` is the only restriction and queries and keys are
    equally many; its alignment is top-left, so other cases get the mask they need.

    Args:
        q: queries, ``(…, n_q, d_head)``.
        k: keys, ``(…, n_k, d_head)``.
        v: values, ``(…, n_k, d_value)``.
        mask: boolean, True where a query may attend, broadcasts to ``(…, n_q, n_k)``.
        causal: hide later keys; the last query sees the last key.
        bias: added to the scaled scores, in nats.
        scale: factor of the scores; None means ``1/√d_head``.
        dropout_p: probability of dropping a weight; the caller sets 0 outside training.

    Returns:
        Shape ``(…, n_q, d_value)``, dtype of ``q``.

    Raises:
        ValueError: shapes that do not fit, a mask that is not boolean, a bias that is not
            floating point, or a probability outside ``[0, 1)``.

    Example:
        >>> x = torch.randn(2, 3, 5, 7)
        >>> torch.allclose(fused_attention(x, x, x), attention(x, x, x), atol=1e-6)
        True

    Source: Vaswani et al. 2017, equation 1; ``F.scaled_dot_product_attention``. Chapter: 08.
    """
    require_probability("dropout_p", dropout_p)
    _require_values(k, v)
    n_q, n_k = q.shape[-2], k.shape[-2]
    kernel_causal = causal and mask is None and bias is None and n_q == n_k
    # One query at the last position sees every key: nothing to hide.
    hide = causal and not kernel_causal and n_q > 1
    allowed = _visible(q, k, mask, hide, bias)
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=_kernel_mask(allowed, bias, q),
        dropout_p=dropout_p,
        is_causal=kernel_causal,
        scale=scale,
        enable_gqa=_grouped(q, k),
    )


def _kernel_mask(allowed: Tensor | None, bias: Tensor | None, q: Tensor) -> Tensor | None:
    """One tensor for the kernel: a boolean mask, or a bias of -inf where hidden."""
    if bias is None:
        return allowed
    bias = bias.to(q.dtype)
    return bias if allowed is None else torch.where(allowed, bias, -math.inf)


def _visible(
    q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, bias: Tensor | None
) -> Tensor | None:
    """Check the arguments; join ``mask`` and ``causal``."""
    _require_pair(q, k)
    return visible_keys((*q.shape[:-1], k.shape[-2]), mask, causal, bias, device=q.device)


def _require_pair(q: Tensor, k: Tensor) -> None:
    require(
        q.shape[-1] == k.shape[-1],
        f"q has width {q.shape[-1]} and k has width {k.shape[-1]}, but a score is their dot "
        "product; project both to the same width",
    )
    _require_batch(q, k)


def _require_values(k: Tensor, v: Tensor) -> None:
    require(
        k.shape[:-1] == v.shape[:-1],
        f"k has shape {tuple(k.shape)} and v {tuple(v.shape)}, but every key needs one value; "
        "all axes but the last must agree",
    )


def _require_batch(q: Tensor, k: Tensor) -> None:
    # The axis of heads may differ (see _repeat_heads). Any other would broadcast, and one
    # sequence would silently attend to the keys of another.
    axes = slice(0, 1) if q.ndim == k.ndim == 4 else slice(0, -2)
    require(
        q.ndim == k.ndim and q.shape[axes] == k.shape[axes],
        f"q has shape {tuple(q.shape)} and k {tuple(k.shape)}, but the axes before n_q and n_k "
        "must agree (heads may be fewer in k); expand the smaller one",
    )


def _repeat_heads(x: Tensor, *, like: Tensor) -> Tensor:
    """Give every query head its key (or value) head: neighbours share one."""
    if not _grouped(like, x):
        return x
    return repeat(x, "b h n d -> b (h group) n d", group=like.shape[1] // x.shape[1])


def _grouped(q: Tensor, k: Tensor) -> bool:
    """Whether neighbouring query heads share a key head; checks that they can."""
    if q.ndim != 4 or k.ndim != 4 or q.shape[1] == k.shape[1]:
        return False
    require_divisible("n_heads", q.shape[1], "n_kv_heads", k.shape[1])
    return True
