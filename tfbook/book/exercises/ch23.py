"""Checkers of chapter 23, decoding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import (
    as_number,
    as_tensor,
    compare,
    compare_number,
    explained,
    same,
)
from tfbook.book.exercises.nuclei import WRONG_SETS, nucleus, places
from tfbook.book.exercises.repetitions import WRONG_SHARES, share_repeated
from tfbook.book.exercises.searches import END, WRONG_SCORES, WRONG_SEQUENCES, search, tree


def check_temperature(fn: Callable[..., Any]) -> None:
    """Exercise 23.1."""
    z = torch.tensor([1.0, 3.0, 0.0, 2.0], dtype=torch.float64)
    p, tau = z.softmax(-1), 0.5
    mistakes = {
        "the temperature is not used": p,
        "the logits are multiplied by the temperature: divide them": (z * tau).softmax(-1),
        "the probabilities are divided, which normalising undoes: divide the logits": p / tau,
        "the temperature acts on the probabilities: it must act on the logits": (p / tau).softmax(
            -1
        ),
        "those are the divided logits: take their softmax": z / tau,
        "these are logarithms of probabilities": (z / tau).log_softmax(-1),
        "the exponentials are not divided by their sum": (z / tau).exp(),
        "a power of the probabilities must be normalised again: divide by the sum": p ** (1 / tau),
    }
    compare(as_tensor(fn(z.clone(), tau), (4,)).double(), (z / tau).softmax(-1), mistakes)
    hot = as_tensor(fn(z.clone(), 2.0), (4,)).double()
    compare(hot, (z / 2).softmax(-1), {"every temperature gives the same": (z / tau).softmax(-1)})
    large = torch.tensor([3000.0, 2999.0, 0.0], dtype=torch.float64)
    safe = as_tensor(fn(large.clone(), 0.5), (3,)).double()
    if not bool(safe.isfinite().all()):
        raise Wrong(
            f"logits in the thousands give {safe.tolist()}: subtract the largest first, or use "
            "torch.softmax"
        )
    compare(safe, (large / 0.5).softmax(-1), {})
    _check_cold(fn)


def _check_cold(fn: Callable[..., Any]) -> None:
    tied = torch.tensor([1.0, 4.0, 4.0], dtype=torch.float64)
    cold = as_tensor(fn(tied.clone(), 0), (3,)).double()
    if bool(cold.isnan().any()):
        raise Wrong("temperature 0 gives NaN: do not divide, put everything on the largest logit")
    mistakes = {
        "temperature 0 shares between equal logits: everything goes to the first": [0, 0.5, 0.5],
        "temperature 0 took the last of equal logits: take the first": [0.0, 0.0, 1.0],
        "temperature 0 marks all of the largest: only the first gets 1": [0.0, 1.0, 1.0],
        "temperature 0 is greedy, not temperature 1": tied.softmax(-1),
        "temperature 0 is greedy, the opposite of equal probabilities": [1 / 3] * 3,
    }
    compare(cold, [0.0, 1.0, 0.0], mistakes)


def check_nucleus(fn: Callable[..., Any]) -> None:
    """Exercise 23.2."""
    z = torch.tensor([0.5, 2.5, -0.5, 2.0, 1.6], dtype=torch.float64)
    plain = [(z, mass, tau) for tau in (1.0, 0.5, 2.0) for mass in (0.2, 0.5, 0.8, 0.9, 0.99)]
    given = [_kept(fn, *case) for case in plain]
    right = [places(nucleus((z / tau).softmax(-1), mass)) for z, mass, tau in plain]
    for case, found, expected in zip(plain, given, right, strict=True):
        if found != expected:
            _refuse(explained(plain, given, right, WRONG_SETS) or f"kept {found}", *case)
    banned = -torch.inf
    # e^-1000 (tau is 2) is zero in float64: allowed, yet no part of the smallest set
    equal = torch.tensor([1.0, banned, 1.0, -2000.0, 1.0, 1.0], dtype=torch.float64)
    tied = torch.tensor([1.0, 3.0, 2.0, 2.0, 0.0], dtype=torch.float64)
    last = "tokens as probable as the last one of the set belong to it too"
    exact = (
        "the mass was reached exactly, and more was added: go on while the sum is < mass, not <="
    )
    empty = "the set is empty at mass 0: the most probable token must always be kept"
    special: list[tuple[Tensor, float, float, list[int], str, list[list[int]]]] = [
        (equal, 1.0, 2.0, [0, 2, 4, 5], exact, [[0, 1, 2, 4, 5], [0, 2, 3, 4, 5], [*range(6)]]),
        (tied, 0.6, 1.0, [1, 2, 3], last, [[1, 2], [1, 3]]),
        (z, 0.0, 1.0, [1], empty, [[]]),
    ]
    for logits, mass, tau, expected, diagnosis, known in special:
        found = _kept(fn, logits, mass, tau)
        if found != expected:
            _refuse(diagnosis if found in known else f"kept {found}", logits, mass, tau)


def _kept(fn: Callable[..., Any], z: Tensor, mass: float, tau: float) -> list[int]:
    given = as_tensor(fn(z.clone(), mass, tau), (len(z),))
    if given.dtype != torch.bool:
        raise Wrong(f"give a boolean tensor, not {given.dtype}")
    return places(given)


def _refuse(diagnosis: str, z: Tensor, mass: float, tau: float) -> None:
    p = [round(share, 3) for share in (z / tau).softmax(-1).tolist()]
    raise Wrong(f"{diagnosis} (mass {mass}, tau {tau}: the probabilities are {p})")


def check_repetition(fn: Callable[..., Any]) -> None:
    """Exercise 23.3."""
    cases = [
        ([1, 2, 3, 1, 2, 4, 5, 1, 2], 2, 3),
        ([1, 2, 1, 2, 1, 3, 1, 2, 2, 2, 2, 1, 2], 2, 4),
        ([5, 5, 5, 5, 6, 5, 5, 5], 3, 2),
        ([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3], 3, 5),
    ]
    given = [as_number(fn(list(tokens), n, window)) for tokens, n, window in cases]
    right = [share_repeated(*case) for case in cases]
    for case, found, expected in zip(cases, given, right, strict=True):
        if not math.isclose(found, expected, abs_tol=1e-6):
            sizes = "tokens {}, n={}, window={}".format(*case)
            known = explained(cases, given, right, WRONG_SHARES)
            raise Wrong(known or f"got {found:.4f}, expected {expected:.4f} for {sizes}")
    none = "a list of fewer than n tokens has no runs: give 0"
    try:
        short = as_number(fn([7, 7], 3, 2))
    except ZeroDivisionError:
        raise Wrong(none) from None
    if short != 0:
        raise Wrong(none)


def check_search(fn: Callable[..., Any]) -> None:
    """Exercise 23.4."""
    sizes = ((3, 1, 1.0), (4, 2, 0.5), (5, 3, 1.0), (5, 2, 0.0))
    cases = [(seed, *size) for seed in range(30) for size in sizes]
    try:
        given = [_read_search(fn(tree(seed), s, w, END, alpha), s) for seed, s, w, alpha in cases]
    except ZeroDivisionError:
        raise Wrong(
            "a division by zero: the end token counts in the length, so a sequence that is "
            "nothing else has the length 1 (and the empty beginning needs no score)"
        ) from None
    right = [search(*case) for case in cases]
    found, best = [tokens for tokens, _ in given], [tokens for tokens, _ in right]
    if found != best:
        forms = [
            (words, lambda *case, form=form: form(*case)[0]) for words, form in WRONG_SEQUENCES
        ]
        at = next(i for i, tokens in enumerate(best) if tokens != found[i])
        _, steps, width, alpha = cases[at]
        raise Wrong(
            explained(cases, found, best, forms)
            or f"with width={width}, steps={steps}, end={END} and alpha={alpha} the result "
            f"{found[at]} is not what the beams find"
        )
    scores, expected = [score for _, score in given], [score for _, score in right]
    wrong = [pair for pair in zip(scores, expected, strict=True) if not same(*pair)]
    if wrong:
        known = explained(cases, scores, expected, WRONG_SCORES)
        raise Wrong(
            known
            or f"the sequence is right, but its score is {wrong[0][0]:.4f}, not {wrong[0][1]:.4f}"
        )


def _read_search(given: object, steps: int) -> tuple[tuple[int, ...], float]:
    if not isinstance(given, tuple) or len(given) != 2 or not isinstance(given[0], tuple):
        raise Wrong("give a pair: a tuple of ids and its score")
    tokens, score = given
    if not all(isinstance(token, int) for token in tokens):
        raise Wrong("the ids must be integers: use .item() or .tolist()")
    if len(tokens) > steps:
        raise Wrong(f"the sequence has {len(tokens)} tokens after {steps} steps")
    return tokens, as_number(score)


def check_judge(fn: Callable[..., Any]) -> None:
    """Exercise 23.5."""
    p = torch.tensor([0.5, 0.1, 0.4, 0.0], dtype=torch.float64)
    q = torch.tensor([0.2, 0.5, 0.2, 0.1], dtype=torch.float64)
    gain = (p - q).clamp(min=0)
    accept = {0: 1.0, 1: 0.2, 2: 1.0, 3: 0.0}
    for token, right in accept.items():
        given = fn(p.clone(), q.clone(), token)
        if not isinstance(given, tuple) or len(given) != 2:
            raise Wrong("give a pair: the probability of acceptance and a distribution")
        ratio = (q[token] / p[token]).clamp(max=1).item()
        mistakes = {
            "a probability is at most 1: take the smaller of 1 and p/q": (
                p[token] / q[token]
            ).item(),
            "the ratio is upside down: divide p by q": ratio,
            "that is p alone: divide by the probability with which the draft drew it": p[
                token
            ].item(),
        }
        compare_number(
            given[0], right, {k: v for k, v in mistakes.items() if abs(v - right) > 1e-6}
        )
        rest = {
            "that is p: tokens that the draft drew already would come too often": p,
            "that is q: the replacement must make up for what q lacks": q,
            "the distribution does not sum to one: divide by the sum": gain,
            "negative entries: what q has too much of counts as zero": p - q,
            "the sign is turned: take what p has more than q": (q - p).clamp(min=0)
            / (q - p).clamp(min=0).sum(),
            "the absolute difference counts both sides: only where p is larger": (p - q).abs()
            / (p - q).abs().sum(),
            "only the refused token is taken out: subtract all of q": _without(p, token),
            "softmax changes the shares: divide the surplus by its sum": gain.softmax(-1),
            "softmax changes the shares: divide the surplus max(0, p - q) by its sum": (
                p - q
            ).softmax(-1),
            "min(p, q) is what guesses supply already: take what p has more than q": torch.minimum(
                p, q
            ),
            "the smaller of p and q is what guesses supply already: take what p has more than q": (
                torch.minimum(p, q) / torch.minimum(p, q).sum()
            ),
        }
        compare(as_tensor(given[1], (4,)).double(), gain / gain.sum(), rest)


def _without(p: Tensor, token: int) -> Tensor:
    left = p.clone()
    left[token] = 0
    return left / left.sum()


CHECKERS = {
    "23.1": check_temperature,
    "23.2": check_nucleus,
    "23.3": check_repetition,
    "23.4": check_search,
    "23.5": check_judge,
}
