"""Checkers of chapter 14, feed-forward layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_tensor, compare
from tfbook.layers import FeedForward


def check_swiglu(fn: Callable[..., Any]) -> None:
    """Exercise 14.1."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 3, generator=g, dtype=torch.float64)
    w_gate, w_up = torch.randn(2, 3, 7, generator=g, dtype=torch.float64)
    w_down = torch.randn(7, 3, generator=g, dtype=torch.float64)
    given = as_tensor(fn(x.clone(), w_gate.clone(), w_up.clone(), w_down.clone()), (2, 5, 3))
    gate, up = x @ w_gate, x @ w_up
    mistakes = {
        "gate and value are exchanged: SiLU bends x @ w_gate, and x @ w_up stays linear": gate
        * F.silu(up),
        "that is GLU: SiLU is u * sigmoid(u), not the sigmoid alone": gate.sigmoid() * up,
        "gate and value are added: multiply them number by number": F.silu(gate) + up,
        "the product is bent: bend the gate before multiplying": F.silu(gate * up),
        "both halves are bent: the value stays linear": F.silu(gate) * F.silu(up),
        "that is GEGLU: the gate's activation here is SiLU": F.gelu(gate) * up,
        "that is ReGLU: the gate's activation here is SiLU": F.relu(gate) * up,
        "there is no gate: that is a plain layer with SiLU": F.silu(up),
        "the gate is not bent at all: apply SiLU to it": gate * up,
    }
    compare(given, F.silu(gate) * up @ w_down, {k: inner @ w_down for k, inner in mistakes.items()})


def check_share(fn: Callable[..., Any]) -> None:
    """Exercise 14.2."""
    for d, d_ff, n_layers, vocab, gated in (
        (8, 24, 3, 50, False),  # d_ff is not 4d, or a share of 8d² would pass
        (6, 16, 2, 40, True),
        (768, 3072, 12, 50257, False),
    ):
        given = fn(d, d_ff, n_layers, vocab, gated)
        given = given.item() if isinstance(given, Tensor) else given
        if isinstance(given, bool) or not isinstance(given, float | int):
            raise Wrong(f"give a number between 0 and 1, not {type(given).__name__}")
        maps = 3 if gated else 2
        feed_forward, attention, table = maps * d * d_ff, 4 * d * d, vocab * d

        def of(ff: int, att: int, emb: int, n: int = n_layers) -> float:
            return n * ff / (n * (ff + att) + emb)

        mistakes = {
            "that is the share of the blocks: the embedding belongs to the model too": of(
                feed_forward, attention, 0
            ),
            (
                "a gated layer has three matrices of the given d_ff; you have two, or three at ⅔ "
                "of the width"
                if gated
                else "a plain layer has two matrices, not three"
            ): of((5 - maps) * d * d_ff, attention, table),
            "attention has four matrices: W_O is missing": of(feed_forward, 3 * d * d, table),
            "the output layer is the embedding: count the table once": of(
                feed_forward, attention, 2 * table
            ),
            "that is one block's: multiply by n_layers": of(feed_forward, attention, table, 1),
            "that is attention's share": n_layers
            * attention
            / (n_layers * (feed_forward + attention) + table),
            "give a share between 0 and 1, not percent": 100 * of(feed_forward, attention, table),
        }
        compare(
            torch.tensor(float(given), dtype=torch.float64),
            of(feed_forward, attention, table),
            mistakes,
            tolerance=1e-9,
        )


def check_position_wise(fn: Callable[..., Any]) -> None:
    """Exercise 14.3."""
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name, f, right, why in _layers():
        given = fn(f, x.clone())
        if isinstance(given, Tensor):
            given = given.item()
        if given not in (True, False):
            raise Wrong(f"give True or False, not {given!r}")
        given = bool(given)  # NumPy has a True of its own
        if given is not right:
            raise Wrong(f"{name}: you say {given}, but {why}")


def _layers() -> Iterator[tuple[str, Callable[[Tensor], Tensor], bool, str]]:
    """Functions of ``(n, 4)`` rows, whether each row is alone in them, and why."""
    g = torch.Generator().manual_seed(1)
    w = torch.randn(4, 4, generator=g, dtype=torch.float64)
    table = torch.randn(6, 4, generator=g, dtype=torch.float64)
    yield from (
        ("a feed-forward layer", lambda a: F.relu(a @ w) @ w.T, True, "each token is alone in it"),
        (
            "attention",
            lambda a: (a @ a.T).softmax(-1) @ a,
            False,
            "its tokens move together when permuted, but each reads the others: change one token "
            "and look at the other outputs",
        ),
        (
            "a causal mean",
            lambda a: a.cumsum(0) / torch.arange(1, len(a) + 1)[:, None],
            False,
            "change an early token, and look at all other outputs, not only at earlier ones",
        ),
        (
            "a sum from the end",
            lambda a: a.flip(0).cumsum(0).flip(0),
            False,
            "change a late token, and look at all other outputs, not only at later ones",
        ),
        (
            "adding the last row to the others",
            lambda a: torch.cat([a[:-1] + a[-1:], a[-1:]]),
            False,
            "its last token reaches all others: change every token in turn, the last one too",
        ),
        (
            "exchanging the two middle rows",
            _middle_exchanged,
            False,
            "a middle token's output is another's: change every token in turn",
        ),
        (
            "adding a table of positions",
            lambda a: a + table[: len(a)],
            False,
            "no token reads another, but the function depends on the position: permute the tokens "
            "too",
        ),
        (
            "a norm over the features of each token",
            lambda a: (a - a.mean(1, keepdim=True)) / a.std(1, keepdim=True),
            True,
            "its mean is over one token's features",
        ),
        (
            "a norm over the tokens",
            lambda a: (a - a.mean(0)) / a.std(0, unbiased=False),
            False,
            "its mean is over all tokens",
        ),
        ("squaring", lambda a: a * a, True, "it acts on single numbers"),
    )


