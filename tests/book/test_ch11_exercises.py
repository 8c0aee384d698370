"""The checkers of chapter 11 name the mistake that was made."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from exercise_answers import answer_tests
from torch import Tensor


def code(t: float, d: int, *, power: float = 2.0, unit: float = 1.0) -> Tensor:
    angle = unit * t / 10_000.0 ** (power * torch.arange(d // 2).double() / d)
    return torch.stack([angle.sin(), angle.cos()], dim=1).flatten()


def by_column(t: int, d: int) -> Tensor:
    j = torch.arange(d).double()
    angle = t / 10_000 ** (2 * j / d)
    return torch.where(j % 2 == 0, angle.sin(), angle.cos())


def wavelength(j: int, d: int) -> float:
    return 2 * math.pi * 10_000 ** (2 * (j // 2) / d)


def shift(k: int, d: int, *, one_angle: bool = False, minus: float = -1.0) -> Tensor:
    r = torch.zeros(d, d, dtype=torch.float64)
    for i in range(d // 2):
        a = k if one_angle else k / 10_000 ** (2 * i / d)
        s, c = math.sin(a), math.cos(a)
        r[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(
            [[c, s], [minus * s, c]], dtype=torch.float64
        )
    return r


def halves(k: int, d: int) -> Tensor:
    order = [*range(0, d, 2), *range(1, d, 2)]
    return shift(k, d)[order][:, order]


def cosine_first(k: int, d: int) -> Tensor:
    swap = torch.arange(d).view(-1, 2).flip(1).flatten()
    return shift(k, d)[swap][:, swap]


def symmetry(f: Callable, x: Tensor, order: Tensor) -> str:
    y, z = f(x), f(x[order])
    if y.shape == z.shape and torch.allclose(y, z):
        return "invariant"
    if y.ndim == 2 and torch.allclose(y[order], z):
        return "equivariant"
    return "neither"


def inverse(f: Callable, x: Tensor, order: Tensor) -> str:
    y, z = f(x), f(x[order])
    if torch.allclose(y, z):
        return "invariant"
    return "equivariant" if y.ndim == 2 and torch.allclose(y, z[order]) else "neither"


def last_row_only(f: Callable, x: Tensor, order: Tensor) -> str:
    y, z = f(x), f(x[order])
    if y.ndim == 1:
        return "invariant" if torch.allclose(y, z) else "neither"
    return "equivariant" if torch.allclose(y[-1], z[-1]) else "neither"


def sums_only(f: Callable, x: Tensor, order: Tensor) -> str:
    kind = symmetry(f, x, order)
    same = kind == "neither" and torch.allclose(f(x).sum(0), f(x[order]).sum(0))
    return "equivariant" if same and f(x).ndim == 2 else kind


def first_row_only(f: Callable, x: Tensor, order: Tensor) -> str:
    kind = symmetry(f, x, order)
    same = kind == "neither" and f(x).ndim == 2 and torch.allclose(f(x)[order][1], f(x[order])[1])
    return "equivariant" if same else kind


def numbered(real: Tensor) -> Tensor:
    """Rows without a token have no first one to count from."""
    return (torch.arange(real.shape[1]) - real.long().argmax(1, keepdim=True)).clamp(min=0)


def positions(real: Tensor) -> Tensor:
    return (real.long().cumsum(1) - 1).clamp(min=0)


RIGHT = {
    "11.1": code,
    "11.2": wavelength,
    "11.3": shift,
    "11.4": symmetry,
    "11.5": positions,
}
WRONG = [
    ("11.1", lambda t, d: code(t, d).tolist(), "give a tensor"),
    ("11.1", lambda t, d: code(t, d)[None], "the shape is"),
    ("11.1", lambda t, d: code(t, d).view(-1, 2).flip(1).flatten(), "exchanged"),
    ("11.1", lambda t, d: code(t, d).view(-1, 2).T.flatten(), "all sines come first"),
    ("11.1", by_column, "counts pairs of columns"),
    ("11.1", lambda t, d: code(t, d, power=1.0), "lacks the 2"),
    ("11.1", lambda t, d: code(t, d, unit=math.pi / 180), "radians"),
    ("11.1", lambda t, d: code(t + 1, d), "count from 0"),
    ("11.2", lambda j, d: str(wavelength(j, d)), "a number of tokens"),
    ("11.2", lambda j, d: 2 * math.pi / wavelength(j, d), "the frequency"),
    ("11.2", lambda j, d: wavelength(j, d) / (2 * math.pi), "2π is missing"),
    ("11.2", lambda j, d: 2 * math.pi * 10_000 ** (j / d), "share a wavelength"),
    ("11.2", lambda j, d: 2 * math.pi * 10_000 ** (2 * j / d), "counts pairs"),
    ("11.2", lambda j, d: wavelength(d - 1 - j, d), "reversed"),
    ("11.2", lambda j, d: 4 * math.pi**2 / wavelength(j, d), "slow columns have long waves"),
    ("11.2", lambda j, d: 1.0, "expected 628.3185307179587"),
    ("11.3", lambda k, d: shift(k, d)[:2, :2], "the shape is"),
    ("11.3", lambda k, d: shift(k, d).float(), "float64"),
    ("11.3", lambda k, d: shift(k, d).T, "this is the transpose: it shifts backwards"),
    ("11.3", cosine_first, "for a code with the cosine first"),
    ("11.3", lambda k, d: shift(1, d), "by one token"),
    ("11.3", lambda k, d: shift(k, 8), "the shape is"),
    ("11.3", lambda k, d: shift(k, d, one_angle=True), "the same angle"),
    ("11.3", halves, "all sines first"),
    ("11.3", lambda k, d: shift(k, d, minus=1.0), "minus sign"),
    ("11.4", lambda f, x, order: True, "give 'equivariant'"),
    ("11.4", lambda f, x, order: "invariant", "rows move with the input"),
    ("11.4", inverse, "inverse order"),
    ("11.4", lambda f, x, order: "equivariant" if f(x).ndim == 2 else "invariant", "neither"),
    ("11.4", last_row_only, "equivariant"),
    ("11.4", sums_only, "rows turned round is neither, you say equivariant"),
    ("11.4", first_row_only, "last two rows is neither, you say equivariant"),
    ("11.5", lambda real: positions(real).float(), "int64"),
    ("11.5", lambda real: positions(real)[0], "the shape is"),
    ("11.5", lambda real: torch.arange(5).expand(3, 5), "those are the columns"),
    ("11.5", lambda real: torch.arange(5) * real, "count from the first token"),
    ("11.5", lambda real: real.long().cumsum(1), "count from 0"),
    ("11.5", lambda real: real.long().cumsum(1) - 1, "negative"),
    ("11.5", lambda real: (~real).long().cumsum(1), "True alone"),
    ("11.5", lambda real: (real.long().cumsum(0) - 1).clamp(min=0), "down the batch: use dim=1"),
    ("11.5", lambda real: real.long().cumsum(0), "down the batch: use dim=1"),
    ("11.5", numbered, "expected [["),
    ("11.5", lambda real: 7 * real.long(), "expected [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)
