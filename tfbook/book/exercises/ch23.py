"""Checkers of chapter 23, decoding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_tensor, compare

Next = Callable[[tuple[int, ...]], Tensor]


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
    p = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2], dtype=torch.float64)
    right = {
        0.3: [1],
        0.5: [1, 3],
        0.8: [1, 3, 4],
        0.9: [0, 1, 3, 4],
        0.99: [0, 1, 2, 3, 4],
    }
    for mass, places in right.items():
        given = as_tensor(fn(p.clone(), mass), (5,))
        if given.dtype != torch.bool:
            raise Wrong(f"give a boolean tensor, not {given.dtype}")
        found = given.nonzero()[:, 0].tolist()
        if found != places:
            raise Wrong(_nucleus_diagnosis(p, mass, found) + f" (mass {mass}, p {p.tolist()})")


def _nucleus_diagnosis(p: Tensor, mass: float, found: list[int]) -> str:
    best, order = p.sort(descending=True)
    reached = best.cumsum(0)
    without_last = sorted(order[reached <= mass].tolist())
    one_more = sorted(order[: int((reached < mass).sum()) + 2].tolist())
    least, upwards = p.sort()
    known = {
        "the most probable token must always be kept: the set is empty": [],
        "the mass falls short: the token with which it reaches the mass is missing": without_last,
        "one token too many: without it the mass is reached already": one_more,
        "that adds up from the least probable: begin with the most probable": sorted(
            upwards[least.cumsum(0) - least < mass].tolist()
        ),
        "the sum runs over the tokens as they stand: sort them first": (p.cumsum(0) - p < mass)
        .nonzero()[:, 0]
        .tolist(),
        "each probability is compared with the mass: add them up": (p >= mass)
        .nonzero()[:, 0]
        .tolist(),
        "those are places in the sorted order: take them back to the tokens": (
            reached - best < mass
        )
        .nonzero()[:, 0]
        .tolist(),
    }
    for diagnosis, places in known.items():
        if found == places:
            return diagnosis
    return f"kept {found}"


def check_repetition(fn: Callable[..., Any]) -> None:
    """Exercise 23.3."""
    tokens, n = [1, 2, 1, 2, 1, 3, 1, 2], 2
    runs = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    right = 1 - len(set(runs)) / len(runs)
    apart = [tuple(tokens[i : i + n]) for i in range(0, len(tokens), n)]
    mistakes = {
        "that is the share of different runs: give one minus it": 1 - right,
        "that counts single tokens: count runs of n": 1 - len(set(tokens)) / len(tokens),
        "runs may overlap: move on by one token": 1 - len(set(apart)) / len(apart),
        "the first occurrence is not repeated: count the later ones only": sum(
            runs.count(run) > 1 for run in runs
        )
        / len(runs),
        "divide by the number of runs, not of tokens": (len(runs) - len(set(runs))) / len(tokens),
        "that is the number: divide by the number of runs": float(len(runs) - len(set(runs))),
        "divide by all runs, not by the different ones": (len(runs) - len(set(runs)))
        / len(set(runs)),
        "the last run is missing": 1 - len(set(runs[:-1])) / len(runs[:-1]),
    }
    _number(fn(list(tokens), n), right, mistakes)
    _number(fn([1, 2, 1, 2, 1], 2), 0.5, {})
    _number(fn([5, 5, 5, 5], 3), 0.5, {})
    try:
        short = fn([7, 7], 3)
    except ZeroDivisionError:
        raise Wrong("a list of fewer than n tokens has no runs: give 0") from None
    _number(short, 0.0, {"a list of fewer than n tokens has no runs: give 0": 1.0})


def _tree(seed: int) -> Next:
    """A toy model of four words, with another distribution after every beginning."""

    def next_log_p(tokens: tuple[int, ...]) -> Tensor:
        key = seed
        for token in tokens:
            key = 31 * key + token + 1
        generator = torch.Generator().manual_seed(key)
        return (2 * torch.randn(4, generator=generator, dtype=torch.float64)).log_softmax(-1)

    return next_log_p


def _beam(
    next_log_p: Next, steps: int, width: int, *, own: bool = False, last: bool = False
) -> tuple[tuple[int, ...], float]:
    """The search; with ``own`` each beam keeps its best child, with ``last`` nothing is added."""
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for step in range(steps):
        longer = []
        for tokens, total in beams:
            log_p = next_log_p(tokens).tolist()
            children = [
                ((*tokens, w), gain if last else total + gain) for w, gain in enumerate(log_p)
            ]
            children.sort(key=lambda child: -child[1])
            longer += children[: 1 if own and step else None]
        beams = sorted(longer, key=lambda candidate: -candidate[1])[:width]
    return beams[0]


def check_search(fn: Callable[..., Any]) -> None:
    """Exercise 23.4."""
    cases = [(seed, *sizes) for seed in range(40) for sizes in ((3, 1), (3, 2), (4, 3))]
    wrong: list[tuple[int, int, int, tuple[int, ...]]] = []
    totals: list[object] = []
    for seed, steps, width in cases:
        tokens, total = _read_search(fn(_tree(seed), steps, width), steps)
        totals.append(total)
        if tokens != _beam(_tree(seed), steps, width)[0]:
            wrong.append((seed, steps, width, tokens))
    if wrong:
        raise Wrong(_search_diagnosis(wrong))
    for (seed, steps, width), total in zip(cases, totals, strict=True):
        tokens, right = _beam(_tree(seed), steps, width)
        mistakes = {
            "that is the mean over tokens: give the sum": right / steps,
            "that is the probability: give its logarithm": math.exp(right),
            "the sign is turned: log-probabilities are negative": -right,
            "that is the log-probability of the last token: add those before": _tree(seed)(
                tokens[:-1]
            )[tokens[-1]].item(),
        }
        _number(total, right, mistakes)


def _read_search(given: object, steps: int) -> tuple[tuple[int, ...], object]:
    if not isinstance(given, tuple) or len(given) != 2 or not isinstance(given[0], tuple):
        raise Wrong("give a pair: a tuple of ids and its log-probability")
    tokens, total = given
    if len(tokens) != steps:
        raise Wrong(f"the sequence has {len(tokens)} tokens, it should have {steps}")
    if not all(isinstance(token, int) for token in tokens):
        raise Wrong("the ids must be integers: use .item() or .tolist()")
    return tokens, total


def _search_diagnosis(wrong: list[tuple[int, int, int, tuple[int, ...]]]) -> str:
    """Name the mistake that explains every wrong answer."""
    known: dict[str, Callable[[Next, int, int], tuple[tuple[int, ...], float]]] = {
        "the search ranks by the last token alone: add up the log-probabilities": (
            lambda tree, steps, width: _beam(tree, steps, width, last=True)
        ),
        "each beam keeps only its own best token: rank all continuations together": (
            lambda tree, steps, width: _beam(tree, steps, width, own=True)
        ),
        "that is the greedy sequence: keep `width` beginnings": lambda tree, steps, _: _beam(
            tree, steps, 1
        ),
        "that is better than the beams can find: at each step only `width` of them go on": (
            lambda tree, steps, _: _beam(tree, steps, 4**steps)
        ),
    }
    for diagnosis, form in known.items():
        if all(form(_tree(seed), steps, width)[0] == found for seed, steps, width, found in wrong):
            return diagnosis
    _, steps, width, found = wrong[0]
    return f"with {width} beams and {steps} steps, {found} is not what the beams find"


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
        _number(given[0], right, {k: v for k, v in mistakes.items() if abs(v - right) > 1e-6})
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
        }
        compare(as_tensor(given[1], (4,)).double(), gain / gain.sum(), rest)


def _without(p: Tensor, token: int) -> Tensor:
    left = p.clone()
    left[token] = 0
    return left / left.sum()


def _number(given: object, right: float, mistakes: Mapping[str, float]) -> None:
    if isinstance(given, Tensor) and given.numel() == 1:
        given = given.item()
    if not isinstance(given, float | int):
        raise Wrong(f"give a number, not {type(given).__name__}")
    compare(torch.tensor(float(given), dtype=torch.float64), right, mistakes)


CHECKERS = {
    "23.1": check_temperature,
    "23.2": check_nucleus,
    "23.3": check_repetition,
    "23.4": check_search,
    "23.5": check_judge,
}
