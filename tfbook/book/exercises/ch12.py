"""Checkers of chapter 12, relative positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_tensor, compare


def check_rotate_halves(fn: Callable[..., Any]) -> None:
    """Exercise 12.1."""
    x = _random(5, 8)
    t = torch.tensor([3, 0, 11, 4, 7])
    given = as_tensor(fn(x.clone(), t.clone()), (5, 8))
    angle = _angles(t, 8)
    a, b = x.chunk(2, dim=1)
    c, s = angle.cos(), angle.sin()
    first = a * c - b * s
    neighbours = torch.view_as_complex(x.view(5, 4, 2).contiguous())
    counted = _angles(torch.arange(5), 8)
    mistakes = {
        "your pairs are neighbours (2i, 2i + 1): here they are i and i + d/2": torch.view_as_real(
            neighbours * torch.polar(torch.ones_like(angle), angle)
        ).flatten(1),
        "you turn the wrong way: both sines need the other sign": _turn(x, -angle),
        "the sine of the first half has the wrong sign: it is a cos - b sin": torch.cat(
            [a * c + b * s, a * s + b * c], dim=1
        ),
        "the sine of the second half has the wrong sign: it is a sin + b cos": torch.cat(
            [first, b * c - a * s], dim=1
        ),
        "the right numbers in another order: first all of the first half, then all of the second "
        "(cat, not stack and flatten)": torch.stack([first, a * s + b * c], dim=2).flatten(1),
        "the second half is computed from the new a: keep the old one until both are done": (
            torch.cat([first, first * s + b * c], dim=1)
        ),
        "all pairs turn by the same angle: pair i has frequency 10000^(-2i/d)": _turn(
            x, t.double()[:, None].expand(5, 4)
        ),
        "positions are given in t: yours are 0, 1, 2, …": _turn(x, counted),
        "the exponent is -2i/d: yours lacks the 2": _turn(
            x, t[:, None] * 10_000.0 ** (-torch.arange(4).double() / 8)
        ),
        "the frequencies grow with i: the exponent is negative": _turn(
            x, t[:, None] * 10_000.0 ** (torch.arange(4).double() / 4)
        ),
        "x came back as it was: turn it": x,
    }
    compare(given, _turn(x, angle), mistakes)


def check_alibi_bias(fn: Callable[..., Any]) -> None:
    """Exercise 12.2."""
    n, slope = 4, 0.3  # no power of two and not 1 / n, either of which a reader may have written
    given = as_tensor(fn(n, slope), (n, n))
    place = torch.arange(float(n), dtype=torch.float64)
    offset = place[None] - place[:, None]  # key minus query
    later = offset > 0
    right = (slope * offset).masked_fill(later, -math.inf)
    mistakes = {
        "far keys are raised: the bias is minus slope times distance": (
            -slope * offset
        ).masked_fill(later, -math.inf),
        "rows are queries and columns keys: transpose it": right.T,
        "later keys are not hidden: give -inf there": slope * offset,
        "later keys get the symmetric bias: give -inf there": -slope * offset.abs(),
        "later keys get 0: give -inf there": (slope * offset).masked_fill(later, 0.0),
        "you divide by the slope: multiply the distance by it": (offset / slope).masked_fill(
            later, -math.inf
        ),
        "each token sees itself: the diagonal is 0, not -inf": right.masked_fill(
            offset == 0, -math.inf
        ),
        "the distance of a token to itself is 0, not 1": (slope * (offset - 1)).masked_fill(
            later, -math.inf
        ),
    }
    compare(given, right, mistakes)


def check_bucket(fn: Callable[..., Any]) -> None:
    """Exercise 12.3."""
    for n, most in ((8, 16), (32, 128)):
        right = [_bucket(r, n, most) for r in range(300)]
        given = [fn(r, n, most) for r in range(300)]
        strange = [b for b in given if not isinstance(b, int)]
        if strange:
            raise Wrong(f"a bucket is an int, not {type(strange[0]).__name__}: use math.floor")
        if given == right:
            continue
        mistakes = {
            "far distances need a last bucket: take the minimum with n - 1": [
                _bucket(r, n, most, last=None) for r in range(300)
            ],
            "only half of the buckets hold one distance each: e = n / 2": [
                min(r, n - 1) for r in range(300)
            ],
            "round down, not up": [_bucket(r, n, most, by=math.ceil) for r in range(300)],
            "round down, not to the nearest": [_bucket(r, n, most, by=round) for r in range(300)],
            "that is the rule of an encoder: in a decoder all n buckets look back": [
                _bucket(r, n // 2, most) for r in range(300)
            ],
            "divide by log(max_distance / e): yours divides by log(max_distance)": [
                r if r < n // 2 else min(n - 1, n // 2 + math.floor(_wide(r, n, most)))
                for r in range(300)
            ],
            "the wide buckets start at bucket e: add e": [
                b if r < n // 2 else min(b - n // 2, n - 1)
                for r, b in enumerate(_bucket(r, n, most, last=None) for r in range(300))
            ],
        }
        for diagnosis, wrong in mistakes.items():
            if given == wrong:
                raise Wrong(diagnosis)
        r = next(r for r in range(300) if given[r] != right[r])
        raise Wrong(
            f"with n={n} and max_distance={most} distance {r} is in bucket {right[r]}, "
            f"yours says {given[r]}"
        )


def check_shaw_scores(fn: Callable[..., Any]) -> None:
    """Exercise 12.4."""
    n, d, m = 6, 3, 2
    q, k, table = _random(n, d), _random(n, d, seed=1), _random(2 * m + 1, d, seed=2)
    given = as_tensor(fn(q.clone(), k.clone(), table.clone()), (n, n))
    place = torch.arange(n)
    offset = place[None] - place[:, None]
    content = q @ k.T

    def with_rows(rows: Tensor) -> Tensor:
        return content + torch.einsum("sd,std->st", q, table[rows])

    right = with_rows(offset.clamp(-m, m) + m)
    mistakes = {
        "rows are queries: transpose it": right.T,
        "the offset is key minus query: yours has the other sign": with_rows(
            (-offset).clamp(-m, m) + m
        ),
        "the keys are missing: add q · k": right - content,
        "the vectors for the offsets are missing": content,
        "offsets beyond m wrap around: clip them": with_rows(offset % (2 * m + 1)),
        "row 0 belongs to offset -m: add m to the offset": with_rows(offset.clamp(-m, m)),
        "the exercise leaves out the division by the root of d": right / math.sqrt(d),
        "the key meets the table: it is the query's product with it": content
        + torch.einsum("td,std->st", k, table[offset.clamp(-m, m) + m]),
    }
    compare(given, right, mistakes)


def check_kind_of_scheme(fn: Callable[..., Any]) -> None:
    """Exercise 12.5."""
    q, k = _random(6, 8), _random(6, 8, seed=1)

    def rotary(places: Tensor) -> Tensor:
        angle = _angles(places, 8)
        return _turn(q, angle) @ _turn(k, angle).T

    def added(places: Tensor) -> Tensor:
        angle = _angles(places, 8)
        code = torch.cat([angle.sin(), angle.cos()], dim=1)
        return (q + code) @ (k + code).T

    def query_only(places: Tensor) -> Tensor:
        return _turn(q, _angles(places, 8)) @ k.T

    def linear(places: Tensor) -> Tensor:
        distance = places[:, None] - places[None]
        return q @ k.T - 0.1 * distance.abs()

    cases: tuple[tuple[str, Callable[[Tensor], Tensor], str], ...] = (
        ("scores without positions", lambda places: q @ k.T, "none"),
        ("rotary scores", rotary, "relative"),
        ("a linear bias", linear, "relative"),
        ("added codes", added, "absolute"),
        ("turning the query alone", query_only, "absolute"),
    )
    for name, scores, right in cases:
        given = fn(scores)
        if given not in ("none", "relative", "absolute"):
            raise Wrong(f"give 'none', 'relative' or 'absolute', not {given!r}")
        if given == right:
            continue
        if right == "none":
            raise Wrong(
                f"{name}: you say {given}. A shift changes nothing here either: also try "
                "positions in another order"
            )
        if given == "none":
            raise Wrong(
                f"{name}: you say none. A shift and a reversal keep the distances: also try "
                "positions with other gaps, such as 0, 1, 3, 7, …"
            )
        if right == "absolute":
            raise Wrong(f"{name} is absolute, you say relative: shift all positions and compare")
        raise Wrong(f"{name} is relative, you say absolute: shift every position by one number")


def _random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _angles(t: Tensor, d: int) -> Tensor:
    return t.double()[:, None] * 10_000.0 ** (-2 * torch.arange(d // 2).double() / d)


def _turn(x: Tensor, angle: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    c, s = angle.cos(), angle.sin()
    return torch.cat([a * c - b * s, a * s + b * c], dim=1)


def _bucket(
    r: int,
    n: int,
    most: int,
    *,
    last: int | None = 1,
    by: Callable[[float], int] = math.floor,
) -> int:
    e = n // 2
    if r < e:
        return r
    b = e + by((n - e) * math.log2(r / e) / math.log2(most / e))
    return b if last is None else min(n - 1, b)


def _wide(r: int, n: int, most: int) -> float:
    """The wide bucket with the wrong logarithms: of r and of most."""
    e = n // 2
    return (n - e) * math.log2(r) / math.log2(most)


CHECKERS = {
    "12.1": check_rotate_halves,
    "12.2": check_alibi_bias,
    "12.3": check_bucket,
    "12.4": check_shaw_scores,
    "12.5": check_kind_of_scheme,
}
