"""The checkers of chapter 12 name the mistake that was made."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from exercise_answers import answer_tests
from torch import Tensor


def rotate(x: Tensor, t: Tensor, *, power: float = -2.0, sign: float = 1.0) -> Tensor:
    d = x.shape[1]
    angle = t[:, None] * 10_000.0 ** (power * torch.arange(d // 2).double() / d)
    z = torch.complex(*x.chunk(2, dim=1)) * torch.polar(torch.ones_like(angle), sign * angle)
    return torch.cat([z.real, z.imag], dim=1)


def neighbours(x: Tensor, t: Tensor) -> Tensor:
    d = x.shape[1]
    order = torch.arange(d).view(2, -1).T.flatten()  # 0, d/2, 1, …
    return rotate(x[:, order.argsort()], t)[:, order]


def halves(x: Tensor, t: Tensor, *, first: float = 1.0, second: float = 1.0) -> list[Tensor]:
    """The two halves, with the sign of one sine changed."""
    d = x.shape[1]
    angle = t[:, None] * 10_000.0 ** (-2 * torch.arange(d // 2).double() / d)
    a, b = x.chunk(2, dim=1)
    c, s = angle.cos(), angle.sin()
    return [a * c - first * b * s, second * a * s + b * c]


def overwritten(x: Tensor, t: Tensor) -> Tensor:
    first, second = halves(x, t)
    d = x.shape[1]
    s = (t[:, None] * 10_000.0 ** (-2 * torch.arange(d // 2).double() / d)).sin()
    return torch.cat([first, second + (first - x[:, : d // 2]) * s], dim=1)


def one_angle(x: Tensor, t: Tensor) -> Tensor:
    return rotate(x, t, power=0.0)


def alibi(n: int, slope: float, *, hide: bool = True) -> Tensor:
    place = torch.arange(float(n))
    bias = -slope * (place[:, None] - place)
    return bias.masked_fill(bias > 0, -math.inf) if hide else bias


def later_is(n: int, slope: float, value: Tensor | float) -> Tensor:
    bias = alibi(n, slope, hide=False)
    return torch.where(bias > 0, torch.as_tensor(value), bias)


def bucket(
    r: int, n: int, most: int, *, by: Callable[[float], int] = math.floor, cap: bool = True
) -> int:
    e = n // 2
    if r < e:
        return r
    b = e + by((n - e) * math.log2(r / e) / math.log2(most / e))
    return min(b, n - 1) if cap else b


def without_e(r: int, n: int, most: int) -> int:
    e = n // 2
    return r if r < e else min(bucket(r, n, most, cap=False) - e, n - 1)


def other_logarithms(r: int, n: int, most: int) -> int:
    e = n // 2
    return r if r < e else min(n - 1, e + math.floor((n - e) * math.log(r) / math.log(most)))


def products_with_infinity(n: int, slope: float) -> Tensor:
    """-inf times zero, as with a mask that is multiplied."""
    return alibi(n, slope) + torch.ones(n, n).triu(1) * -math.inf


def shaw(q: Tensor, k: Tensor, table: Tensor, *, sign: int = 1, content: bool = True) -> Tensor:
    m = len(table) // 2
    place = torch.arange(len(q))
    rows = (sign * (place[None] - place[:, None])).clamp(-m, m) + m
    bias = (q @ table.T).gather(1, rows)
    return bias + q @ k.T if content else bias


def wrapped(q: Tensor, k: Tensor, table: Tensor) -> Tensor:
    place = torch.arange(len(q))
    rows = (place[None] - place[:, None]) % len(table)
    return q @ k.T + (q @ table.T).gather(1, rows)


def unshifted(q: Tensor, k: Tensor, table: Tensor) -> Tensor:
    m, place = len(table) // 2, torch.arange(len(q))
    rows = (place[None] - place[:, None]).clamp(-m, m) % len(table)
    return q @ k.T + (q @ table.T).gather(1, rows)


def key_meets_table(q: Tensor, k: Tensor, table: Tensor) -> Tensor:
    m, place = len(table) // 2, torch.arange(len(q))
    rows = (place[None] - place[:, None]).clamp(-m, m) + m
    return q @ k.T + (k @ table.T).gather(1, rows.T).T


def kind(scores: Callable[[Tensor], Tensor]) -> str:
    places = torch.arange(6)
    first = scores(places)
    if torch.allclose(first, scores(places.flip(0)), atol=1e-6) and torch.allclose(
        first, scores(torch.tensor([3, 0, 5, 1, 4, 2])), atol=1e-6
    ):
        return "none"
    return "relative" if torch.allclose(first, scores(places + 9), atol=1e-6) else "absolute"


def shift_only(scores: Callable[[Tensor], Tensor]) -> str:
    places = torch.arange(6)
    return "none" if torch.allclose(scores(places), scores(places + 9)) else "absolute"


def never_none(scores: Callable[[Tensor], Tensor]) -> str:
    return "relative" if kind(scores) != "absolute" else "absolute"


def reversal_only(scores: Callable[[Tensor], Tensor]) -> str:
    places = torch.arange(6)
    return "none" if torch.allclose(scores(places), scores(places.flip(0))) else kind(scores)


def no_shift(scores: Callable[[Tensor], Tensor]) -> str:
    return "relative" if kind(scores) != "none" else "none"


def no_relative(scores: Callable[[Tensor], Tensor]) -> str:
    return "absolute" if kind(scores) != "none" else "none"


RIGHT = {"12.1": rotate, "12.2": alibi, "12.3": bucket, "12.4": shaw, "12.5": kind}
WRONG = [
    ("12.1", lambda x, t: rotate(x, t).tolist(), "give a tensor"),
    ("12.1", lambda x, t: rotate(x, t)[None], "the shape is"),
    ("12.1", neighbours, "your pairs are neighbours"),
    ("12.1", lambda x, t: rotate(x, t, sign=-1.0), "both sines"),
    ("12.1", lambda x, t: torch.cat(halves(x, t, first=-1.0), 1), "first half has the wrong sign"),
    ("12.1", lambda x, t: torch.cat(halves(x, t, second=-1.0), 1), "second half has the wrong"),
    ("12.1", lambda x, t: torch.stack(halves(x, t), dim=2).flatten(1), "another order"),
    ("12.1", overwritten, "the new a"),
    ("12.1", lambda x, t: rotate(x, t) + torch.eye(*x.shape), "5 of 40 entries differ, first [0"),
    ("12.1", one_angle, "the same angle"),
    ("12.1", lambda x, t: rotate(x, torch.arange(len(x))), "positions are given"),
    ("12.1", lambda x, t: rotate(x, t, power=-1.0), "lacks the 2"),
    ("12.1", lambda x, t: rotate(x, t, power=2.0), "is negative"),
    ("12.1", lambda x, t: x, "as it was"),
    ("12.2", lambda n, m: alibi(n, m)[0], "the shape is"),
    ("12.2", lambda n, m: torch.where(alibi(n, m) > -9, -alibi(n, m), -math.inf), "raised"),
    ("12.2", lambda n, m: alibi(n, m).T, "transpose"),
    ("12.2", lambda n, m: alibi(n, 1 / n), "expected [["),
    ("12.2", lambda n, m: alibi(n, 2 ** (-8 / n)), "expected [["),
    ("12.2", lambda n, m: alibi(n, m, hide=False), "not hidden"),
    ("12.2", lambda n, m: -alibi(n, m, hide=False).abs(), "symmetric"),
    ("12.2", lambda n, m: later_is(n, m, 0.0), "get 0"),
    ("12.2", lambda n, m: alibi(n, 1 / m), "divide"),
    ("12.2", lambda n, m: alibi(n, m) - m, "to itself is 0"),
    ("12.2", lambda n, m: alibi(n, m) - torch.eye(n) * math.inf, "entries are not a number"),
    ("12.2", lambda n, m: alibi(n, m).masked_fill(torch.eye(n) > 0, -math.inf), "sees itself"),
    ("12.2", products_with_infinity, "0 · inf is NaN"),
    ("12.3", lambda r, n, most: float(bucket(r, n, most)), "an int"),
    ("12.3", lambda r, n, most: bucket(r, n, most, by=float), "not float"),
    ("12.3", lambda r, n, most: bucket(r, n, most, cap=False), "a last bucket"),
    ("12.3", lambda r, n, most: min(r, n - 1), "half of the buckets"),
    ("12.3", lambda r, n, most: bucket(r, n, most, by=math.ceil), "not up"),
    ("12.3", lambda r, n, most: bucket(r, n, most, by=round), "not to the nearest"),
    ("12.3", lambda r, n, most: bucket(r, n // 2, most), "rule of an encoder"),
    ("12.3", other_logarithms, "divide by log(max_distance / e)"),
    ("12.3", without_e, "add e"),
    ("12.3", lambda r, n, most: 0, "distance 1 is in bucket 1, yours says 0"),
    ("12.4", lambda q, k, a: shaw(q, k, a)[0], "the shape is"),
    ("12.4", lambda q, k, a: shaw(q, k, a).T, "transpose"),
    ("12.4", lambda q, k, a: shaw(q, k, a, sign=-1), "the other sign"),
    ("12.4", lambda q, k, a: shaw(q, k, a, content=False), "the keys are missing"),
    ("12.4", lambda q, k, a: q @ k.T, "offsets are missing"),
    ("12.4", wrapped, "wrap around"),
    ("12.4", unshifted, "add m"),
    ("12.4", lambda q, k, a: shaw(q, k, a) / math.sqrt(q.shape[1]), "the root"),
    ("12.4", key_meets_table, "the key meets the table"),
    ("12.5", lambda scores: True, "give 'none'"),
    ("12.5", never_none, "in another order"),
    ("12.5", shift_only, "such as 0, 1, 3, 7"),
    ("12.5", reversal_only, "such as 0, 1, 3, 7"),
    ("12.5", no_shift, "shift all positions"),
    ("12.5", no_relative, "by one number"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)
