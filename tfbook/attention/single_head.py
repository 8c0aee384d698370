"""What the attentions of 2015 share: one head, whose values are the context itself."""

from __future__ import annotations

import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from tfbook.checks import require


def one_head(x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch 1 n width"]:
    """Add the axis of heads.

    Args:
        x: ``(batch, n, width)``.

    Returns:
        A view of shape ``(batch, 1, n, width)``.
    """
    return rearrange(x, "b n d -> b 1 n d")


def weighted_sum(
    weights: Float[Tensor, "batch 1 n_q n_k"],
    values: Float[Tensor, "batch 1 n_k d_key"],
    *,
    dropout_p: float,
    training: bool,
) -> Float[Tensor, "batch n_q d_key"]:
    r"""Read the values with the weights of the one head, some of them dropped in training.

    .. math:: y_i = \sum_j A_{ij}\, c_j

    Args:
        weights: each row sums to one, ``(batch, 1, n_q, n_k)``.
        values: what is read, ``(batch, 1, n_k, d_key)``.
        dropout_p: probability of dropping a weight.
        training: whether any is dropped at all.

    Returns:
        Shape ``(batch, n_q, d_key)``.
    """
    if training and dropout_p:
        weights = F.dropout(weights, dropout_p)
    return einsum(weights, values, "b one i j, b one j d -> b i d")


def require_sequences(x: Tensor, context: Tensor, *, d_query: int, d_key: int) -> None:
    """Raise unless two sequences fit an attention.

    Args:
        x: what asks.
        context: what is read.
        d_query: width that ``x`` must have.
        d_key: width that ``context`` must have.

    Raises:
        ValueError: another width or number of axes, or batches that differ.
    """
    for name, given, width in (("x", x, d_query), ("context", context, d_key)):
        require(
            given.ndim == 3 and given.shape[-1] == width,
            f"{name} has shape {tuple(given.shape)}, but this attention was made for (batch, n, "
            f"{width}); make it with the widths of its inputs",
        )
    require(
        x.shape[0] == context.shape[0],
        f"x has batch {x.shape[0]} and context {context.shape[0]}; give one context for every "
        "sequence",
    )
