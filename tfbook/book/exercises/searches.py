"""Beam search on toy models, the right one and those of known mistakes, for chapter 23."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises.compare import Form

Next = Callable[[tuple[int, ...]], Tensor]
Beam = tuple[tuple[int, ...], float]

END = 2


def tree(seed: int) -> Next:
    """Make a toy model of four words, with another distribution after every beginning.

    Args:
        seed: of its distributions.

    Returns:
        A function from the ids of a beginning to the log-probabilities of the next, ``(4,)``.

    Example:
        >>> bool(tree(0)((1, 3)).exp().sum().isclose(torch.tensor(1.0).double()))
        True
    """

    def next_log_p(tokens: tuple[int, ...]) -> Tensor:
        key = seed
        for token in tokens:
            key = 31 * key + token + 1
        generator = torch.Generator().manual_seed(key)
        return (1.5 * torch.randn(4, generator=generator, dtype=torch.float64)).log_softmax(-1)

    return next_log_p


def search(
    seed: int,
    steps: int,
    width: int,
    alpha: float,
    *,
    grow: Callable[[float, float], float] = lambda total, gain: total + gain,
    rank: Callable[[list[Beam]], list[Beam]] = lambda longer: _ranked(longer),
    aside: Callable[[list[Beam], int], list[Beam]] = lambda ranked, width: ranked[:width],
    go_on: Callable[[list[Beam], int], list[Beam]] = lambda ranked, width: _running(ranked)[:width],
    choose: Callable[[list[Beam], list[Beam]], list[Beam]] = lambda finished, left: finished + left,
    score: Callable[[Beam, float], float] = lambda beam, alpha: beam[1] / len(beam[0]) ** alpha,
    pick: Callable[..., Beam] = max,
) -> Beam:
    """Search a toy model with beams; what a reader may get wrong is an argument.

    Args:
        seed: of the model.
        steps: most tokens.
        width: beams.
        alpha: power of the length that divides a log-probability.
        grow: the value of a longer beginning from its old value and the new log-probability.
        rank: puts candidates in order, the best first.
        aside: of the ranked candidates those that may be set aside if they end.
        go_on: those that are extended next.
        choose: those that compete at the end, from the finished and the running ones.
        score: what they compete by.
        pick: takes one of them.

    Returns:
        Ids and score of the best sequence.

    Example:
        >>> search(0, 3, 2, 1.0)[0]
        (0, 0, 0)
    """
    next_log_p = tree(seed)
    finished: list[Beam] = []
    beams: list[Beam] = [((), 0.0)]
    for _ in range(steps):
        ranked = rank(
            [
                ((*tokens, w), grow(total, gain))
                for tokens, total in beams
                for w, gain in enumerate(next_log_p(tokens).tolist())
            ]
        )
        finished += [beam for beam in aside(ranked, width) if beam[0][-1] == END]
        beams = go_on(ranked, width)
    scored = [(beam[0], score(beam, alpha)) for beam in choose(finished, beams)]
    return pick(scored, key=lambda beam: beam[1], default=((), 0.0))


def _ranked(longer: list[Beam]) -> list[Beam]:
    return sorted(longer, key=lambda beam: -beam[1])


def _running(beams: list[Beam]) -> list[Beam]:
    return [beam for beam in beams if beam[0][-1] != END]


def _own_best(longer: list[Beam]) -> list[Beam]:
    """The best token of each beam, but all tokens of the first beam, which is alone."""
    best = {beam[0][:-1]: beam for beam in reversed(_ranked(longer))}
    return _ranked(list(best.values() if longer and longer[0][0][:-1] else longer))


def _without_end(tokens: tuple[int, ...]) -> tuple[int, ...]:
    return tokens[:-1] if tokens[-1:] == (END,) else tokens


def _changed(**change: Any) -> Callable[..., Beam]:
    return lambda *case: search(*case, **change)


WRONG_SEQUENCES: list[tuple[str, Callable[..., Beam]]] = [
    (
        "the end token is part of the sequence",
        lambda *case: (_without_end(search(*case)[0]), 0.0),
    ),
    (
        "that is the greedy search: keep `width` different beginnings",
        lambda seed, steps, width, alpha: search(seed, steps, 1, alpha),
    ),
    (
        "that is better than the beams can find: at each step only `width` of them go on",
        lambda seed, steps, width, alpha: search(seed, steps, 4**steps, alpha),
    ),
    (
        "the search ranks by the last token alone: add up the log-probabilities",
        _changed(grow=lambda total, gain: gain),
    ),
    (
        "probabilities are added up: add their logarithms",
        _changed(grow=lambda total, gain: total + math.exp(gain)),
    ),
    (
        "the least probable candidates are kept: sort in descending order",
        _changed(rank=lambda longer: _ranked(longer)[::-1]),
    ),
    (
        "each beam keeps only its own best token: rank all continuations together",
        _changed(rank=_own_best),
    ),
    (
        "a sequence that ended goes on: set it aside",
        _changed(go_on=lambda ranked, width: ranked[:width]),
    ),
    (
        "a sequence that ended goes on: set it aside",
        _changed(go_on=lambda ranked, w: ranked[:w], choose=lambda finished, left: left),
    ),
    (
        "a sequence that ended gives up its place: `width` that have not ended go on",
        _changed(go_on=lambda ranked, width: _running(ranked[:width])),
    ),
    (
        "a candidate that ends is set aside only if it is among the `width` best of all",
        _changed(aside=lambda ranked, width: ranked),
    ),
    (
        "finished sequences are lost: at the end they compete with those still running",
        _changed(choose=lambda finished, left: left),
    ),
    (
        "sequences still running are lost: at the end they compete with the finished ones",
        _changed(choose=lambda finished, left: finished or left),
    ),
    (
        "that is the first finished sequence: the one with the best score is wanted",
        _changed(choose=lambda finished, left: [*finished, *left][:1]),
    ),
    (
        "that is the last beam: the sequence with the best score is wanted",
        _changed(choose=lambda finished, left: left[-1:]),
    ),
    ("that is the sequence with the worst score: take the largest", _changed(pick=min)),
    (
        "the length is not used: divide each log-probability by it, to the power alpha",
        _changed(score=lambda beam, alpha: beam[1]),
    ),
    (
        "the log-probabilities are multiplied by the length penalty: divide",
        _changed(score=lambda beam, alpha: beam[1] * len(beam[0]) ** alpha),
    ),
    (
        "probabilities are divided by the length penalty: divide log-probabilities",
        _changed(score=lambda beam, alpha: math.exp(beam[1]) / len(beam[0]) ** alpha),
    ),
    (
        "the length leaves out the end token: count it",
        _changed(score=lambda beam, alpha: beam[1] / max(1, len(_without_end(beam[0]))) ** alpha),
    ),
]


def _scored(
    form: Callable[[tuple[int, ...], list[float], int, float], float],
) -> Callable[..., float]:
    """Apply a form to the best sequence and the log-probabilities of its tokens."""

    def scored(seed: int, steps: int, width: int, alpha: float) -> float:
        tokens, next_log_p = search(seed, steps, width, alpha)[0], tree(seed)
        gains = [next_log_p(tokens[:i])[token].item() for i, token in enumerate(tokens)]
        return form(tokens, gains, steps, alpha)

    return scored


WRONG_SCORES: list[Form] = [
    (
        "the score is the log-probability: divide it by the length to the power alpha",
        _scored(lambda tokens, gains, steps, alpha: sum(gains)),
    ),
    (
        "the score is the mean over tokens: raise the length to the power alpha",
        _scored(lambda tokens, gains, steps, alpha: sum(gains) / len(gains)),
    ),
    (
        "the score is divided by the number of steps: take the sequence's own length",
        _scored(lambda tokens, gains, steps, alpha: sum(gains) / steps**alpha),
    ),
    (
        "the score has a probability in it: give the logarithm",
        _scored(lambda tokens, gains, steps, a: math.exp(sum(gains)) / len(gains) ** a),
    ),
    (
        "the score has a probability in it: give the logarithm",
        _scored(lambda tokens, gains, steps, a: math.exp(sum(gains) / len(gains) ** a)),
    ),
    (
        "the sign of the score is turned: log-probabilities are negative",
        _scored(lambda tokens, gains, steps, alpha: -sum(gains) / len(gains) ** alpha),
    ),
    (
        "the score has the log-probability of the last token alone: add those before",
        _scored(lambda tokens, gains, steps, alpha: gains[-1] / len(gains) ** alpha),
    ),
]
