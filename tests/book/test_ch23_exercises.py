"""The checkers of chapter 23 name the mistake that was made."""

from __future__ import annotations

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


def nucleus_of(p: Tensor, mass: float) -> Tensor:
    best, order = p.sort(descending=True)
    kept = torch.zeros_like(p, dtype=torch.bool)
    kept[order[best.cumsum(0) - best < mass - 1e-9]] = True
    return kept


def places(p: Tensor, chosen: Tensor) -> Tensor:
    kept = torch.zeros_like(p, dtype=torch.bool)
    kept[chosen] = True
    return kept


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


def runs_of(tokens: list[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def share_repeated(tokens: list[int], n: int) -> float:
    runs = runs_of(tokens, n)
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def unguarded(tokens: list[int], n: int) -> float:
    runs = runs_of(tokens, n)
    return 1 - len(set(runs)) / len(runs)


def side_by_side(tokens: list[int], n: int) -> float:
    runs = [tuple(tokens[i : i + n]) for i in range(0, len(tokens), n)]
    return 1 - len(set(runs)) / len(runs)


def first_too(tokens: list[int], n: int) -> float:
    runs = runs_of(tokens, n)
    return sum(runs.count(run) > 1 for run in runs) / len(runs)


def without_the_last(tokens: list[int], n: int) -> float:
    return share_repeated(tokens[:-1], n)


def search(next_log_p: Any, steps: int, width: int) -> tuple[tuple[int, ...], float]:
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for _ in range(steps):
        longer = [
            ((*tokens, w), total + gain)
            for tokens, total in beams
            for w, gain in enumerate(next_log_p(tokens).tolist())
        ]
        beams = sorted(longer, key=lambda candidate: -candidate[1])[:width]
    return beams[0]


def by_last(next_log_p: Any, steps: int, width: int) -> tuple[tuple[int, ...], float]:
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for _ in range(steps):
        longer = [
            ((*tokens, w), gain)
            for tokens, _ in beams
            for w, gain in enumerate(next_log_p(tokens).tolist())
        ]
        beams = sorted(longer, key=lambda candidate: -candidate[1])[:width]
    return beams[0]


def only_children(next_log_p: Any, steps: int, width: int) -> tuple[tuple[int, ...], float]:
    first = next_log_p(()).topk(width)
    pairs = zip(first.indices.tolist(), first.values.tolist(), strict=True)
    beams = [((w,), total) for w, total in pairs]
    for _ in range(steps - 1):
        longer = []
        for tokens, total in beams:
            gain, w = next_log_p(tokens).max(-1)
            longer.append(((*tokens, int(w)), total + gain.item()))
        beams = longer
    return max(beams, key=lambda candidate: candidate[1])


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
    ("23.2", lambda p, m: nucleus_of(p, m).float(), "give a boolean tensor"),
    ("23.2", lambda p, m: torch.zeros(5, dtype=torch.bool), "the set is empty"),
    ("23.2", lambda p, m: short_nucleus(p, m) | (p == p.max()), "the mass falls short"),
    ("23.2", long_nucleus, "one token too many"),
    ("23.2", from_below, "begin with the most probable"),
    ("23.2", lambda p, m: p.cumsum(0) - p < m, "sort them first"),
    ("23.2", lambda p, m: p >= (m if m > 0.4 else 0.4), "the set is empty"),
    ("23.2", in_sorted_order, "take them back to the tokens"),
    ("23.2", lambda p, m: p < 0.1, "kept [2]"),
    ("23.3", lambda t, n: "half", "give a number"),
    ("23.3", lambda t, n: 1 - share_repeated(t, n), "share of different runs"),
    ("23.3", lambda t, n: share_repeated(t, 1), "single tokens"),
    ("23.3", side_by_side, "runs may overlap"),
    ("23.3", first_too, "the first occurrence is not repeated"),
    ("23.3", lambda t, n: share_repeated(t, n) * (len(t) - n + 1) / len(t), "not of tokens"),
    ("23.3", lambda t, n: share_repeated(t, n) * (len(t) - n + 1), "that is the number"),
    (
        "23.3",
        lambda t, n: len(runs_of(t, n)) / len(set(runs_of(t, n))) - 1,
        "not by the different ones",
    ),
    ("23.3", without_the_last, "the last run is missing"),
    ("23.3", unguarded, "has no runs: give 0"),
    ("23.3", lambda t, n: share_repeated(t, n) if len(t) >= n else 1.0, "has no runs: give 0"),
    ("23.4", lambda f, s, w: search(f, s, w)[0], "give a pair"),
    ("23.4", lambda f, s, w: search(f, s - 1, w), "it should have 3"),
    ("23.4", lambda f, s, w: (tuple(map(float, search(f, s, w)[0])), 0.0), "must be integers"),
    ("23.4", lambda f, s, w: search(f, s, 1), "the greedy sequence"),
    ("23.4", lambda f, s, w: search(f, s, 64 if w > 1 else 1), "better than the beams can find"),
    ("23.4", by_last, "ranks by the last token"),
    ("23.4", only_children, "rank all continuations together"),
    ("23.4", lambda f, s, w: (search(f, s, w)[0], search(f, s, w)[1] / s), "the mean over tokens"),
    ("23.4", lambda f, s, w: (search(f, s, w)[0], -search(f, s, w)[1]), "the sign is turned"),
    (
        "23.4",
        lambda f, s, w: (search(f, s, w)[0], torch.tensor(search(f, s, w)[1]).exp().item()),
        "give its logarithm",
    ),
    (
        "23.4",
        lambda f, s, w: (
            search(f, s, w)[0],
            f(search(f, s, w)[0][:-1])[search(f, s, w)[0][-1]].item(),
        ),
        "of the last token: add those before",
    ),
    ("23.4", lambda f, s, w: ((0,) * s, 0.0), "is not what the beams find"),
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
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)
