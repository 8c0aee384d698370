"""From scores to weights: the softmax that all attentions over explicit scores share."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tfbook.attention.masks import causal_mask, combine_masks, require_boolean
from tfbook.checks import require


def masked_softmax(
    scores: Float[Tensor, "*batch n_q n_k"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    bias: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch n_q n_k"]:
    r"""Turn scores into weights: each row is a distribution over the keys that it may see.

    .. math:: A = \operatorname{softmax}(S + B + M)

    where :math:`M` is 0 where a query may attend and :math:`-\infty` elsewhere. A query that
    may attend to nothing gets zeros, and gradients of zero. Computed in at least float32.

    Args:
        scores: of any kind, in nats, ``(…, n_q, n_k)``.
        mask: boolean, True where a query may attend, broadcasts to the scores.
        causal: hide later keys; the last query sees the last key.
        bias: added to the scores, in nats, broadcasts to them.

    Returns:
        Shape and dtype of ``scores``. Rows sum to one, or to zero where nothing is visible.

    Raises:
        ValueError: a mask that is not boolean, a bias that is not floating point, a shape that
            does not broadcast, or ``causal`` with fewer keys than queries.

    Example:
        >>> masked_softmax(torch.zeros(2, 2), causal=True)
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000]])

    Source: Vaswani et al. 2017, section 3.2.3. Chapter: 10.
    """
    allowed = visible_keys(tuple(scores.shape), mask, causal, bias, device=scores.device)
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    wide = wide if bias is None else wide + bias
    if allowed is None and bias is None:
        return wide.softmax(dim=-1).to(scores.dtype)
    wide = wide if allowed is None else wide.masked_fill(~allowed, -math.inf)
    # softmax of a row of -inf is NaN, and so is its gradient: give such a row any
    # finite scores, and take its weights away afterwards.
    nothing = (wide == -math.inf).all(dim=-1, keepdim=True)
    weights = wide.masked_fill(nothing, 0.0).softmax(dim=-1)
    return weights.masked_fill(nothing, 0.0).to(scores.dtype)


def visible_keys(
    shape: tuple[int, ...],
    mask: Tensor | None,
    causal: bool,
    bias: Tensor | None,
    *,
    device: torch.device,
) -> Bool[Tensor, "..."] | None:
    """Check what restricts the scores, and join ``mask`` and ``causal``.

    Args:
        shape: of the scores, ``(…, n_q, n_k)``.
        mask: boolean, True where a query may attend, broadcasts to the scores.
        causal: hide later keys; the last query sees the last key.
        bias: added to the scores, in nats, broadcasts to them.
        device: of the scores.

    Returns:
        True where a query may attend, broadcasts to the scores; None where nothing is hidden.

    Raises:
        ValueError: a mask that is not boolean, a bias that is not floating point, a shape that
            does not broadcast, or ``causal`` with fewer keys than queries.

    Example:
        >>> visible_keys((2, 2), None, True, None, device=torch.device("cpu"))
        tensor([[ True, False],
                [ True,  True]])

    Source: none; what :func:`masked_softmax` and the fused kernel share. Chapter: 10.
    """
    if mask is not None:
        require_boolean(mask)
        _require_broadcast("mask", mask, shape)
    if bias is not None:
        require(
            bias.is_floating_point(),
            f"bias has dtype {bias.dtype}, but is added to scores; pass booleans as mask=",
        )
        _require_broadcast("bias", bias, shape)
    future = causal_mask(*shape[-2:], device=device) if causal else None
    return combine_masks(mask, future)


def _require_broadcast(name: str, x: Tensor, shape: tuple[int, ...]) -> None:
    fits = x.ndim <= len(shape) and all(
        size in (1, full) for size, full in zip(reversed(x.shape), reversed(shape), strict=False)
    )
    require(
        fits,
        f"{name} has shape {tuple(x.shape)}, which does not broadcast to the scores' shape "
        f"{shape}; each axis must be 1 or equal",
    )
