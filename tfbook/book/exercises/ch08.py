"""Checkers of chapter 08: each compares with an answer of its own, and names likely causes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong

__all__ = ["CHECKERS"]


def _right(expected: Tensor, got: object, name: str) -> bool:
    """Tell whether ``got`` has the expected values; complain about anything but such a tensor."""
    if not isinstance(got, Tensor):
        raise Wrong(f"{name} returned {type(got).__name__}; return a tensor")
    if got.shape != expected.shape:
        raise Wrong(f"the shape is {tuple(got.shape)}, expected {tuple(expected.shape)}")
    return bool(torch.allclose(got.to(expected.dtype), expected, atol=1e-6, rtol=1e-6))


def _first_match(expected: Tensor, got: object, name: str, known: dict[str, Tensor]) -> None:
    """Raise the diagnosis of the known wrong answer that ``got`` equals, if it is not right."""
    if _right(expected, got, name):
        return
    for diagnosis, answer in known.items():
        if answer.shape == expected.shape and _right(answer, got, name):
            raise Wrong(diagnosis)
    largest = (torch.as_tensor(got).to(expected.dtype) - expected).abs().max().item()
    raise Wrong(f"the largest difference is {largest:.3g}; compare each step with the formula")


def check_attention(fn: Callable[..., Any]) -> None:
    """Softmax(q kᵀ / √d_head) v, for unequal lengths and for large scores."""
    draw = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(n, d, generator=draw, dtype=torch.float64) for n, d in ((3, 4), (5, 4), (5, 2))
    )
    scores = q @ k.T
    known = {
        "the scores are not divided: where is √d_head?": scores.softmax(-1) @ v,
        "divided by d_head instead of its square root": (scores / 4).softmax(-1) @ v,
        "each column of the weights sums to one, not each row: is softmax over the wrong axis?": (
            (scores / 2).softmax(0) @ v
        ),
        "the weights do not sum to one: divide by the sum of the exponentials": (
            (scores / 2).exp() @ v
        ),
        "divided by √n_k instead of √d_head": (scores / math.sqrt(5)).softmax(-1) @ v,
        "softmax came before the division": scores.softmax(-1) / 2 @ v,
    }
    _first_match((scores / 2).softmax(-1) @ v, fn(q, k, v), "attention", known)
    large = fn(1000 * q, k, v)
    if not large.isfinite().all():
        raise Wrong("scores of a thousand give NaN: subtract each row's maximum before exp")
    if not _right((500 * scores).softmax(-1) @ v, large, "attention"):
        raise Wrong("right for small scores, wrong for large ones: is anything clamped?")


def check_jacobian(fn: Callable[..., Any]) -> None:
    """Diag(a) − a aᵀ."""
    a = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    outer = torch.outer(a, a)
    if isinstance(got := fn(a), Tensor) and got.shape == ():
        raise Wrong("a.T @ a is a single number for a row of numbers: torch.outer gives the table")
    if isinstance(got, Tensor) and got.shape == a.shape:
        raise Wrong(
            f"the shape is {tuple(a.shape)}, expected {(len(a), len(a))}: `*` multiplies entry by "
            "entry; the table of all products is torch.outer(a, a)"
        )
    again = a.softmax(-1)
    known = {
        "only the diagonal a(1 − a) is there: a score also lowers the other keys' weights": (
            (a * (1 - a)).diag()
        ),
        "the sign is reversed: raising a key's own score raises its weight": outer - a.diag(),
        "only the part −a aᵀ is there: add the diagonal": -outer,
        "only the diagonal a is there: the sum in softmax depends on the scores too": a.diag(),
        "the off-diagonal entries are positive: weights sum to one, so others must fall": (
            a.diag() - 2 * (outer.diagonal()).diag() + outer
        ),
        "the diagonal is 1 − a²: put the weights there, diag(a), not the identity": (
            torch.eye(len(a), dtype=a.dtype) - outer
        ),
        "`a` holds weights already: no second softmax": again.diag() - torch.outer(again, again),
        "every entry is lowered by one number: `a @ a` is a sum, torch.outer gives the table": (
            a.diag() - a @ a
        ),
        "every column subtracts a²: `*` multiplies entry by entry, torch.outer gives the table": (
            a.diag() - a * a
        ),
    }
    _first_match(a.diag() - outer, got, "the Jacobian", known)


def check_operations(fn: Callable[..., Any]) -> None:
    """8 n d² for the projections of new tokens, 4 n (m + n) d for scores and mixing."""
    for old, new, d in ((0, 7, 12), (30, 7, 12), (1000, 1, 64)):
        got = fn(old, new, d)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f"returned {got!r}; give a pair (projections, scores and mixing)")
        where = f"n_old={old}, n_new={new}, d_model={d}"
        right = (8 * new * d * d, 4 * new * (old + new) * d)
        if tuple(got) == right:
            continue
        if tuple(got) == right[::-1]:
            raise Wrong(f"{where}: the pair is swapped; projections come first")
        for name, value, wanted, causes in zip(
            ("projections", "scores and mixing"),
            got,
            right,
            (_projections(old, new, d), _mixing(old, new, d)),
            strict=True,
        ):
            if value != wanted:
                raise Wrong(f"{where}: {name} {value}: {causes.get(value, f'expected {wanted}')}")


def _projections(old: int, new: int, d: int) -> dict[int, str]:
    """Wrong counts of the projections, and their causes."""
    return {
        8 * (old + new) * d * d: "the cache holds the old keys and values: project new tokens only",
        6 * new * d * d: "three projections counted: the output projection is the fourth",
        4 * new * d * d: "half of the projections: does a multiply-add count as two operations?",
        2 * new * d * d: "one projection counted: there are four",
    }


def _mixing(old: int, new: int, d: int) -> dict[int, str]:
    """Wrong counts of scores and mixing, and their causes."""
    all_keys = old + new
    return {
        4 * new * d * d: "quadratic in the width: each score is a dot product of d numbers",
        4 * all_keys * all_keys * d: "old tokens ask nothing: only new queries have rows",
        4 * new * new * d: "new queries meet the old keys too",
        4 * new * old * d: "new queries meet each other's keys too",
        2 * new * all_keys * d: "one product counted, or a multiply-add as one: scores and mixing "
        "are two products",
        new * all_keys * d: "two products, and two operations for each multiply-add",
    }


def check_lead(fn: Callable[..., Any]) -> None:
    """The lead is log((n − 1) · mass / (1 − mass))."""
    for n, mass in ((3, 0.7), (100, 0.9), (1000, 0.25)):
        got = float(fn(n, mass))
        odds = mass / (1 - mass)
        causes = {
            math.log(n): "log n alone: which weight does that give?",
            math.log(n - 1): "log(n − 1) gives weight 1/2: where does `mass` enter?",
            math.log(n * odds): "n other keys counted: one of the n is the right one",
            math.log(odds): "right for two keys: the other n − 1 add up",
            -math.log((n - 1) * odds): "the sign is reversed: more keys need a larger lead",
            math.log((n - 1) * mass): "the odds are mass / (1 − mass), not mass",
            math.log2((n - 1) * odds): "in bits: scores are in nats",
        }
        right = math.log((n - 1) * odds)
        if math.isclose(got, right, abs_tol=1e-5):  # float32 is good enough
            continue
        for value, cause in causes.items():
            if math.isclose(got, value, abs_tol=1e-5):
                raise Wrong(f"n={n}, mass={mass} gives {got:.4g}: {cause}")
        raise Wrong(f"n={n}, mass={mass} gives {got:.4g}, a weight of {_mass(n, got):.3g}")


def _mass(n: int, lead: float) -> float:
    """The weight of a key that leads n − 1 equal ones."""
    return 1 / (1 + (n - 1) * math.exp(-lead)) if lead > -700 else 0.0


def check_streaming(fn: Callable[..., Any]) -> None:
    """One query over blocks of keys and values, read once."""
    draw = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((4,), (9, 4), (9, 2))
    )
    k = k * torch.linspace(0.5, 3, 9, dtype=torch.float64)[:, None]  # later scores are larger
    scores = k @ q / 2
    parts = ((0, 2), (2, 3), (3, 7), (7, 9))
    blocks = [(scores[a:b], v[a:b]) for a, b in parts]
    known = {
        "each block has its own softmax and the answers are added: carry one sum through all": (
            torch.stack([s.softmax(0) @ values for s, values in blocks]).sum(0)
        ),
        "the mean of the blocks' answers: blocks must count by their sums of exponentials": (
            torch.stack([s.softmax(0) @ values for s, values in blocks]).mean(0)
        ),
        "what was summed before a new maximum is not rescaled: multiply it by exp(old − new)": (
            _stream(blocks, rescale_total=False, rescale_mixed=False)
        ),
        "the last block alone: keep what came before": blocks[-1][0].softmax(0) @ blocks[-1][1],
        "the scores are not divided: where is √d_head?": (2 * scores).softmax(0) @ v,
    }
    known |= {
        "only the answer is rescaled at a new maximum: the sum of exponentials must be too": (
            _stream(blocks, rescale_total=False)
        ),
        "only the sum is rescaled at a new maximum: the weighted sum of values must be too": (
            _stream(blocks, rescale_mixed=False)
        ),
        "rescaled in the wrong direction: old sums shrink, so multiply by exp(old − new)": (
            _stream(blocks, sign=-1)
        ),
        "never divided: at the end, divide by the sum of the exponentials": (
            (scores - scores.max()).exp() @ v
        ),
    }
    try:
        got = fn(q, _once(k, v, parts))
    except NotImplementedError:
        raise
    except (ZeroDivisionError, ValueError, RuntimeError, IndexError) as error:
        raise Wrong(
            f"{type(error).__name__}: {error}. Was `blocks` read twice? An iterator is empty "
            "after the first loop: find the maximum and the sums in the same loop"
        ) from error
    if isinstance(got, Tensor) and got.isnan().any():
        raise Wrong("NaN: hold no block longer than its turn; the next one takes its place")
    _first_match(scores.softmax(0) @ v, got, "the answer", known)
    far = fn(1000 * q, _once(k, v, parts))
    if not far.isfinite().all():
        raise Wrong("scores of a thousand give NaN: keep the running maximum and subtract it")


def _once(
    k: Tensor, v: Tensor, parts: tuple[tuple[int, int], ...]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Hand out blocks one after the other; a block is destroyed when the next is asked for."""
    for start, end in parts:
        keys, values = k[start:end].clone(), v[start:end].clone()
        yield keys, values
        keys.fill_(math.nan)
        values.fill_(math.nan)


def _stream(
    blocks: list[tuple[Tensor, Tensor]],
    *,
    rescale_total: bool = True,
    rescale_mixed: bool = True,
    sign: int = 1,
) -> Tensor:
    """The answer of a stream that rescales wrongly when the maximum changes."""
    scores, values = blocks[0]
    highest = scores.max()
    e = (scores - highest).exp()
    total, mixed = e.sum(), e @ values
    for scores, values in blocks[1:]:
        new = torch.maximum(highest, scores.max())
        e, factor = (scores - new).exp(), (sign * (highest - new)).exp()
        total = total * (factor if rescale_total else 1) + e.sum()
        mixed = mixed * (factor if rescale_mixed else 1) + e @ values
        highest = new
    return mixed / total


CHECKERS = {
    "08.1": check_attention,
    "08.2": check_jacobian,
    "08.3": check_operations,
    "08.4": check_lead,
    "08.5": check_streaming,
}
