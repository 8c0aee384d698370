"""The checkers of chapter 23 name the mistake that was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from exercise_answers import answer_tests
from torch import Tensor


def at_tau(z: Tensor, tau: float) -> Tensor:
    if tau == 0:
        cold = torch.zeros_like(z)
        cold[z.argmax()] = 1
        return cold
    return (z / tau).softmax(-1)


def nucleus_of(z: Tensor, mass: float, tau: float) -> Tensor:
    p = (z / tau).softmax(-1)
    best = p.sort(descending=True).values
    return p >= best[int((best.cumsum(0) < mass).sum())]


def places(p: Tensor, chosen: Tensor) -> Tensor:
    kept = torch.zeros_like(p, dtype=torch.bool)
    kept[chosen] = True
    return kept


def of_p(form: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float, float], Tensor]:
    return lambda z, mass, tau: form((z / tau).softmax(-1), mass)


def without_ties(p: Tensor, mass: float) -> Tensor:
    """The function of the chapter's text, with a guard."""
    best, order = p.sort(descending=True)
    return places(p, order[best.cumsum(0) - best < mass]) | (p == p.max())


def last_of_ties(p: Tensor, mass: float) -> Tensor:
    return without_ties(p.flip(0), mass).flip(0)


def without_a_guard(p: Tensor, mass: float) -> Tensor:
    best = p.sort(descending=True).values
    before = best.cumsum(0) - best
    return p >= best[before < mass].min() if mass else p < 0


def reached_exactly(p: Tensor, mass: float) -> Tensor:
    best, order = p.sort(descending=True)
    return places(p, order[best.cumsum(0) - best <= mass])


def short_nucleus(p: Tensor, mass: float) -> Tensor:
    best, order = p.sort(descending=True)
    return places(p, order[best.cumsum(0) <= mass])


def long_nucleus(p: Tensor, mass: float) -> Tensor:
    best, order = p.sort(descending=True)
    return places(p, order[: int((best.cumsum(0) < mass).sum()) + 2])


def from_below(p: Tensor, mass: float) -> Tensor:
    least, order = p.sort()
    return places(p, order[least.cumsum(0) - least < mass])


def in_sorted_order(p: Tensor, mass: float) -> Tensor:
    best = p.sort(descending=True).values
    return best.cumsum(0) - best < mass


def moved_the_wrong_way(p: Tensor, mass: float) -> Tensor:
    best, order = p.sort(descending=True)
    return (best.cumsum(0) - best < mass)[order]


Run = tuple[int, ...]


def runs_of(tokens: list[int], n: int) -> list[Run]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def share_repeated(tokens: list[int], n: int, window: int) -> float:
    runs = runs_of(tokens, n)
    again = 0
    for i in range(len(runs)):
        again += any(runs[j] == runs[i] for j in range(max(0, i - window), i))
    return again / max(1, len(runs))


def among(seen: Callable[[list[Run], int, int, int], list[Run]]) -> Callable[..., float]:
    def share(tokens: list[int], n: int, window: int) -> float:
        runs = runs_of(tokens, n)
        again = [run in seen(runs, i, n, window) for i, run in enumerate(runs)]
        return sum(again) / max(1, len(again))

    return share


def of_the_whole_text(tokens: list[int], n: int, window: int) -> float:
    """The function of the chapter's text."""
    return 1 - len(set(runs_of(tokens, n))) / len(runs_of(tokens, n))


def unguarded(tokens: list[int], n: int, window: int) -> float:
    runs = runs_of(tokens, n)
    return sum(run in runs[max(0, i - window) : i] for i, run in enumerate(runs)) / len(runs)


def side_by_side(tokens: list[int], n: int, window: int) -> float:
    runs = [tuple(tokens[i : i + n]) for i in range(0, len(tokens) - n + 1, n)]
    return sum(run in runs[max(0, i - window) : i] for i, run in enumerate(runs)) / len(runs)


def with_shorter_pieces(tokens: list[int], n: int, window: int) -> float:
    runs = [tuple(tokens[i : i + n]) for i in range(len(tokens))]
    return sum(run in runs[max(0, i - window) : i] for i, run in enumerate(runs)) / len(runs)


