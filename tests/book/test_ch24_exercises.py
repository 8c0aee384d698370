"""The checkers of chapter 24 accept the right answer and diagnose the usual wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from exercise_answers import answer_tests
from torch import Tensor


def size(
    n_layers: int, n_heads: int, n_kv_heads: int, d_head: int, n: int, batch: int, bytes_each: int
) -> int:
    return 2 * n_layers * n_kv_heads * d_head * n * batch * bytes_each


def resized(change: Callable[..., float]) -> Callable[..., float]:
    return lambda **sizes: size(**sizes) * change(**sizes)


def with_queries(**sizes: int) -> int:
    """Queries, as many as there are query heads, beside keys and values."""
    both = size(**sizes)
    return both + both * sizes["n_heads"] // sizes["n_kv_heads"] // 2


def step(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    keys, values = torch.cat([keys, k]), torch.cat([values, v])
    return (q @ keys.T / q.shape[1] ** 0.5).softmax(-1) @ values, keys, values


def stepped(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    def changed(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Any:
        _, keys, values = step(q, k, v, keys, values)
        return change(q, keys, values), keys, values

    return changed


def blind(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Any:
    output = (q @ keys.T / q.shape[1] ** 0.5).softmax(-1) @ values
    return output, torch.cat([keys, k]), torch.cat([values, v])


def in_front(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Any:
    output, *_ = step(q, k, v, keys, values)
    return output, torch.cat([k, keys]), torch.cat([values, v])


def values_first(*given: Tensor) -> Any:
    output, keys, values = step(*given)
    return output, values, keys


def output_last(*given: Tensor) -> Any:
    output, keys, values = step(*given)
    return keys, values, output


def crossed(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Any:
    return step(q, v, k, keys, values)


def values_in_front(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Any:
    output, keys, _ = step(q, k, v, keys, values)
    return output, keys, torch.cat([v, values])


def key_among_values(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Any:
    output, all_keys, _ = step(q, k, v, keys, values)
    return output, all_keys, torch.cat([values, k])


def keys_as_values(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Any:
    """The keys are right, the values are the keys again."""
    output, all_keys, _ = step(q, k, v, keys, values)
    return output, all_keys, all_keys


def pooled(w_k: Tensor, n_heads: int, n_kv_heads: int) -> Tensor:
    d_head = len(w_k) // n_heads
    return w_k.view(n_kv_heads, n_heads // n_kv_heads, d_head, -1).mean(1).flatten(0, 1)


def grouped(w_k: Tensor, n_heads: int, n_kv_heads: int) -> Tensor:
    return w_k.view(n_kv_heads, n_heads // n_kv_heads, len(w_k) // n_heads, -1)


def strided(w_k: Tensor, n_heads: int, n_kv_heads: int) -> Tensor:
    heads = w_k.view(n_heads // n_kv_heads, n_kv_heads, len(w_k) // n_heads, -1)
    return heads.mean(0).flatten(0, 1)


def feature_first(w_k: Tensor, n_heads: int, n_kv_heads: int) -> Tensor:
    d_head = len(w_k) // n_heads
    split = w_k.view(d_head, n_kv_heads, n_heads // n_kv_heads, -1)
    return split.mean(2).transpose(0, 1).flatten(0, 1)


def slots(n: int, window: int) -> list[int | None]:
    kept: list[int | None] = [None] * window
    for t in range(n):
        kept[t % window] = t
    return kept


def least(
    weights: float, cache: float, flops: float, batch: float, bandwidth: float, rate: float
) -> float:
    return max((weights + batch * cache) / bandwidth, batch * flops / rate)


RIGHT = {
    "24.1": size,
    "24.2": step,
    "24.3": pooled,
    "24.4": slots,
    "24.5": least,
}
WRONG = [
    ("24.1", lambda **s: str(size(**s)), "give a number"),
    ("24.1", lambda **s: print(size(**s)), "return the number, do not print it"),
    ("24.1", lambda **s: float(size(**s)), "give an int, not a float"),
    ("24.1", resized(lambda **s: 3 / 2), "queries are not kept"),
    ("24.1", with_queries, "queries are not kept"),
    ("24.1", resized(lambda **s: 1 / s["d_head"]), "multiply by d_head"),
    ("24.1", resized(lambda **s: 1 / s["n_kv_heads"]), "multiply by n_kv_heads"),
    ("24.1", lambda **s: 7, "got 7, expected 18480 for n_layers=3, n_heads=8"),
    ("24.1", resized(lambda **s: 1 / 2), "the factor 2 is missing"),
    ("24.1", resized(lambda **s: s["n_heads"] / s["n_kv_heads"]), "query heads"),
    ("24.1", resized(lambda **s: 1 / s["n_layers"]), "multiply by n_layers"),
    ("24.1", resized(lambda **s: 1 / s["batch"]), "multiply by batch"),
    ("24.1", resized(lambda **s: 1 / s["bytes_each"]), "not bytes"),
    ("24.1", resized(lambda **s: 1 / s["n"]), "multiply by n"),
    ("24.1", resized(lambda **s: s["n"]), "not with n²"),
    ("24.2", lambda *a: step(*a)[0], "three tensors"),
    ("24.2", lambda q, k, v, keys, values: (step(q, k, v, keys, values)[0], keys, values), "kept"),
    ("24.2", in_front, "new keys go behind the others"),
    ("24.2", values_in_front, "new values go behind the others"),
    ("24.2", values_first, "keys and values are swapped: the order is output, keys, values"),
    ("24.2", output_last, "keys and values are swapped: the order is output, keys, values"),
    ("24.2", keys_as_values, "those are the keys again: the third tensor holds the values"),
    ("24.2", crossed, "the new value was appended to the keys"),
    ("24.2", key_among_values, "the new key was appended to the values"),
    (
        "24.2",
        stepped(lambda q, k, v: (q @ v.T / 3**0.5).softmax(-1) @ k),
        "keys and values are swapped: the query meets the keys",
    ),
    ("24.2", blind, "does not see itself"),
    ("24.2", stepped(lambda q, k, v: (q @ k.T).softmax(-1) @ v), "not divided by √d"),
    ("24.2", stepped(lambda q, k, v: (q @ k.T / q.shape[1]).softmax(-1) @ v), "take its root"),
    ("24.2", stepped(lambda q, k, v: (q @ k.T / 3**0.5).softmax(0) @ v), "wrong axis"),
    ("24.2", stepped(lambda q, k, v: q @ k.T / 3**0.5 @ v), "no softmax"),
    ("24.2", stepped(lambda q, k, v: (q @ k.T / 3**0.5).softmax(-1) @ k), "not the keys"),
    ("24.3", lambda w, h, g: grouped(w, h, g).mean(1), "the shape is"),
    (
        "24.3",
        lambda w, h, g: grouped(w, h, g)[:, 0].flatten(0, 1),
        "that keeps the first head of each group",
    ),
    ("24.3", lambda w, h, g: grouped(w, h, g)[:, -1].flatten(0, 1), "that keeps the last head"),
    ("24.3", lambda w, h, g: w[: len(w) // h * g], "that keeps the first n_kv_heads heads"),
    ("24.3", lambda w, h, g: grouped(w, h, g).sum(1).flatten(0, 1), "that is the sum"),
    ("24.3", strided, "yours are n_kv_heads apart"),
    ("24.3", feature_first, "rows lie together"),
    ("24.4", lambda n, w: tuple(slots(n, w)), "give a list"),
    ("24.4", lambda n, w: [*range(max(0, n - w), n)] + [None] * (w - n), "overwrites in place"),
    ("24.4", lambda n, w: [*range(min(n, w))] + [None] * (w - n), "the oldest tokens"),
    ("24.4", lambda n, w: [None if t is None else t + 1 for t in slots(n, w)], "count from 0"),
    ("24.4", lambda n, w: slots(n, w) if n >= w else [0] * w, "holds None"),
    ("24.4", lambda n, w: [7] * w, "expected [4, 5, 2, 3]"),
    ("24.5", lambda w, c, f, b, bw, r: [1], "give a number"),
    ("24.5", lambda w, c, f, b, bw, r: (w + b * c) / bw + b * f / r, "not the sum"),
    ("24.5", lambda w, c, f, b, bw, r: least(b * w, c, f, b, bw, r), "read once"),
    ("24.5", lambda w, c, f, b, bw, r: max((w + c) / bw, b * f / r), "a cache of its own"),
    ("24.5", lambda w, c, f, b, bw, r: max((w + b * c) / bw, f / r), "those of one sequence"),
    ("24.5", lambda w, c, f, b, bw, r: least(w, 0, f, b, bw, r), "the cache is read too"),
    ("24.5", lambda w, c, f, b, bw, r: (w + b * c) / bw, "time of reading alone"),
    ("24.5", lambda w, c, f, b, bw, r: b * f / r, "computing alone"),
    ("24.5", lambda w, c, f, b, bw, r: min((w + b * c) / bw, b * f / r), "the smaller of the two"),
    ("24.5", lambda *a: print(least(*a)), "return the number, do not print it"),
    ("24.5", lambda *a: least(*a) / a[3], "per sequence"),
    ("24.5", lambda *a: torch.tensor(99.0), "expected 14.0"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)
