"""Checkers of chapter 24, the cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_tensor, compare


def check_size_of_cache(fn: Callable[..., Any]) -> None:
    """Exercise 24.1."""
    for sizes in ((3, 8, 2, 5, 7, 11, 4), (2, 6, 6, 3, 13, 1, 2), (5, 4, 1, 7, 1, 3, 2)):
        names = ("n_layers", "n_heads", "n_kv_heads", "d_head", "n", "batch", "bytes_each")
        layers, heads, kv, d_head, n, batch, each = sizes
        right = 2 * layers * kv * d_head * n * batch * each
        mistakes = {
            "keys and values are two tensors: the factor 2 is missing": right / 2,
            "those are the query heads: only heads of keys and values are kept": right / kv * heads,
            "that is one layer: multiply by n_layers": right / layers,
            "that is one sequence: multiply by batch": right / batch,
            "those are numbers, not bytes: multiply by bytes_each": right / each,
            "that is one token: multiply by n": right / n,
            "scores are not kept: the cache grows with n, not with n²": right * n,
        }
        _number(fn(**dict(zip(names, sizes, strict=True))), right, mistakes)


def check_cached_step(fn: Callable[..., Any]) -> None:
    """Exercise 24.2."""
    n, d = 5, 3
    generator = torch.Generator().manual_seed(0)
    q, k, v, keys, values = (
        2 * torch.randn(rows, d, generator=generator, dtype=torch.float64)
        for rows in (1, 1, 1, n, n)
    )
    given = fn(*(x.clone() for x in (q, k, v, keys, values)))
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise Wrong("give three tensors: output, keys, values")
    all_keys, all_values = torch.cat([keys, k]), torch.cat([values, v])
    for name, kept, right, first in (
        ("keys", given[1], all_keys, torch.cat([k, keys])),
        ("values", given[2], all_values, torch.cat([v, values])),
    ):
        if isinstance(kept, Tensor) and kept.shape == (n, d):
            raise Wrong(f"the new token's {name} are not kept: the next token needs them")
        found = as_tensor(kept, (n + 1, d))
        compare(found, right, {f"new {name} go behind the others, not before them": first})
    _compare_output(as_tensor(given[0], (1, d)), q, (keys, values), (all_keys, all_values))


def _compare_output(
    output: Tensor, q: Tensor, old: tuple[Tensor, Tensor], both: tuple[Tensor, Tensor]
) -> None:
    scale = q.shape[1] ** 0.5
    scores = q @ both[0].T / scale
    mistakes = {
        "the new token does not see itself: append its key before the scores": (
            (q @ old[0].T / scale).softmax(-1) @ old[1]
        ),
        "the scores are not divided by √d": (q @ both[0].T).softmax(-1) @ both[1],
        "the scores are divided by d: take its root": (q @ both[0].T / scale**2).softmax(-1)
        @ both[1],
        "softmax is over the wrong axis: its weights sum to one over the keys": scores.softmax(0)
        @ both[1],
        "there is no softmax": scores @ both[1],
        "the weights average the values, not the keys": scores.softmax(-1) @ both[0],
    }
    compare(output, scores.softmax(-1) @ both[1], mistakes)


def check_pooled_keys(fn: Callable[..., Any]) -> None:
    """Exercise 24.3."""
    generator = torch.Generator().manual_seed(0)
    for n_heads, n_kv, d_head, d_model in ((6, 2, 5, 7), (4, 4, 3, 5), (6, 1, 2, 3)):
        w_k = torch.randn(n_heads * d_head, d_model, generator=generator, dtype=torch.float64)
        given = as_tensor(fn(w_k.clone(), n_heads, n_kv), (n_kv * d_head, d_model))
        heads = w_k.view(n_heads, d_head, d_model)
        groups = heads.view(n_kv, n_heads // n_kv, d_head, d_model)
        by_turns = heads.view(n_heads // n_kv, n_kv, d_head, d_model)
        interleaved = w_k.view(d_head, n_kv, n_heads // n_kv, d_model)
        mistakes = {
            "that keeps the first head of each group: take the mean": groups[:, 0],
            "that is the sum: divide by the heads of a group": groups.sum(1),
            "heads that share are neighbours: yours are n_kv_heads apart": by_turns.mean(0),
            "a head's rows lie together: the first axis is (head, feature), not (feature, head)": (
                interleaved.mean(2).transpose(0, 1)
            ),
        }
        flat = {words: wrong.reshape(given.shape) for words, wrong in mistakes.items()}
        compare(given, groups.mean(1).reshape(given.shape), flat)


def check_ring_slots(fn: Callable[..., Any]) -> None:
    """Exercise 24.4."""
    for n, window in ((6, 4), (2, 5), (4, 4), (11, 3), (0, 2)):
        right: list[int | None] = [None] * window
        for t in range(n):
            right[t % window] = t
        given = fn(n, window)
        if not isinstance(given, list) or len(given) != window:
            raise Wrong(f"give a list of window={window} entries, one for each slot")
        if given == right:
            continue
        newest = list(range(max(0, n - window), n))
        if [x for x in given if x is not None] == newest and newest != right:
            raise Wrong(
                "those are in order: a ring overwrites in place, token t goes to t % window"
            )
        if given == [*range(min(n, window)), *[None] * (window - min(n, window))]:
            raise Wrong("those are the oldest tokens: a new one takes the place of the oldest")
        if given == [x + 1 if x is not None else None for x in right]:
            raise Wrong("tokens count from 0")
        if n < window and None not in given:
            raise Wrong("a slot that nothing was written to holds None")
        raise Wrong(f"n={n}, window={window}: got {given}, expected {right}")


def check_least_time(fn: Callable[..., Any]) -> None:
    """Exercise 24.5."""
    for case in ((100, 20, 50, 2, 10, 50), (100, 1, 90, 7, 50, 30), (60, 35, 8, 5, 3, 90)):
        weights, cache, flops, batch, bandwidth, rate = case
        read, compute = (weights + batch * cache) / bandwidth, batch * flops / rate
        mistakes = {
            "reading and computing overlap: take the larger, not the sum": read + compute,
            "the weights are read once for all sequences": max(
                batch * (weights + cache) / bandwidth, compute
            ),
            "each sequence reads a cache of its own: multiply it by batch": max(
                (weights + cache) / bandwidth, compute
            ),
            "the operations are those of one sequence: multiply them by batch": max(
                read, flops / rate
            ),
            "the cache is read too": max(weights / bandwidth, compute),
            "that is the time of reading alone: computing may take longer": read,
            "that is the time of computing alone: reading may take longer": compute,
            "that is the smaller of the two: neither can be beaten": min(read, compute),
            "that is the time per sequence: a step serves all of them": max(read, compute) / batch,
        }
        _number(fn(*case), max(read, compute), mistakes)


def _number(given: object, right: float, mistakes: dict[str, float]) -> None:
    if isinstance(given, Tensor):
        given = given.item()
    if not isinstance(given, int | float):
        raise Wrong(f"give a number, not {type(given).__name__}")
    compare(torch.tensor(float(given), dtype=torch.float64), float(right), mistakes)


CHECKERS = {
    "24.1": check_size_of_cache,
    "24.2": check_cached_step,
    "24.3": check_pooled_keys,
    "24.4": check_ring_slots,
    "24.5": check_least_time,
}
