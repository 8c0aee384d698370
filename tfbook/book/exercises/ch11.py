"""Checkers of chapter 11, absolute positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_tensor, compare


def check_position_code(fn: Callable[..., Any]) -> None:
    """Exercise 11.1."""
    for t, d in ((1, 4), (7, 6), (0, 8)):
        given = as_tensor(fn(t, d), (d,))
        angle = [t / 10_000 ** (2 * i / d) for i in range(d // 2)]
        by_column = [t / 10_000 ** (2 * j / d) for j in range(d)]
        half = [t / 10_000 ** (i / d) for i in range(d // 2)]
        mistakes = {
            "sines and cosines are exchanged: the first column is a sine": _pairs(
                angle, math.cos, math.sin
            ),
            "all sines come first: here sine and cosine alternate": [
                *map(math.sin, angle),
                *map(math.cos, angle),
            ],
            "i counts pairs of columns, not columns: two share a frequency": [
                math.cos(a) if j % 2 else math.sin(a) for j, a in enumerate(by_column)
            ],
            "the exponent is 2i/d: yours lacks the 2": _pairs(half, math.sin, math.cos),
            "the angle is in radians": _pairs([math.radians(a) for a in angle], math.sin, math.cos),
            "positions count from 0: yours is that of t + 1": _pairs(
                [a + a / t if t else 10_000 ** (-2 * i / d) for i, a in enumerate(angle)],
                math.sin,
                math.cos,
            ),
        }
        compare(given, _pairs(angle, math.sin, math.cos), mistakes)


def check_wavelength(fn: Callable[..., Any]) -> None:
    """Exercise 11.2."""
    for j, d in ((5, 8), (4, 8), (1, 6), (11, 32)):
        given = fn(j, d)
        if isinstance(given, Tensor):
            given = given.item()
        if not isinstance(given, float | int):
            raise Wrong(f"give a number of tokens, not {type(given).__name__}")
        period = 10_000 ** (2 * (j // 2) / d)
        mistakes = {
            "that is the frequency in radians per token: the wavelength is 2π over it": 1 / period,
            "the factor 2π is missing: a full turn is 2π radians": period,
            "columns 2i and 2i + 1 share a wavelength: take j // 2, the pair": 2
            * math.pi
            * 10_000 ** (j / d),
            "i counts pairs of columns, not columns: i = j // 2": 2
            * math.pi
            * 10_000 ** (2 * j / d),
            "the order is reversed: the first columns are the fast ones": 2
            * math.pi
            * 10_000 ** (2 * (d // 2 - 1 - j // 2) / d),
            "the sign of the exponent is inverted: slow columns have long waves": 2
            * math.pi
            / period,
        }
        compare(torch.tensor(float(given), dtype=torch.float64), 2 * math.pi * period, mistakes)


def check_shift(fn: Callable[..., Any]) -> None:
    """Exercise 11.3."""
    for k, d in ((3, 8), (5, 6)):
        _compare_shift(fn(k, d), k, d)
    if not torch.allclose(as_tensor(fn(0, 8), (8, 8)), torch.eye(8).double()):
        raise Wrong("a shift by 0 must be the identity")


def _compare_shift(answer: object, k: int, d: int) -> None:
    given = as_tensor(answer, (d, d))
    if given.dtype != torch.float64:
        raise Wrong(f"the matrix has dtype {given.dtype}: make it float64")
    right = _rotation(k, d)
    mirrored = right.clone()
    mirrored[1::2, 0::2], mirrored[0::2, 1::2] = right[0::2, 1::2], right[0::2, 1::2]
    mistakes = {
        "this is the transpose: it shifts backwards, multiplies from the right, or is for a code "
        "with the cosine first": right.T,
        "that shifts by one token: multiply the angles by k": _rotation(1, d),
        "all blocks turn by the same angle: pair i turns by ω_i·k": torch.block_diag(
            *[_block(float(k))] * (d // 2)
        ),
        "the blocks are for all sines first: here sine and cosine alternate": _halves(right),
        "one of the two sines needs a minus sign, or it is no rotation": mirrored,
    }
    compare(given, right, mistakes)


def check_symmetry(fn: Callable[..., Any]) -> None:
    """Exercise 11.4."""
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.tensor([2, 0, 3, 1, 4])  # not its own inverse
    cases: tuple[tuple[str, Callable[[Tensor], Tensor], str], ...] = (
        ("attention", lambda a: (a @ a.T).softmax(dim=-1) @ a, "equivariant"),
        ("the mean over rows", lambda a: a.mean(dim=0), "invariant"),
        ("a running sum", lambda a: a.cumsum(dim=0), "neither"),
        (
            "the mean, written to every row",
            lambda a: a.mean(dim=0).expand(5, 3) + 0 * a,
            "invariant or equivariant",
        ),
        ("the first row", lambda a: a[0], "neither"),
        # the sum over rows moves with them, the rows do not
        (
            "attention with its rows turned round",
            lambda a: ((a @ a.T).softmax(dim=-1) @ a).flip(0),
            "neither",
        ),
        # ... and here the first rows do, and only they
        (
            "a running sum of the last two rows",
            lambda a: torch.cat([a[:3], a[3:].cumsum(dim=0)]),
            "neither",
        ),
    )
    for name, f, right in cases:
        given = fn(f, x.clone(), order.clone())
        if given not in ("equivariant", "invariant", "neither"):
            raise Wrong(f"give 'equivariant', 'invariant' or 'neither', not {given!r}")
        if given in right.split(" or "):
            continue
        if name == "attention" and given == "invariant":
            raise Wrong("attention's output rows move with the input: that is equivariant")
        if name == "attention":
            raise Wrong(
                "attention is equivariant: compare f(x[order]) with f(x)[order], not with the"
                " inverse order"
            )
        if name == "a running sum":
            raise Wrong(f"a running sum is neither, you say {given}: use order, and all rows")
        raise Wrong(f"{name} is {right}, you say {given}")


def check_left_padded_positions(fn: Callable[..., Any]) -> None:
    """Exercise 11.5."""
    _compare_positions(fn, [[False, False, True, True, True], [True] * 5, [False] * 5])
    _compare_positions(fn, [[False, True, True], [True] * 3])


def _compare_positions(fn: Callable[..., Any], rows: list[list[bool]]) -> None:
    real = torch.tensor(rows)
    given = as_tensor(fn(real.clone()), tuple(real.shape))
    if given.dtype != torch.int64:
        raise Wrong(f"the positions have dtype {given.dtype}: give int64")
    count = real.long().cumsum(dim=1)
    right = (count - 1).clamp(min=0)
    column = torch.arange(real.shape[1]).expand_as(real)
    mistakes = {
        "those are the columns: count the tokens of each row from its first": column,
        "columns where there are tokens: still count from the first token": column * real,
        "positions count from 0: the first token of a row gets 0": count,
        "padding has negative positions: give it 0": count - 1,
        "the count includes padding: sum over True alone": (~real).long().cumsum(dim=1),
        "that counts down the batch: use dim=1": (real.long().cumsum(dim=0) - 1).clamp(min=0),
        "that counts down the batch: use dim=1 (and positions count from 0)": real.long().cumsum(
            dim=0
        ),
    }
    compare(given, right, mistakes)


def _pairs(
    angles: list[float], first: Callable[[float], float], second: Callable[[float], float]
) -> list[float]:
    return [f(a) for a in angles for f in (first, second)]


def _block(angle: float) -> Tensor:
    sine, cosine = math.sin(angle), math.cos(angle)
    return torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float64)


def _rotation(k: float, d: int) -> Tensor:
    return torch.block_diag(*[_block(k / 10_000 ** (2 * i / d)) for i in range(d // 2)])


def _halves(interleaved: Tensor) -> Tensor:
    """The same map for a code with all sines first."""
    d = len(interleaved)
    order = torch.cat([torch.arange(0, d, 2), torch.arange(1, d, 2)])
    return interleaved[order][:, order]


CHECKERS = {
    "11.1": check_position_code,
    "11.2": check_wavelength,
    "11.3": check_shift,
    "11.4": check_symmetry,
    "11.5": check_left_padded_positions,
}
