"""The checkers of chapter 10 pass solutions and name the classic mistakes."""

import math

import pytest
import torch

from tfbook.book import exercises
from tfbook.book.exercises.ch10 import CHECKERS


def causal(n_q, n_k):
    return torch.arange(n_k)[None] <= torch.arange(n_k - n_q, n_k)[:, None]


def padding(lengths, n):
    return (torch.arange(n) < lengths[:, None])[:, None, None]


def softmax(scores, mask):
    empty = ~mask.any(dim=-1, keepdim=True)
    hidden = scores.masked_fill(~mask & ~empty, -math.inf)
    return hidden.softmax(dim=-1).masked_fill(empty, 0.0)


def packed(documents):
    same = documents[:, None, :, None] == documents[:, None, None, :]
    return same & causal(documents.shape[1], documents.shape[1])


def cross(x, context, w_q, w_k, w_v):
    q, k, v = x @ w_q, context @ w_k, context @ w_v
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


RIGHT = {"10.1": causal, "10.2": padding, "10.3": softmax, "10.4": packed, "10.5": cross}


@pytest.mark.parametrize("exercise", RIGHT)
def test_solutions_pass(exercise: str) -> None:
    assert exercises.check(exercise, RIGHT[exercise], required=True)


def full(n_q, n_k):
    return torch.ones(n_q, n_k, dtype=torch.bool)


WRONG = [
    ("10.1", lambda q, k: causal(q, k).T if q == k else causal(q, k), "transposed"),
    ("10.1", lambda q, k: full(q, k).tril(k - q - 1), "include the diagonal"),
    ("10.1", lambda q, k: ~causal(q, k), "True must mean"),
    ("10.1", lambda q, k: full(q, k).tril(), "top-left"),
    ("10.1", lambda q, k: full(q, k).tril(max(0, k - q - 1)), "does not see the last key"),
    ("10.1", full, "where is the triangle"),
    ("10.1", lambda q, k: causal(q, k).float(), "dtype is torch.float32"),
    ("10.1", lambda q, k: full(q, q).tril(), r"the shape is \(2, 2\), it should be \(2, 6\)"),
    ("10.2", lambda lengths, n: ~padding(lengths, n), "True must mean"),
    ("10.2", lambda lengths, n: torch.arange(n) < lengths[:, None], r"the shape is \(3, 5\)"),
    ("10.2", lambda lengths, n: padding(lengths, n).mT, "hides padding"),
    ("10.2", lambda lengths, n: padding(lengths + 1, n), "one padding token too many"),
    ("10.2", lambda lengths, n: padding(lengths - 1, n), "the last real token is hidden"),
    ("10.2", lambda lengths, n: padding(lengths, n).flip(-1), "at the start"),
    ("10.2", lambda lengths, n: [[True] * n], "a list came back"),
    ("10.2", lambda lengths, n: torch.arange(n) < lengths, "into a column"),
    (
        "10.3",
        lambda s, m: s.masked_fill(~m, -math.inf).softmax(-1),
        "row 2 sees nothing and is NaN",
    ),
    ("10.3", lambda s, m: s.masked_fill(~m, -1e9).softmax(-1), "attends to all keys alike"),
    ("10.3", lambda s, m: (s - 1e4 * ~m).softmax(-1), "its weights are not zero"),
    ("10.3", lambda s, m: s.softmax(-1) * m, "masked after the softmax"),
    (
        "10.3",
        lambda s, m: (s + s.new_zeros(4, 4).masked_fill(~m, -math.inf)).softmax(-1).nan_to_num(0.0),
        "the gradient is NaN",
    ),
    ("10.3", lambda s, m: softmax(s, m | ~m) * m.any(-1, keepdim=True), "hidden keys have weight"),
    ("10.3", lambda s, m: softmax(2 * s, m), "visible keys are wrong"),
    (
        "10.3",
        lambda s, m: s.exp() * m / ((s.exp() * m).sum(-1, keepdim=True) + 1e-12),
        "exp overflows",
    ),
    ("10.3", lambda s, m: s.masked_fill_(~m, -1e9).softmax(-1), "in-place"),
    ("10.4", lambda d: packed(d) & ~torch.eye(5, dtype=torch.bool), "include the diagonal"),
    ("10.4", lambda d: causal(5, 5).expand(2, 1, 5, 5), "still sees the text before"),
    ("10.4", lambda d: packed(d) | packed(d).mT, "the model is causal"),
    ("10.4", lambda d: packed(d).mT, "transposed"),
    ("10.4", lambda d: packed(d) | packed(d).mT | causal(5, 5), "with &, not"),
    ("10.4", lambda d: ~packed(d), "True must mean"),
    ("10.4", lambda d: packed(d)[:, 0], "an axis for the heads"),
    ("10.5", lambda x, c, q, k, v: cross(x, x, q, k, v), "this is self-attention"),
    ("10.5", lambda x, c, q, k, v: cross(c, x, q, k, v), "Are they exchanged"),
    ("10.5", lambda x, c, q, k, v: cross(x, c, q * 11**0.5, k, v), "not divided"),
    ("10.5", lambda x, c, q, k, v: cross(x, c, q * (11 / 7) ** 0.5, k, v), "not by √d_head"),
    ("10.5", lambda x, c, q, k, v: cross(x, c, q, v, k), "keys and values are exchanged"),
    (
        "10.5",
        lambda x, c, q, k, v: (x @ q @ (c @ k).mT / 11**0.5).softmax(-2) @ (c @ v),
        "over the queries",
    ),
    (
        "10.5",
        lambda x, c, q, k, v: (
            (x @ q @ (c @ k).mT / 11**0.5).masked_fill(~causal(3, 5), -math.inf).softmax(-1)
            @ (c @ v)
        ),
        "a causal mask hides",
    ),
    ("10.5", lambda x, c, q, k, v: (x @ q @ (c @ k).mT).softmax(-1) @ (x @ v), "both come from"),
    ("10.5", lambda x, c, q, k, v: x @ q @ (c @ k).permute(2, 1, 0), "both come from"),
    ("10.5", lambda x, c, q, k, v: cross(x, c, q, k, v) + 1, "the values differ"),
]


@pytest.mark.parametrize(("exercise", "answer", "diagnosis"), WRONG)
def test_mistakes_are_named(exercise: str, answer, diagnosis: str) -> None:
    with pytest.raises(exercises.Wrong, match=diagnosis):
        CHECKERS[exercise](answer)
