"""Checkers of chapter 16, counting cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfbook.book.exercises import Wrong
from tfbook.evaluation import Workload, attention_cost

Mistakes = dict[str, int]


def check_attention_flops(fn: Callable[..., Any]) -> None:
    """Exercise 16.1."""
    for n, d in ((7, 5), (5, 11), (512, 512)):
        squares, products = n * d * d, n * n * d
        mistakes = {
            "that counts multiply-adds: each is two FLOPs, a product and a sum": 4 * squares
            + 2 * products,
            "that is the scores and the mixing of the values: the four projections are missing": 4
            * products,
            "that is the four projections: the scores and the mixing are missing": 8 * squares,
            "three projections are in it: the output has one too": 6 * squares + 4 * products,
            "one product of n × n is in it: besides the scores there is the mixing of the values": 8
            * squares
            + 2 * products,
            "that is a forward and a backward pass: give the forward pass": 3
            * (8 * squares + 4 * products),
            "a causal layer may skip half of its scores, but here all count": 8 * squares
            + 2 * (products + squares // d),
        }
        right = 2 * attention_cost(Workload(n=n), d_model=d, n_heads=1).multiply_adds
        _compare(f"attention_flops({n}, {d})", fn(n, d), right, mistakes)


def check_cache_bytes(fn: Callable[..., Any]) -> None:
    """Exercise 16.2."""
    for given in ((11, 60, 12, 3, 7, 5, 4), (5, 66, 6, 1, 4, 3, 8)):
        n, d, n_heads, n_kv_heads, n_layers, batch, element_size = given
        d_head = d // n_heads
        right = 2 * n * n_kv_heads * d_head * n_layers * batch * element_size
        mistakes = {
            "keys and values are both kept: twice as much": right // 2,
            "that has keys and values for every query head: n_kv_heads of them are kept": right
            * n_heads
            // n_kv_heads,
            "every layer has a cache of its own": right // n_layers,
            "that counts numbers: give bytes": right // element_size,
            "every sequence of the batch has a cache of its own": right // batch,
            "that has heads of width d: a head is d // n_heads wide": right * n_heads,
            "the cache grows with n, not with its square: keys and values are kept, no scores": n
            * right,
        }
        _compare(f"cache_bytes{given}", fn(*given), right, mistakes)


def check_crossover(fn: Callable[..., Any]) -> None:
    """Exercise 16.3."""
    for d, k in ((8, 9), (8, 7), (5, 10), (5, 7), (64, 3), (64, 4), (512, 31)):
        right = max(1, (k - 4) * d // 2 + 1)
        mistakes = {
            "there the two are equal (or not yet): more is asked for": right - 1,
            "that compares the two products alone: the layer has four projections": k * d // 2 + 1,
            "scores and mixing are two products of n × n × d, not one": max(1, (k - 4) * d + 1),
            "the projections are four, with that of the output": max(1, (k - 3) * d // 2 + 1),
            "with a small kernel attention costs more at every length, and n is at least 1": (k - 4)
            * d
            // 2
            + 1,
        }
        _compare(f"crossover({d}, {k})", fn(d, k), right, mistakes)


def check_dilations(fn: Callable[..., Any]) -> None:
    """Exercise 16.4."""
    for n, k in ((27, 3), (28, 3), (1, 2), (2, 5), (125, 5), (1024, 2), (243, 3)):
        call, given = f"dilations({n}, {k})", fn(n, k)
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise Wrong(f"give a list with one number per layer; got {type(given).__name__}")
        if any(isinstance(x, bool) or not isinstance(x, int) for x in given):
            raise Wrong(f"{call}: give whole numbers (int); got {list(given)}")
        given = list(given)
        right: list[int] = []
        while k ** len(right) < n:
            right.append(k ** len(right))
        if given == right:
            continue
        seen = 1 + (k - 1) * sum(given)
        if given and set(given) == {1}:
            raise Wrong(f"{call}: all are 1, the layers have no gaps; let them grow by k = {k}")
        if given[:1] == [k]:
            raise Wrong(f"{call}: the first layer reads neighbours; begin with 1, not with k")
        if k > 2 and given[:2] == [1, 2]:
            raise Wrong(f"{call}: these grow by 2; a causal kernel of {k} allows a factor of k")
        if seen < n:
            raise Wrong(
                f"{call}: the last output sees {seen} of {n} inputs; count the positions, and mind"
                " that L layers see k to the L"
            )
        if given[: len(right)] == right:
            raise Wrong(
                f"{call}: {len(given)} layers, but {len(right)} are enough; a logarithm of floats"
                " may be a hair above a whole number"
            )
        raise Wrong(f"{call}: got {given}, expected {right}")


def check_decoder_work(fn: Callable[..., Any]) -> None:
    """Exercise 16.5."""
    for m, n, d, n_layers in ((2, 3, 4, 1), (5, 13, 8, 3), (7, 3, 6, 2)):
        own, cross = m * m * d, m * n * d
        right = n_layers * (2 * own + 2 * cross + 14 * m * d * d + 2 * n * d * d)
        mistakes = {
            "the projections of the encoder's output are missing: each layer makes keys and values"
            " of its n tokens": right - n_layers * 2 * n * d * d,
            "every layer projects the encoder's output with matrices of its own": right
            - (n_layers - 1) * 2 * n * d * d,
            "keys and values of cross-attention come from the n tokens of the encoder's output, not"
            " from the m of the target": n_layers * (2 * own + 2 * cross + 16 * m * d * d),
            "that is an encoder block: cross-attention is missing": n_layers
            * (2 * own + 12 * m * d * d),
            "the feed-forward layer has two maps, up and down": right - n_layers * 4 * m * d * d,
            "the feed-forward layer is missing": right - n_layers * 8 * m * d * d,
            "that counts FLOPs: a multiply-add is two": 2 * right,
            "cross-attention also projects the m target tokens: queries and output": right
            - n_layers * 2 * m * d * d,
            "cross-attention has scores and mixing too: 2mnd": right - n_layers * cross,
            "in cross-attention m queries meet n keys: mn, not n²": right
            + n_layers * 2 * (n * n * d - cross),
            "scores and mixing are two products each": right - n_layers * (own + cross),
            "the layers are missing: there are n_layers of them": right // n_layers,
        }
        _compare(f"decoder_work{(m, n, d, n_layers)}", fn(m, n, d, n_layers), right, mistakes)


def _compare(call: str, given: object, right: int, mistakes: Mistakes) -> None:
    if isinstance(given, float) and given.is_integer():
        raise Wrong(f"{call}: got the float {given}; give a whole number, with // for divisions")
    if isinstance(given, bool) or not isinstance(given, int):
        raise Wrong(f"{call}: give a whole number (int); got {type(given).__name__}")
    if given == right:
        return
    for message, value in mistakes.items():
        if given == value:
            raise Wrong(f"{call}: {message}")
    raise Wrong(f"{call}: got {given:,}, expected {right:,}")


CHECKERS = {
    "16.1": check_attention_flops,
    "16.2": check_cache_bytes,
    "16.3": check_crossover,
    "16.4": check_dilations,
    "16.5": check_decoder_work,
}
