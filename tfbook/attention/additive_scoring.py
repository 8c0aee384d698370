"""Scores of additive attention: the equation, and a form that needs little time and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from tfbook.checks import require

Score = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Projected queries, projected keys and the vector that weighs their features to scores."""

# Numbers of one chunk: on a CPU 1 MB of float32, which stays in its cache. Elsewhere the
# number of kernels counts, and the limit only bounds the memory.
CPU_CHUNK, DEVICE_CHUNK = 2**18, 2**25


def additive_scores(
    q: Float[Tensor, "*batch n_q d_hidden"],
    k: Float[Tensor, "*batch n_k d_hidden"],
    w: Float[Tensor, "d_hidden"],
) -> Float[Tensor, "*batch n_q n_k"]:
    r"""Score every query with every key, as the equation says. The reference.

    .. math:: s_{ij} = w^\top \tanh(q_i + k_j)

    It holds ``n_q × n_k × d_hidden`` numbers, ``d_hidden`` times as many as a dot product
    does; :func:`chunked_additive_scores` gives the same values without them.

    Args:
        q: projected queries, ``(…, n_q, d_hidden)``.
        k: projected keys, ``(…, n_k, d_hidden)``.
        w: weighs the features, ``(d_hidden,)``.

    Returns:
        Shape ``(…, n_q, n_k)``, in nats, in at least float32.

    Raises:
        ValueError: widths or leading axes that do not agree.

    Example:
        >>> additive_scores(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.ones(2))
        tensor([[0.7616]])

    Source: Bahdanau et al. 2015, appendix A.1.2. Chapter: 07.
    """
    _require_projected(q, k, w)
    q, k, w = (_wide(x) for x in (q, k, w))
    return torch.tanh(q[..., :, None, :] + k[..., None, :, :]) @ w


def chunked_additive_scores(
    q: Float[Tensor, "*batch n_q d_hidden"],
    k: Float[Tensor, "*batch n_k d_hidden"],
    w: Float[Tensor, "d_hidden"],
) -> Float[Tensor, "*batch n_q n_k"]:
    r"""Compute :func:`additive_scores` a few queries at a time, same values.

    .. math:: s_{ij} = w^\top \tanh(q_i + k_j)

    Only a chunk of the ``n_q × n_k × d_hidden`` features exists at any time, and the backward
    pass computes them again, so autograd keeps nothing but ``q``, ``k`` and ``w``. The
    gradient is written by hand and can be taken once; for higher derivatives use the reference.
    A compiler gets the reference, which it can fuse.

    Args:
        q: projected queries, ``(…, n_q, d_hidden)``.
        k: projected keys, ``(…, n_k, d_hidden)``.
        w: weighs the features, ``(d_hidden,)``.

    Returns:
        Shape ``(…, n_q, n_k)``, in nats, in at least float32.

    Raises:
        ValueError: widths or leading axes that do not agree.

    Example:
        >>> q, k, w = torch.randn(2, 5, 3), torch.randn(2, 7, 3), torch.randn(3)
        >>> torch.allclose(chunked_additive_scores(q, k, w), additive_scores(q, k, w), atol=1e-6)
        True

    Source: Bahdanau et al. 2015, appendix A.1.2; the chunks and the identity are ours.
    Chapter: 07.
    """
    _require_projected(q, k, w)
    if torch.compiler.is_compiling():
        return additive_scores(q, k, w)
    flat_q, flat_k = (_wide(x).reshape(math.prod(x.shape[:-2]), *x.shape[-2:]) for x in (q, k))
    scores = _ChunkedScores.apply(flat_q, flat_k, _wide(w))
    return scores.reshape(*q.shape[:-1], k.shape[-2])


class _ChunkedScores(torch.autograd.Function):
    """``(batch, n_q, d), (batch, n_k, d), (d,) → (batch, n_q, n_k)``, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, w)
        scores = q.new_empty(*q.shape[:2], k.shape[1])
        # Autocast would make a copy of every chunk, in bfloat16.
        with torch.autocast(q.device.type, enabled=False):
            for rows, queries, features in _chunked_features(q, k):
                scores[rows, queries] = features @ w
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, w = ctx.saved_tensors
        grad_q, grad_k, grad_w = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(w)
        one = q.new_ones(())
        for rows, queries, features in _chunked_features(q, k):
            part = slope[rows, queries]
            grad_w += part.flatten() @ features.flatten(end_dim=-2)
            # The slope of tanh(x) is 1 - tanh(x)².
            torch.addcmul(one, features, features, value=-1, out=features)
            features.mul_(part[..., None])
            grad_q[rows, queries] = features.sum(dim=2)
            grad_k[rows] += features.sum(dim=1)
        return grad_q.mul_(w), grad_k.mul_(w), grad_w


def _chunked_features(q: Tensor, k: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Give ranges of the batch and of the queries, and ``tanh(q + k)`` of these.

    All chunks lie in the same memory, ``(rows, queries, n_k, d_hidden)``: use one before the
    next is asked for.
    """
    (batch, n_q, _), (n_k, d_hidden) = q.shape, k.shape[1:]
    limit = CPU_CHUNK if q.device.type == "cpu" else DEVICE_CHUNK
    of_a_query = max(1, n_k * d_hidden)
    n_queries = max(1, min(n_q, limit // of_a_query))
    n_rows = max(1, min(batch, limit // (n_queries * of_a_query)))
    room = q.new_empty(n_rows * n_queries * n_k * d_hidden)
    for row in range(0, batch, n_rows):
        rows = slice(row, row + n_rows)
        for query in range(0, n_q, n_queries):
            queries = slice(query, query + n_queries)
            asked, keys = q[rows, queries, None], k[rows, None]
            shape = (*asked.shape[:2], n_k, d_hidden)
            features = room[: math.prod(shape)].view(shape)
            yield rows, queries, torch.add(asked, keys, out=features).tanh_()


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _require_projected(q: Tensor, k: Tensor, w: Tensor) -> None:
    # Leading axes that only broadcast would let one sequence score the keys of another.
    require(
        q.shape[:-2] == k.shape[:-2] and q.shape[-1] == k.shape[-1] and q.ndim == k.ndim >= 2,
        f"q has shape {tuple(q.shape)} and k {tuple(k.shape)}, but must agree in all axes but the "
        "one of queries and keys; project both to d_hidden features",
    )
    require(
        w.shape == q.shape[-1:],
        f"w has shape {tuple(w.shape)}, but must weigh each of the {q.shape[-1]} features; give "
        f"shape ({q.shape[-1]},)",
    )
