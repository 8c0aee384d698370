"""The checkers of chapter 14 name the mistake that was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exercise_answers import answer_tests
from torch import Tensor

from tfbook.book import exercises
from tfbook.layers import FeedForward


def swiglu(x: Tensor, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> Tensor:
    return (F.silu(x @ w_gate) * (x @ w_up)) @ w_down


def with_inner(inner: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, w_gate, w_up, w_down: inner(x @ w_gate, x @ w_up) @ w_down


def share(
    d: int,
    d_ff: int,
    n_layers: int,
    vocab: int,
    gated: bool,
    *,
    maps: tuple[int, int] = (2, 3),
    attention: int = 4,
    tables: int = 1,
    n: int | None = None,
) -> float:
    layers = n_layers if n is None else n
    ff = layers * maps[gated] * d * d_ff
    return ff / (ff + layers * attention * d * d + tables * vocab * d)


def position_wise(
    f: Callable, x: Tensor, *, which: tuple[int, ...] = tuple(range(6)), permute: bool = True
) -> bool:
    for t in which:
        changed = x.clone()
        changed[t] += 1
        moved = (f(changed) - f(x)).abs().amax(1) > 1e-9
        moved[t] = False
        if moved.any():
            return False
    order = torch.tensor([3, 5, 0, 4, 1, 2])
    return not permute or torch.allclose(f(x[order]), f(x)[order])


def equivariant(f: Callable, x: Tensor) -> bool:
    return position_wise(f, x, which=())


def turned(f: Callable, x: Tensor) -> bool:
    return torch.allclose(f(x.flip(0)), f(x).flip(0))


def strongest(
    layer: FeedForward, x: Tensor, unit: int, k: int, *, bias: bool = True
) -> tuple[Tensor, Tensor]:
    m = F.relu(x @ layer.w_up.weight[unit] + layer.w_up.bias[unit]).topk(k)
    return m.indices, m.values if bias else m.values - layer.w_up.bias[unit]


def by(score: Callable[[FeedForward, Tensor], Tensor]) -> Callable[..., Any]:
    def answer(layer: FeedForward, x: Tensor, unit: int, k: int) -> tuple[Tensor, Tensor]:
        top = score(layer, x).topk(k)
        return top.indices, top.values

    return answer


def edit(w: Tensor, k: Tensor, delta: Tensor, spread: Tensor) -> Tensor:
    u = torch.linalg.solve(spread, k)
    return w + torch.outer(delta, u) / (u @ k)


def along(
    direction: Callable[[Tensor, Tensor], Tensor], *, square: bool = False
) -> Callable[..., Tensor]:
    def answer(w: Tensor, k: Tensor, delta: Tensor, spread: Tensor) -> Tensor:
        u = direction(k, spread)
        return w + torch.outer(delta, u) / (u @ u if square else u @ k)

    return answer


def unscaled(w: Tensor, k: Tensor, delta: Tensor, spread: Tensor) -> Tensor:
    return w + torch.outer(delta, torch.linalg.solve(spread, k))


def pre(layer: FeedForward, x: Tensor, unit: int = 2) -> Tensor:
    return x @ layer.w_up.weight[unit] + layer.w_up.bias[unit]


RIGHT = {
    "14.1": swiglu,
    "14.2": share,
    "14.3": position_wise,
    "14.4": strongest,
    "14.5": edit,
}
WRONG = [
    ("14.1", lambda *a: swiglu(*a).tolist(), "give a tensor"),
    ("14.1", lambda *a: swiglu(*a)[0], "the shape is"),
    ("14.1", with_inner(lambda g, u: g * F.silu(u)), "exchanged"),
    ("14.1", with_inner(lambda g, u: g.sigmoid() * u), "that is GLU"),
    ("14.1", with_inner(lambda g, u: F.silu(g) + u), "added"),
    ("14.1", with_inner(lambda g, u: F.silu(g * u)), "before multiplying"),
    ("14.1", with_inner(lambda g, u: F.silu(g) * F.silu(u)), "both halves"),
    ("14.1", with_inner(lambda g, u: F.gelu(g) * u), "GEGLU"),
    ("14.1", with_inner(lambda g, u: F.relu(g) * u), "ReGLU"),
    ("14.1", with_inner(lambda g, u: F.silu(u)), "no gate"),
    ("14.1", with_inner(lambda g, u: g * u), "not bent at all"),
    ("14.1", with_inner(lambda g, u: 3 * g * u), "expected"),
    ("14.2", lambda *a: str(share(*a)), "give a number"),
    ("14.2", lambda *a: share(*a, tables=0), "share of the blocks"),
    ("14.2", lambda *a: share(*a, maps=(3, 2)), "a plain layer has two matrices"),
    ("14.2", lambda *a: share(*a, maps=(2, 2)), "three at ⅔"),
    ("14.2", lambda *a: share(*a, attention=3), "W_O is missing"),
    ("14.2", lambda *a: share(*a, tables=2), "count the table once"),
    ("14.2", lambda *a: share(*a, n=1), "multiply by n_layers"),
    ("14.2", lambda *a: 100 * share(*a), "not percent"),
    ("14.2", lambda d, ff, n, v, g: share(d, 4 * d, n, v, g), "expected"),
    (
        "14.2",
        lambda d, ff, n, v, g: n * 4 * d * d / (n * (4 * d * d + (2 + g) * d * ff) + v * d),
        "attention's share",
    ),
    ("14.3", lambda f, x: "yes", "give True or False"),
    ("14.3", lambda f, x: False, "each token is alone"),
    ("14.3", lambda f, x: True, "each reads the others"),
    ("14.3", equivariant, "each reads the others"),
    ("14.3", lambda f, x: position_wise(f, x, which=(5,), permute=False), "change an early token"),
    ("14.3", lambda f, x: position_wise(f, x, which=(0,), permute=False), "change a late token"),
    (
        "14.3",
        lambda f, x: position_wise(f, x, which=(0, 1, 2, 3, 4), permute=False),
        "the last one too",
    ),
    (
        "14.3",
        lambda f, x: position_wise(f, x, which=(0, 5), permute=False) and turned(f, x),
        "a middle token's output",
    ),
    ("14.3", lambda f, x: position_wise(f, x, permute=False), "permute the tokens"),
    ("14.3", lambda f, x: np.bool_(position_wise(f, x, permute=False)), "permute the tokens"),
    ("14.4", lambda *a: strongest(*a)[0], "give two tensors"),
    ("14.4", lambda *a: [part.flip(0) for part in strongest(*a)], "strongest comes first"),
    ("14.4", lambda *a: strongest(*a, bias=False), "bias is missing"),
    ("14.4", lambda *a: (strongest(*a)[0], 2 * strongest(*a)[1]), "the coefficients are not"),
    ("14.4", by(lambda layer, x: -pre(layer, x).relu()), "weakest"),
    ("14.4", by(lambda layer, x: x @ layer.w_down.weight[:, 2]), "the unit's value"),
    ("14.4", by(lambda layer, x: pre(layer, x).abs()), "absolute value"),
    ("14.4", by(lambda layer, x: pre(layer, x, unit=1)), "another unit"),
    ("14.4", by(pre), "its coefficient is 0"),
    ("14.5", unscaled, "divide by u"),
    ("14.5", along(lambda k, c: k), "u = k"),
    ("14.5", along(lambda k, c: c @ k), "u is C k"),
    ("14.5", lambda w, *a: edit(w, *a) - w, "the change alone"),
    ("14.5", lambda w, *a: 2 * w - edit(w, *a), "sign"),
    ("14.5", along(lambda k, c: torch.linalg.solve(c, k), square=True), "square of u"),
    ("14.5", lambda w, k, d, c: edit(w, k, d - w @ k, c), "became delta"),
    ("14.5", lambda *a: edit(*a).T, "the transpose of w"),
    ("14.5", lambda *a: edit(*a)[:2], "the shape is"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)


def test_position_wise_may_be_told_by_reading_row_by_row() -> None:
    def answer(f: Callable, x: Tensor) -> bool:
        return torch.allclose(f(x), torch.cat([f(row[None]) for row in x]))

    assert exercises.check("14.3", answer) is True


@pytest.mark.parametrize("n", [2, 4, 6])
def test_position_wise_takes_any_answer_that_means_true(n: int) -> None:
    def answer(f: Callable, x: Tensor) -> np.bool_:
        rows = x[:n]
        order = torch.arange(n).roll(1)
        alone = position_wise(f, rows, which=tuple(range(n)), permute=False)
        return np.bool_(alone and torch.allclose(f(rows[order]), f(rows)[order]))

    assert exercises.check("14.3", answer) is True