def whole_before(runs: list[Run], i: int, n: int, window: int) -> list[Run]:
    return [runs[j] for j in range(max(0, i - window), i) if j + n <= i]


def scaled(factor: Callable[[list[int], int], float]) -> Callable[..., float]:
    return lambda t, n, w: share_repeated(t, n, w) * factor(t, n)


Beams = list[tuple[tuple[int, ...], float]]


def descending(beams: Beams) -> Beams:
    return sorted(beams, key=lambda beam: beam[1], reverse=True)


def search(
    next_log_p: Any,
    steps: int,
    width: int,
    end: int,
    alpha: float,
    *,
    start: int = 1,
    grow: Any = lambda total, gain: total + gain,
    rank: Any = descending,
    split: Any = lambda longer, width, ended: (
        [beam for beam in longer[:width] if ended(beam)],
        [beam for beam in longer if not ended(beam)][:width],
    ),
    choose: Any = lambda finished, left, score: max(finished + left, key=score),
    score: Any = lambda tokens, total, alpha: total / len(tokens) ** alpha,
) -> tuple[tuple[int, ...], float]:
    beams: Beams = [((), 0.0)] * start
    finished: Beams = []
    for _ in range(steps):
        longer = [
            ((*tokens, w), grow(total, gain))
            for tokens, total in beams
            for w, gain in enumerate(next_log_p(tokens).tolist())
        ]
        aside, beams = split(rank(longer), width, lambda beam: beam[0][-1] == end)
        finished += aside
    tokens, total = choose(finished, beams, lambda beam: score(*beam, alpha))
    return tokens, score(tokens, total, alpha)


def searched(**changes: Any) -> Callable[..., Any]:
    return lambda f, s, w, e, a: search(f, s, w, e, a, **changes)


def from_copies(f: Any, s: int, w: int, e: int, a: float) -> Any:
    return search(f, s, w, e, a, start=w)


def all_go_on(longer: Beams, width: int, ended: Any) -> tuple[Beams, Beams]:
    return [b for b in longer if ended(b)], [b for b in longer if not ended(b)]


def ended_go_on(longer: Beams, width: int, ended: Any) -> tuple[Beams, Beams]:
    return [b for b in longer[:width] if ended(b)], longer[:width]


def fewer_go_on(longer: Beams, width: int, ended: Any) -> tuple[Beams, Beams]:
    best = longer[:width]
    return [b for b in best if ended(b)], [b for b in best if not ended(b)]


def all_ends_aside(longer: Beams, width: int, ended: Any) -> tuple[Beams, Beams]:
    return [b for b in longer if ended(b)], [b for b in longer if not ended(b)][:width]


def only_children(longer: Beams) -> Beams:
    if not longer or len(longer[0][0]) == 1:
        return descending(longer)
    parents = dict.fromkeys(tokens[:-1] for tokens, _ in longer)
    own = [descending([b for b in longer if b[0][:-1] == parent])[0] for parent in parents]
    return descending(own)


def without_end(f: Any, s: int, w: int, e: int, a: float) -> Any:
    tokens, score = search(f, s, w, e, a)
    return tuple(token for token in tokens if token != e), score


def with_score(form: Any) -> Callable[..., Any]:
    """The right sequence, with a score from its log-probabilities."""

    def scored(f: Any, s: int, w: int, e: int, a: float) -> Any:
        tokens, _ = search(f, s, w, e, a)
        gains = [f(tokens[:i])[token].item() for i, token in enumerate(tokens)]
        return tokens, form(torch.tensor(gains, dtype=torch.float64), s, a)

    return scored


def judge(p: Tensor, q: Tensor, token: int) -> tuple[float, Tensor]:
    left = (p - q).clamp(min=0)
    return min(1.0, (p[token] / q[token]).item()), left / left.sum()


def with_rest(form: Any) -> Any:
    return lambda p, q, token: (judge(p, q, token)[0], form(p, q))


def taken_out(p: Tensor, q: Tensor, token: int) -> tuple[float, Tensor]:
    left = p.clone()
    left[token] = 0
    return judge(p, q, token)[0], left / left.sum()


def cold(z: Tensor, tau: float, at_zero: Any) -> Tensor:
    return at_tau(z, tau) if tau else torch.as_tensor(at_zero(z), dtype=z.dtype)


