"""Checkers of chapter 07, first attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_tensor, compare

N_Q, N_K, D_QUERY, D_KEY, D_HEAD = 3, 5, 7, 4, 2


def check_pair_scores(fn: Callable[..., Any]) -> None:
    """Exercise 7.1."""
    x, c, w_q, w_k = _draw((N_Q, D_QUERY), (N_K, D_KEY), (D_QUERY, D_HEAD), (D_KEY, D_HEAD))
    (w,) = _draw((D_HEAD,))
    try:
        result = fn(*(t.clone() for t in (x, c, w_q, w_k, w)))
    except RuntimeError as error:
        if "must match" not in str(error):
            raise
        raise Wrong(
            f"{str(error).splitlines()[0]}: add an axis to queries and keys, so that every query"
            " meets every key"
        ) from error
    given = as_tensor(result, (N_Q, N_K))
    q, k = x @ w_q, c @ w_k
    pairs = q[:, None] + k[None]
    right = torch.tanh(pairs) @ w
    mistakes = {
        "tanh is missing: then the score is a sum of a part of the query and a part of the key,"
        " and every query ranks the keys alike": pairs @ w,
        "those are weights: give the scores before the softmax": right.softmax(dim=-1),
        "tanh comes before the sum over features, not after it": torch.tanh(pairs @ w),
        "that is a dot product: add query and key instead": q @ k.T,
        "that is a dot product with w inside: add query and key instead": (q * w) @ k.T,
        "w is missing: weigh the features before you add them up": torch.tanh(pairs).sum(dim=-1),
        "tanh of query and key apart: add the two first": (q.tanh()[:, None] + k.tanh()) @ w,
    }
    compare(given, right, mistakes)


def check_read_real(fn: Callable[..., Any]) -> None:
    """Exercise 7.2."""
    scores, values = _draw((N_Q, N_K), (N_K, D_KEY))
    scores = 2 * scores
    real = torch.tensor([True, True, False, True, False])
    given = as_tensor(fn(scores.clone(), values.clone(), real.clone()), (N_Q, D_KEY))
    hidden = scores.masked_fill(~real, -torch.inf)
    weights = scores.softmax(dim=-1)
    mistakes = {
        "padding is read: its weight must be zero": weights @ values,
        "padding still takes its part of the softmax, so the other weights do not sum to one:"
        " hide it before, not after": (weights * real) @ values,
        "a score of 0 is not low: e⁰ is 1; use minus infinity": (scores * real).softmax(dim=-1)
        @ values,
        "the softmax runs over the queries: each row must sum to one, dim=-1": (
            hidden.softmax(dim=0).nan_to_num() @ values
        ),
        "you read the padding and hid the rest: True means real": (
            scores.masked_fill(real, -torch.inf).softmax(dim=-1) @ values
        ),
    }
    compare(given, hidden.softmax(dim=-1) @ values, mistakes)


def check_joined_matrix(fn: Callable[..., Any]) -> None:
    """Exercise 7.3."""
    w_q, w_k = _draw((D_QUERY, D_HEAD), (D_KEY, D_HEAD))
    right = w_q @ w_k.T
    given = fn(w_q.clone(), w_k.clone())
    if isinstance(given, Tensor) and given.shape == right.T.shape:
        raise Wrong(
            f"the shape is {tuple(given.shape)}, it should be {tuple(right.shape)}: that is"
            " (d_key, d_query), transpose it"
        )
    mistakes = {
        "no scale here: the two sides must be equal": right / D_HEAD**0.5,
        "a softmax has no place here: give the matrix": right.softmax(dim=-1),
    }
    compare(as_tensor(given, (D_QUERY, D_KEY)), right, mistakes)


def check_bytes_kept(fn: Callable[..., Any]) -> None:
    """Exercise 7.4."""
    for case in ((1, 512, 512, 64, 4), (3, 5, 7, 11, 2)):
        batch, n_q, n_k, d_head, size = case
        given = fn(*case)
        if isinstance(given, bool) or not isinstance(given, int):
            raise Wrong(f"give an int, not {type(given).__name__}")
        mistakes = {
            batch * n_q * n_k * size: "those are the scores: every pair has d_head features",
            batch * (n_q + n_k) * d_head * size: "those are queries and keys: every query meets"
            " every key, multiply their numbers",
            batch * n_q * n_k * d_head: "that is the number of numbers: each has several bytes",
            n_q * n_k * d_head * size: "that is one sequence: multiply by the batch",
            batch * n_q * n_q * d_head * size: "queries and keys may differ in number: use both",
            2 * d_head * d_head * size: "those are parameters: the features of the pairs are asked",
            (batch * (n_q * n_k + n_q + n_k) * d_head + d_head) * size: "q, k and w are in it:"
            " give the bytes of the features alone",
            batch * (n_q * n_k + n_q + n_k) * d_head * size: "q and k are in it: give the bytes"
            " of the features alone",
            batch * n_q * n_k * d_head * size * 8: "those are bits: size is in bytes",
        }
        right = batch * n_q * n_k * d_head * size
        if given != right:
            hint = mistakes.get(given, f"got {given}, expected {right}")
            raise Wrong(f"{case}: {hint}")


def check_lean_scores(fn: Callable[..., Any]) -> None:
    """Exercise 7.5."""
    n_q, n_k, d_head = 13, 11, 5
    q, k = _draw((n_q, d_head), (n_k, d_head))
    (w,) = _draw((d_head,))
    with _Largest() as largest:
        given = as_tensor(fn(q.clone(), k.clone(), w.clone()), (n_q, n_k))
    features = torch.tanh(q[:, None] + k[None])
    mistakes = {
        "only the last feature is there: add the features up": features[..., -1] * w[-1],
        "w is missing: weigh every feature": features.sum(dim=-1),
        "that is a dot product": q @ k.T,
        "tanh is missing": (q[:, None] + k[None]) @ w,
    }
    compare(given, features @ w, mistakes)
    if largest.numel > n_q * n_k:
        raise Wrong(
            f"right, but a tensor of {largest.numel} numbers was made, more than n_q·n_k ="
            f" {n_q * n_k}: go through the features (or the queries) one by one"
        )


class _Largest(TorchDispatchMode):
    """The numbers of the largest tensor that any operation makes; a view makes none."""

    numel = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = op(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not op.is_view:
            self.numel = max(self.numel, made.numel())
        return made


def _draw(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(len(shapes))
    return [torch.randn(shape, generator=generator) for shape in shapes]


CHECKERS = {
    "07.1": check_pair_scores,
    "07.2": check_read_real,
    "07.3": check_joined_matrix,
    "07.4": check_bytes_kept,
    "07.5": check_lean_scores,
}
