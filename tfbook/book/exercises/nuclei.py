"""Sets of the most probable tokens, the right one and those of known mistakes, for chapter 23."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tfbook.book.exercises.compare import Form


def places(kept: Tensor) -> list[int]:
    """Give the tokens of a set.

    Args:
        kept: True where a token belongs to it.

    Returns:
        Their ids.

    Example:
        >>> places(torch.tensor([True, False, True]))
        [0, 2]
    """
    return kept.nonzero()[:, 0].tolist()


def nucleus(p: Tensor, mass: float, *, more: int = 0) -> Tensor:
    """Give the smallest set of the most probable tokens that reaches a mass, ties included.

    Args:
        p: probabilities.
        mass: to reach.
        more: tokens too many.

    Returns:
        True where a token belongs to the set.

    Example:
        >>> nucleus(torch.tensor([0.2, 0.5, 0.3]), 0.6)
        tensor([False,  True,  True])
    """
    best = p.sort(descending=True).values
    n = max(1, int((best.cumsum(0) - best < mass).sum())) + more
    return p >= best[min(n, len(p)) - 1]


def _short(p: Tensor, mass: float, *, least: int = 0) -> Tensor:
    best = p.sort(descending=True).values
    n = max(least, int((best.cumsum(0) <= mass).sum()))
    return p > (best[n] if n < len(p) else 0)


def _from_below(p: Tensor, mass: float) -> Tensor:
    least, order = p.sort()
    return torch.zeros_like(p, dtype=torch.bool).scatter(0, order, least.cumsum(0) - least < mass)


def _in_order(p: Tensor, mass: float) -> Tensor:
    best = p.sort(descending=True).values
    return best.cumsum(0) - best < mass


def _at(form: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float, float], list[int]]:
    """Apply a form to the probabilities at the temperature."""
    return lambda z, mass, tau: places(form((z / tau).softmax(-1), mass))


_UNSORTED = "the sum runs over the tokens as they stand: sort them first"
_SHORT = "the mass falls short: the token with which it reaches the mass is missing"
WRONG_SETS: list[Form] = [
    ("the temperature is not used", lambda z, mass, tau: places(nucleus(z.softmax(-1), mass))),
    (
        "the logits are multiplied by the temperature: divide them",
        lambda z, mass, tau: places(nucleus((z * tau).softmax(-1), mass)),
    ),
    (
        "the probabilities are divided by the temperature: divide the logits",
        lambda z, mass, tau: places(nucleus(z.softmax(-1) / tau, mass)),
    ),
    (
        "logits are added up: take the softmax first",
        lambda z, mass, tau: places(nucleus(z / tau, mass)),
    ),
    (_SHORT, _at(_short)),
    (_SHORT, _at(lambda p, mass: _short(p, mass, least=1))),
    (
        "one token too many: without it the mass is reached already",
        _at(lambda p, mass: nucleus(p, mass, more=1)),
    ),
    ("that adds up from the least probable: begin with the most probable", _at(_from_below)),
    (_UNSORTED, _at(lambda p, mass: p.cumsum(0) - p < mass)),
    (_UNSORTED, _at(lambda p, mass: p.cumsum(0) < mass)),
    (_UNSORTED, _at(lambda p, mass: p.cumsum(0) <= mass)),
    (
        "each probability is compared with the mass: compare their sum, the largest first",
        _at(lambda p, mass: p >= mass),
    ),
    ("those are places in the sorted order: take them back to the tokens", _at(_in_order)),
    (
        "moved the wrong way: `kept[order] = mask` takes a mask back, `mask[order]` does not",
        _at(lambda p, mass: _in_order(p, mass)[p.argsort(descending=True)]),
    ),
    ("those are the tokens to drop: turn it round", _at(lambda p, mass: ~nucleus(p, mass))),
    ("the set is empty: the most probable token must always be kept", _at(lambda p, mass: p < 0)),
]
