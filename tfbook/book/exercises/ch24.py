"""Checkers of chapter 24, the cache of keys and values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_number, as_tensor, compare, explained, same

Formula = Callable[..., float]


def check_size_of_cache(fn: Callable[..., Any]) -> None:
    """Exercise 24.1."""
    names = ("n_layers", "n_heads", "n_kv_heads", "d_head", "n", "batch", "bytes_each")
    cases = [
        dict(zip(names, sizes, strict=True))
        for sizes in ((3, 8, 2, 5, 7, 11, 4), (2, 6, 6, 3, 13, 1, 2), (5, 4, 1, 7, 1, 3, 2))
    ]
    queries = "queries are not kept: two tensors stay, keys and values, and not three"

    def right(**s: int) -> int:
        return 2 * math.prod(s.values()) // s["n_heads"]

    def times(change: Callable[[dict[str, int]], float]) -> Formula:
        return lambda **s: change(s) * right(**s)

    mistakes = [
        ("keys and values are two tensors: the factor 2 is missing", times(lambda s: 1 / 2)),
        (queries, times(lambda s: 3 / 2)),
        (queries, times(lambda s: 1 + s["n_heads"] / s["n_kv_heads"] / 2)),
        (
            "those are the query heads: only heads of keys and values are kept",
            times(lambda s: s["n_heads"] / s["n_kv_heads"]),
        ),
        ("that is one feature of a head: multiply by d_head", times(lambda s: 1 / s["d_head"])),
        ("that is one head: multiply by n_kv_heads", times(lambda s: 1 / s["n_kv_heads"])),
        ("that is one layer: multiply by n_layers", times(lambda s: 1 / s["n_layers"])),
        ("that is one sequence: multiply by batch", times(lambda s: 1 / s["batch"])),
        (
            "those are numbers, not bytes: multiply by bytes_each",
            times(lambda s: 1 / s["bytes_each"]),
        ),
        ("that is one token: multiply by n", times(lambda s: 1 / s["n"])),
        ("scores are not kept: the cache grows with n, not with n²", times(lambda s: s["n"])),
    ]
    given = _compare_numbers(fn, cases, right, mistakes)
    if any(isinstance(x, float) for x in given):
        raise Wrong(
            "the value is right, but bytes are counted: give an int, not a float (is there a "
            "division with /?)"
        )


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
    both = torch.cat([keys, k]), torch.cat([values, v])
    _compare_kept(
        "keys",
        given[1],
        both[0],
        {
            "new keys go behind the others, not before them": torch.cat([k, keys]),
            "keys and values are swapped: the order is output, keys, values": both[1],
            "the new value was appended to the keys: append k to keys": torch.cat([keys, v]),
        },
    )
    _compare_kept(
        "values",
        given[2],
        both[1],
        {
            "new values go behind the others, not before them": torch.cat([v, values]),
            "those are the keys again: the third tensor holds the values": both[0],
            "the new key was appended to the values: append v to values": torch.cat([values, k]),
        },
    )
    _compare_output(as_tensor(given[0], (1, d)), q, (keys, values), both)


def _compare_kept(name: str, kept: object, right: Tensor, mistakes: dict[str, Tensor]) -> None:
    n, d = right.shape
    if isinstance(kept, Tensor) and kept.shape == (n - 1, d):
        raise Wrong(f"the new token's {name} are not kept: the next token needs them")
    compare(as_tensor(kept, (n, d)), right, mistakes)


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
        "keys and values are swapped: the query meets the keys, the weights average the values": (
            (q @ both[1].T / scale).softmax(-1) @ both[0]
        ),
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
            "that keeps the last head of each group: take the mean": groups[:, -1],
            "that keeps the first n_kv_heads heads: take the mean of each group": heads[:n_kv],
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
    names = ("weights", "cache", "flops", "batch", "bandwidth", "rate")
    cases = [
        dict(zip(names, sizes, strict=True))
        for sizes in ((100, 20, 50, 2, 10, 50), (100, 1, 90, 7, 50, 30), (60, 35, 8, 5, 3, 90))
    ]

    def read(s: dict[str, int]) -> float:
        return (s["weights"] + s["batch"] * s["cache"]) / s["bandwidth"]

    def compute(s: dict[str, int]) -> float:
        return s["batch"] * s["flops"] / s["rate"]

    def larger(reading: Callable[[dict[str, int]], float] = read, **alone: int) -> Formula:
        return lambda **s: max(reading(s), compute(s | alone))

    mistakes: list[tuple[str, Formula]] = [
        (
            "reading and computing overlap: take the larger, not the sum",
            lambda **s: read(s) + compute(s),
        ),
        (
            "that is the smaller of the two: a step takes as long as the larger",
            lambda **s: min(read(s), compute(s)),
        ),
        (
            "the weights are read once for all sequences",
            larger(lambda s: s["batch"] * (s["weights"] + s["cache"]) / s["bandwidth"]),
        ),
        (
            "each sequence reads a cache of its own: multiply it by batch",
            larger(lambda s: (s["weights"] + s["cache"]) / s["bandwidth"]),
        ),
        ("the operations are those of one sequence: multiply them by batch", larger(batch=1)),
        ("the cache is read too", larger(lambda s: s["weights"] / s["bandwidth"])),
        ("that is the time of reading alone: computing may take longer", lambda **s: read(s)),
        ("that is the time of computing alone: reading may take longer", lambda **s: compute(s)),
        (
            "that is the time per sequence: a step serves all of them",
            lambda **s: max(read(s), compute(s)) / s["batch"],
        ),
    ]
    _compare_numbers(lambda **s: fn(*s.values()), cases, larger(), mistakes)


def _compare_numbers(
    fn: Callable[..., Any],
    cases: Sequence[dict[str, int]],
    right: Formula,
    mistakes: Sequence[tuple[str, Formula]],
) -> list[int | float]:
    """Compare a number for every case, and give the reader's."""
    given = [_number(fn(**case)) for case in cases]
    expected = [float(right(**case)) for case in cases]
    wrong = [i for i in range(len(cases)) if not same(given[i], expected[i])]
    if not wrong:
        return given
    forms = [(diagnosis, _float_of(formula)) for diagnosis, formula in mistakes]
    diagnosis = explained([(case,) for case in cases], given, expected, forms)
    if diagnosis is not None:
        raise Wrong(diagnosis)
    first = wrong[0]
    sizes = ", ".join(f"{name}={size}" for name, size in cases[first].items())
    raise Wrong(f"got {given[first]}, expected {right(**cases[first])} for {sizes}")


def _float_of(formula: Formula) -> Callable[[dict[str, int]], float]:
    return lambda case: float(formula(**case))


def _number(given: object) -> int | float:
    if given is None:
        raise Wrong("the function gives nothing back: return the number, do not print it")
    return as_number(given)


CHECKERS = {
    "24.1": check_size_of_cache,
    "24.2": check_cached_step,
    "24.3": check_pooled_keys,
    "24.4": check_ring_slots,
    "24.5": check_least_time,
}