def _middle_exchanged(a: Tensor) -> Tensor:
    rows = list(range(len(a)))
    i = len(a) // 2
    if i:  # a row that is alone stays where it is
        rows[i - 1 : i + 1] = [i, i - 1]
    return a[rows]


def check_strongest(fn: Callable[..., Any]) -> None:
    """Exercise 14.4."""
    torch.manual_seed(3)
    layer = FeedForward(4, 9).double().requires_grad_(False)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, k = torch.randn(40, 4, dtype=torch.float64), 5
    key, bias = layer.w_up.weight[2], layer.w_up.bias[2]
    coefficient = (x @ key + bias).relu()
    right = coefficient.topk(k)
    right_pairs = dict(zip(right.indices.tolist(), right.values.tolist(), strict=True))
    given = fn(layer, x.clone(), 2, k)
    if not (isinstance(given, tuple | list) and len(given) == 2):
        raise Wrong("give two tensors as a pair: the numbers of the rows, and their coefficients")
    rows = as_tensor(given[0], (k,)).tolist()
    values = as_tensor(given[1], (k,)).double()
    if sorted(rows) == sorted(right_pairs):
        if rows != right.indices.tolist():
            raise Wrong("the rows are right, their order is not: the strongest comes first")
        if torch.allclose(values, right.values):
            _check_units_that_are_off(fn, layer, x, coefficient)
            return
        if torch.allclose(values, right.values - bias):
            raise Wrong("the key's bias is missing from the coefficients")
        raise Wrong(f"the rows are right, the coefficients are not: {values.tolist()}")
    mistakes = {
        "those are the weakest: take the largest coefficients": (-coefficient).topk(k).indices,
        "those belong to the unit's value: the key is row `unit` of w_up.weight": (
            x @ layer.w_down.weight[:, 2]
        )
        .topk(k)
        .indices,
        "large in absolute value is not on: ReLU sets negative ones to 0": (x @ key + bias)
        .abs()
        .topk(k)
        .indices,
        "those are the strongest of another unit": (x @ layer.w_up.weight[1] + layer.w_up.bias[1])
        .topk(k)
        .indices,
    }
    for diagnosis, wrong in mistakes.items():
        if sorted(rows) == sorted(wrong.tolist()):
            raise Wrong(diagnosis)
    raise Wrong(f"got rows {rows}, expected {right.indices.tolist()}")


def _check_units_that_are_off(
    fn: Callable[..., Any], layer: FeedForward, x: Tensor, coefficient: Tensor
) -> None:
    """Ask for more rows than the unit is on in: the rest have the coefficient 0."""
    n_on = int((coefficient > 0).sum())
    right = coefficient.topk(n_on + 3)
    rows, values = fn(layer, x.clone(), 2, n_on + 3)
    if torch.as_tensor(rows).tolist()[:n_on] != right.indices.tolist()[:n_on]:
        raise Wrong(f"with k={n_on + 3} the rows in which the unit is on are not all there")
    if not torch.allclose(torch.as_tensor(values).double(), right.values):
        raise Wrong(
            f"the unit is on in {n_on} rows; in others its coefficient is 0: apply ReLU before "
            "choosing"
        )


def check_rank_one_edit(fn: Callable[..., Any]) -> None:
    """Exercise 14.5."""
    g = torch.Generator().manual_seed(0)
    w = torch.randn(3, 5, generator=g, dtype=torch.float64)
    key = torch.randn(5, generator=g, dtype=torch.float64)
    delta = torch.randn(3, generator=g, dtype=torch.float64)
    keys = torch.randn(50, 5, generator=g, dtype=torch.float64)
    keys[:, 0] *= 4
    spread = keys.T @ keys / len(keys)
    given = fn(w.clone(), key.clone(), delta.clone(), spread.clone())
    if isinstance(given, Tensor) and given.shape == (5, 3):
        raise Wrong(
            "the shape is (5, 3), the transpose of w: delta belongs to the rows and u to the "
            "columns, as in torch.outer(delta, u)"
        )
    given = as_tensor(given, (3, 5))
    u = torch.linalg.solve(spread, key)
    right = w + torch.outer(delta, u) / (u @ key)
    mistakes = {
        "W k has not moved by delta: divide by u · k": w + torch.outer(delta, u),
        "that uses u = k: it works for this key and disturbs others more than u = C⁻¹ k": w
        + torch.outer(delta, key) / (key @ key),
        "u is C k: it should be C⁻¹ k": w + torch.outer(delta, spread @ key) / (key @ spread @ key),
        "that is the change alone: add it to W": right - w,
        "the sign is turned round: W k should move by +delta": 2 * w - right,
        "divide by u · k, not by the square of u": w + torch.outer(delta, u) / (u @ u),
        "W k became delta: it should become W k + delta": w
        + torch.outer(delta - w @ key, u) / (u @ key),
    }
    compare(given, right, mistakes)


CHECKERS = {
    "14.1": check_swiglu,
    "14.2": check_share,
    "14.3": check_position_wise,
    "14.4": check_strongest,
    "14.5": check_rank_one_edit,
}
