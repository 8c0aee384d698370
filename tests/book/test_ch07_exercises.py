"""The checkers of chapter 07 name the mistake that was made."""

from __future__ import annotations

import torch
from exercise_answers import answer_tests
from torch import Tensor


def pairs(x: Tensor, c: Tensor, w_q: Tensor, w_k: Tensor, w: Tensor) -> Tensor:
    return torch.tanh((x @ w_q)[:, None] + (c @ w_k)[None]) @ w


def read(scores: Tensor, values: Tensor, real: Tensor) -> Tensor:
    return scores.masked_fill(~real, -torch.inf).softmax(dim=-1) @ values


def joined(w_q: Tensor, w_k: Tensor) -> Tensor:
    return w_q @ w_k.T


def kept(batch: int, n_q: int, n_k: int, d_head: int, size: int) -> int:
    return batch * n_q * n_k * d_head * size


def lean(q: Tensor, k: Tensor, w: Tensor) -> Tensor:
    scores = torch.zeros(len(q), len(k))
    for h in range(len(w)):
        scores += w[h] * torch.tanh(q[:, h, None] + k[:, h])
    return scores


def row_by_row(q: Tensor, k: Tensor, w: Tensor) -> Tensor:
    return torch.stack([torch.tanh(row + k) @ w for row in q])


RIGHT = [
    ("07.1", pairs),
    ("07.2", read),
    ("07.3", joined),
    ("07.4", kept),
    ("07.5", lean),
    ("07.5", row_by_row),
]
WRONG = [
    ("07.1", lambda *a: pairs(*a).tolist(), "give a tensor"),
    ("07.1", lambda *a: pairs(*a).T, "transpose it"),
    ("07.1", lambda x, c, q, k, w: torch.tanh(x @ q + c @ k) @ w, "add an axis"),
    ("07.1", lambda x, c, q, k, w: ((x @ q)[:, None] + c @ k) @ w, "tanh is missing"),
    ("07.1", lambda *a: pairs(*a).softmax(-1), "before the softmax"),
    ("07.1", lambda x, c, q, k, w: torch.tanh(((x @ q)[:, None] + c @ k) @ w), "not after it"),
    ("07.1", lambda x, c, q, k, w: (x @ q) @ (c @ k).T, "dot product: add"),
    ("07.1", lambda x, c, q, k, w: (x @ q * w) @ (c @ k).T, "with w inside"),
    ("07.1", lambda x, c, q, k, w: pairs(x, c, q, k, torch.ones_like(w)), "w is missing"),
    ("07.1", lambda x, c, q, k, w: ((x @ q).tanh()[:, None] + (c @ k).tanh()) @ w, "apart"),
    ("07.2", lambda s, v, r: s.softmax(-1) @ v, "padding is read"),
    ("07.2", lambda s, v, r: (s.softmax(-1) * r) @ v, "before, not after"),
    ("07.2", lambda s, v, r: (s * r).softmax(-1) @ v, "not low"),
    (
        "07.2",
        lambda s, v, r: s.masked_fill(~r, -torch.inf).softmax(0).nan_to_num() @ v,
        "over the queries",
    ),
    ("07.2", lambda s, v, r: read(s, v, ~r), "True means real"),
    ("07.2", lambda s, v, r: s.softmax(-1) @ (v * r[:, None]), "before, not after"),
    ("07.3", lambda q, k: k @ q.T, "transpose it"),
    ("07.3", lambda q, k: q @ k.T / 2**0.5, "no scale"),
    ("07.3", lambda q, k: (q @ k.T).softmax(-1), "softmax has no place"),
    ("07.4", lambda *a: float(kept(*a)), "give an int"),
    ("07.4", lambda b, q, k, d, s: b * q * k * s, "the scores"),
    ("07.4", lambda b, q, k, d, s: b * (q + k) * d * s, "multiply their numbers"),
    ("07.4", lambda b, q, k, d, s: b * q * k * d, "several bytes"),
    ("07.4", lambda b, q, k, d, s: q * k * d * s, "one sequence"),
    ("07.4", lambda b, q, k, d, s: b * q * q * d * s, "differ in number"),
    ("07.4", lambda b, q, k, d, s: 2 * d * d * s, "those are parameters"),
    ("07.4", lambda b, q, k, d, s: kept(b, q, k, d, s) + (b * (q + k) + 1) * d * s, "q, k and w"),
    ("07.4", lambda b, q, k, d, s: kept(b, q, k, d, s) + b * (q + k) * d * s, "q and k are in"),
    ("07.4", lambda *a: 8 * kept(*a), "bits"),
    ("07.5", lambda q, k, w: torch.tanh(q[:, None] + k) @ w, "more than n_q"),
    ("07.5", lambda q, k, w: w[-1] * torch.tanh(q[:, -1:] + k[:, -1]), "add the features up"),
    ("07.5", lambda q, k, w: lean(q, k, torch.ones_like(w)), "w is missing"),
    ("07.5", lambda q, k, w: q @ k.T, "dot product"),
    ("07.5", lambda q, k, w: (q @ w)[:, None] + k @ w, "tanh is missing"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT, WRONG)