def overflowing(z: Tensor, tau: float) -> Tensor:
    e = (z / tau).exp() if tau else at_tau(z, 0)
    return e / e.sum()


def last_argmax(z: Tensor) -> Tensor:
    return at_tau(z.flip(0), 0).flip(0)


RIGHT = {
    "23.1": at_tau,
    "23.2": nucleus_of,
    "23.3": share_repeated,
    "23.4": search,
    "23.5": judge,
}

WRONG = [
    ("23.1", lambda z, t: z.softmax(-1).tolist(), "give a tensor"),
    ("23.1", lambda z, t: z.softmax(-1), "not used"),
    ("23.1", lambda z, t: (z * t).softmax(-1), "multiplied by the temperature"),
    ("23.1", lambda z, t: z.softmax(-1) / t, "which normalising undoes"),
    ("23.1", lambda z, t: (z.softmax(-1) / t).softmax(-1), "acts on the probabilities"),
    ("23.1", lambda z, t: z / t, "take their softmax"),
    ("23.1", lambda z, t: (z / t).log_softmax(-1), "logarithms of probabilities"),
    ("23.1", lambda z, t: (z / t).exp(), "not divided by their sum"),
    ("23.1", lambda z, t: (z / 0.5).softmax(-1), "every temperature gives the same"),
    ("23.1", overflowing, "logits in the thousands"),
    ("23.1", lambda z, t: (z / t).softmax(-1), "temperature 0 gives NaN"),
    ("23.1", lambda z, t: cold(z, t, lambda z: (z == z.max()) / 2), "shares between equal"),
    ("23.1", lambda z, t: cold(z, t, lambda z: z == z.max()), "only the first gets 1"),
    ("23.1", lambda z, t: cold(z, t, last_argmax), "took the last of equal"),
    ("23.1", lambda z, t: at_tau(z, t or 1), "not temperature 1"),
    ("23.1", lambda z, t: cold(z, t, lambda z: [1 / 3] * 3), "opposite of equal"),
    ("23.1", lambda z, t: z.softmax(-1) ** (1 / t), "a power of the probabilities"),
    ("23.2", lambda z, m, t: nucleus_of(z, m, t).float(), "give a boolean tensor"),
    ("23.2", lambda z, m, t: nucleus_of(z, m, 1.0), "the temperature is not used"),
    ("23.2", lambda z, m, t: nucleus_of(z * t, m, 1.0), "multiplied by the temperature"),
    (
        "23.2",
        lambda z, m, t: without_ties(z.softmax(-1) / t, m),
        "the probabilities are divided by the temperature",
    ),
    ("23.2", lambda z, m, t: without_ties(z / t, m), "logits are added up"),
    ("23.2", lambda z, m, t: without_ties(z, m), "logits are added up"),
    ("23.2", of_p(short_nucleus), "the mass falls short"),
    ("23.2", of_p(lambda p, m: short_nucleus(p, m) | (p == p.max())), "the mass falls short"),
    ("23.2", of_p(long_nucleus), "one token too many"),
    ("23.2", of_p(from_below), "begin with the most probable"),
    ("23.2", of_p(lambda p, m: p.cumsum(0) - p < m), "sort them first"),
    ("23.2", of_p(lambda p, m: p.cumsum(0) < m), "sort them first"),
    ("23.2", of_p(lambda p, m: p.cumsum(0) <= m), "sort them first"),
    ("23.2", of_p(lambda p, m: p >= m), "each probability is compared with the mass"),
    ("23.2", of_p(lambda p, m: p > m), "each probability is compared with the mass"),
    ("23.2", of_p(in_sorted_order), "those are places in the sorted order"),
    ("23.2", of_p(moved_the_wrong_way), "moved the wrong way: `kept[order] = mask`"),
    ("23.2", lambda z, m, t: ~nucleus_of(z, m, t), "the tokens to drop"),
    ("23.2", of_p(lambda p, m: p < 0), "the set is empty: the most probable token must"),
    ("23.2", of_p(lambda p, m: p < 0.1), "kept [0, 2] (mass 0.2, tau 1.0: the probabilities are"),
    ("23.2", of_p(reached_exactly), "reached exactly"),
    (
        "23.2",
        lambda z, m, t: of_p(reached_exactly)(z, m, t) & z.isfinite(),
        "reached exactly",
    ),
    ("23.2", of_p(without_ties), "tokens as probable as the last one"),
    ("23.2", of_p(last_of_ties), "tokens as probable as the last one"),
    ("23.2", of_p(without_a_guard), "the set is empty at mass 0"),
    ("23.2", lambda z, m, t: nucleus_of(z, m or 0.9, t), "kept [1, 3, 4] (mass 0.0"),
    ("23.3", lambda t, n, w: "half", "give a number"),
    ("23.3", lambda t, n, w: 1 - share_repeated(t, n, w), "share of runs that are not repeated"),
    ("23.3", of_the_whole_text, "runs of the whole text"),
    ("23.3", among(lambda runs, i, n, w: runs[i - w : i]), "a negative start counts from the end"),
    ("23.3", lambda t, n, w: share_repeated(t, n, w - 1), "the window is too short by one"),
    ("23.3", lambda t, n, w: share_repeated(t, n, w + 1), "the window is too long by one"),
    ("23.3", among(lambda runs, i, n, w: runs[max(0, i - w) : i + 1]), "a run is found in itself"),
    (
        "23.3",
        among(lambda runs, i, n, w: runs[max(0, i - w) : i] + runs[i + 1 : i + 1 + w]),
        "look back, not ahead",
    ),
    ("23.3", among(lambda runs, i, n, w: runs[i - i % w : i]), "blocks that stand still"),
    ("23.3", among(whole_before), "the earlier run may overlap"),
    ("23.3", lambda t, n, w: share_repeated(t, 1, w), "single tokens"),
    ("23.3", side_by_side, "runs may overlap: move on by one token"),
    ("23.3", scaled(lambda t, n: len(runs_of(t, n)) / len(t)), "the number of runs of n"),
    ("23.3", with_shorter_pieces, "a shorter piece at the end is no run"),
    ("23.3", scaled(lambda t, n: len(runs_of(t, n))), "that is the number"),
    (
        "23.3",
        scaled(lambda t, n: len(runs_of(t, n)) / max(1, len(set(runs_of(t, n))))),
        "not by the different ones",
    ),
    ("23.3", lambda t, n, w: share_repeated(t[:-1], n, w), "the last run is missing"),
    ("23.3", lambda t, n, w: 0.25, "expected 0.1250 for tokens [1, 2, 3, 1, 2, 4, 5, 1, 2], n=2"),
    ("23.3", unguarded, "has no runs: give 0"),
    (
        "23.3",
        lambda t, n, w: share_repeated(t, n, w) if len(t) >= n else 1.0,
        "has no runs: give 0",
    ),
    ("23.4", lambda *case: search(*case)[0], "give a pair"),
    ("23.4", lambda f, s, w, e, a: search(f, s + 1, w, e, a), "tokens after 3 steps"),
    ("23.4", lambda *case: (tuple(map(float, search(*case)[0])), 0.0), "must be integers"),
    ("23.4", lambda *case: (search(*case)[0], None), "give a number, not NoneType"),
    ("23.4", without_end, "the end token is part of the sequence"),
    ("23.4", lambda f, s, w, e, a: search(f, s, 1, e, a), "keep `width` different beginnings"),
    ("23.4", from_copies, "keep `width` different beginnings"),
    ("23.4", searched(split=all_go_on), "better than the beams can find"),
    ("23.4", searched(grow=lambda total, gain: gain), "ranks by the last token"),
    (
        "23.4",
        searched(grow=lambda total, gain: total + 2.718281828459045**gain),
        "probabilities are added up",
    ),
    (
        "23.4",
        searched(rank=lambda longer: descending(longer)[::-1]),
        "the least probable candidates are kept",
    ),
    ("23.4", searched(rank=only_children), "rank all continuations together"),
    ("23.4", searched(split=ended_go_on), "a sequence that ended goes on"),
    (
        "23.4",
        searched(split=lambda longer, width, ended: ([], longer[:width])),
        "a sequence that ended goes on",
    ),
    ("23.4", searched(split=fewer_go_on), "a sequence that ended gives up its place"),
    ("23.4", searched(split=all_ends_aside), "only if it is among the `width` best"),
    (
        "23.4",
        searched(choose=lambda finished, left, score: max(left, key=score)),
        "finished sequences are lost",
    ),
    (
        "23.4",
        searched(choose=lambda finished, left, score: max(finished or left, key=score)),
        "sequences still running are lost",
    ),
    (
        "23.4",
        searched(choose=lambda finished, left, score: (finished + left)[0]),
        "that is the first finished sequence",
    ),
    (
        "23.4",
        searched(choose=lambda finished, left, score: (finished + left)[-1]),
        "that is the last beam",
    ),
    (
        "23.4",
        searched(choose=lambda finished, left, score: min(finished + left, key=score)),
        "the worst score",
    ),
    ("23.4", searched(score=lambda tokens, total, a: total), "the length is not used"),
    (
        "23.4",
        searched(score=lambda tokens, total, a: total * len(tokens) ** a),
        "multiplied by the length penalty",
    ),
    (
        "23.4",
        searched(score=lambda tokens, total, a: 2.718281828459045**total / len(tokens) ** a),
        "probabilities are divided by the length penalty",
    ),
    (
        "23.4",
        searched(
            score=lambda tokens, total, a: total / max(1, len(tokens) - (tokens[-1] == 2)) ** a
        ),
        "leaves out the end token",
    ),
    (
        "23.4",
        searched(score=lambda tokens, total, a: total / (len(tokens) - (tokens[-1] == 2)) ** a),
        "the end token counts in the length",
    ),
    ("23.4", lambda f, s, w, e, a: ((0,) * s, 0.0), "(0, 0, 0, 0) is not what the beams find"),
    ("23.4", with_score(lambda gains, s, a: gains.sum()), "the score is the log-probability:"),
    ("23.4", with_score(lambda gains, s, a: gains.mean()), "the score is the mean over tokens"),
    ("23.4", with_score(lambda gains, s, a: gains.sum() / s**a), "divided by the number of steps"),
    (
        "23.4",
        with_score(lambda gains, s, a: gains.sum().exp() / len(gains) ** a),
        "the score has a probability in it",
    ),
    (
        "23.4",
        with_score(lambda gains, s, a: (gains.sum() / len(gains) ** a).exp()),
        "the score has a probability in it",
    ),
    (
        "23.4",
        with_score(lambda gains, s, a: -gains.sum() / len(gains) ** a),
        "the sign of the score",
    ),
    (
        "23.4",
        with_score(lambda gains, s, a: gains[-1] / len(gains) ** a),
        "of the last token alone",
    ),
    ("23.4", with_score(lambda gains, s, a: 0.0), "the sequence is right, but its score is 0.0000"),
    ("23.5", lambda p, q, t: judge(p, q, t)[0], "give a pair"),
    ("23.5", lambda p, q, t: ((p[t] / q[t]).item(), p), "at most 1"),
    ("23.5", lambda p, q, t: (min(1.0, (q[t] / p[t]).item()), p), "upside down"),
    ("23.5", lambda p, q, t: (p[t].item(), p), "that is p alone"),
    ("23.5", with_rest(lambda p, q: p), "that is p: tokens"),
    ("23.5", with_rest(lambda p, q: q), "that is q"),
    ("23.5", with_rest(lambda p, q: (p - q).clamp(min=0)), "does not sum to one"),
    ("23.5", with_rest(lambda p, q: p - q), "negative entries"),
    ("23.5", with_rest(lambda p, q: (q - p).clamp(min=0) / 0.5), "take what p has more"),
    ("23.5", with_rest(lambda p, q: (p - q).abs() / (p - q).abs().sum()), "counts both sides"),
    ("23.5", taken_out, "subtract all of q"),
    (
        "23.5",
        with_rest(lambda p, q: (p - q).clamp(min=0).softmax(-1)),
        "divide the surplus by its sum",
    ),
    ("23.5", with_rest(lambda p, q: (p - q).softmax(-1)), "divide the surplus max(0, p - q)"),
    ("23.5", with_rest(torch.minimum), "min(p, q) is what guesses supply"),
    (
        "23.5",
        with_rest(lambda p, q: torch.minimum(p, q) / torch.minimum(p, q).sum()),
        "the smaller of p and q is what guesses supply",
    ),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)
