"""The checkers of chapter 05 name the mistake that was made."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from exercise_answers import answer_tests
from torch import Tensor
from torch.nn.functional import one_hot


def softmax(z: Tensor) -> Tensor:
    exponentials = (z - z.amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


def plain(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(-1, keepdim=True)


def one_maximum(z: Tensor) -> Tensor:
    exponentials = (z - z.max()).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


def log_probability(ids: list[int], first: Tensor, table: Tensor) -> float:
    row = torch.tensor(ids)
    return (first[row[0]].log() + table[row[:-1], row[1:]].log().sum()).item()


def product(ids: list[int], first: Tensor, table: Tensor) -> float:
    p = first[ids[0]]
    for a, b in itertools.pairwise(ids):
        p = p * table[a, b]
    return p.log().item()


def gradient(logits: Tensor, targets: Tensor) -> Tensor:
    real = (targets >= 0)[:, None]
    return (logits.softmax(-1) - one_hot(targets.clamp(min=0), 4)) * real / real.sum()


def parts(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    p, y = logits.softmax(-1), one_hot(targets.clamp(min=0), 4)
    return p, y, one_hot(targets % 4, 4), (targets >= 0)[:, None]


def by_part(form: Any) -> Any:
    return lambda logits, targets: form(*parts(logits, targets))


def bits(perplexity: float, n_tokens: int, text: str) -> float:
    return n_tokens * math.log2(perplexity) / len(text.encode())


def windows(n: int, window: int, stride: int) -> list[tuple[int, int, int]]:
    stop = min(window, n - 1)
    found = [(0, stop, stop)]
    while stop < n - 1:
        before, stop = stop, min(stop + stride, n - 1)
        found.append((max(0, stop - window), stop, stop - before))
    return found


def each_whole(n: int, window: int, stride: int) -> list[tuple[int, int, int]]:
    return [(a, b, b - a) for a, b, _ in windows(n, window, stride)]


def short_end(n: int, window: int, stride: int) -> list[tuple[int, int, int]]:
    *most, (_, stop, scored) = windows(n, window, stride)
    return [*most, (stop - scored, stop, scored)]


def by_logsumexp(z: Tensor) -> Tensor:
    return (z - z.logsumexp(-1, keepdim=True)).exp()


def log_of(logarithm: Any, ids: list[int], first: Tensor, table: Tensor) -> float:
    steps = [logarithm(table[a, b].item()) for a, b in itertools.pairwise(ids)]
    return logarithm(first[ids[0]].item()) + sum(steps)


def first_of_zero(ids: list[int], first: Tensor, table: Tensor) -> float:
    return log_probability(ids, first[0].expand(3), table)


def around(ids: list[int], first: Tensor, table: Tensor) -> float:
    return sum(math.log(table[ids[k - 1], ids[k]]) for k in range(len(ids)))


def around_and_first(ids: list[int], first: Tensor, table: Tensor) -> float:
    return around(ids, first, table) + math.log(first[ids[0]])


def by_autograd(logits: Tensor, targets: Tensor) -> Tensor:
    logits = logits.requires_grad_()
    loss = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-1)
    return torch.autograd.grad(loss, logits)[0]


def down_the_column(logits: Tensor, targets: Tensor) -> Tensor:
    y = one_hot(targets.clamp(min=0), 4)
    return (logits.softmax(0) - y) * (targets >= 0)[:, None] / 2


def without_classes(logits: Tensor, targets: Tensor) -> Tensor:
    """As many classes as the largest target asks for."""
    y = one_hot(targets.clamp(min=0))
    p = logits.softmax(-1)[:, : y.shape[1]]
    return (p - y) * (targets >= 0)[:, None] / (targets >= 0).sum()


def padding_last(logits: Tensor, targets: Tensor) -> Tensor:
    n = int((targets >= 0).sum())
    g = logits.softmax(-1) - one_hot(targets.clamp(min=0), 4)
    g[n:] = 0
    return g / n


def of_minus_one(logits: Tensor, targets: Tensor) -> Tensor:
    raise RuntimeError("Class values must be non-negative.")


RIGHT = [
    ("05.1", softmax),
    ("05.1", by_logsumexp),
    ("05.2", log_probability),
    ("05.3", gradient),
    ("05.4", bits),
    ("05.5", windows),
    ("05.5", lambda *a: [list(w) for w in windows(*a)]),
    ("05.5", lambda *a: iter(windows(*a))),
    ("05.5", lambda *a: tuple(windows(*a))),
    ("05.5", lambda *a: torch.tensor(windows(*a))),
]

WRONG = [
    ("05.1", lambda z: z.tolist(), "give a tensor"),
    ("05.1", lambda z: z.exp() / z.exp().sum(), "over the last axis alone"),
    ("05.1", lambda z: z.softmax(0), "the columns sum to one"),
    ("05.1", lambda z: z.log_softmax(-1), "logarithms of probabilities"),
    ("05.1", lambda z: z / z.sum(-1, keepdim=True), "take exponentials first"),
    ("05.1", lambda z: z.exp(), "are not divided by their sum"),
    ("05.1", lambda z: (z - z.amax(-1, keepdim=True)).exp(), "divide them by their sum"),
    ("05.1", plain, "subtract the largest score of each row"),
    ("05.1", one_maximum, "of each row"),
    ("05.1", lambda z: plain(z - z.mean(-1, keepdim=True)), "subtract the largest score"),
    ("05.1", lambda z: plain(z - z[..., :1]), "subtract the largest score"),
    ("05.2", lambda ids, f, t: [0.0], "give a number, not list"),
    ("05.2", lambda *a: math.exp(log_probability(*a)), "give its logarithm"),
    ("05.2", lambda *a: log_probability(*a) / math.log(2), "natural logarithm"),
    ("05.2", lambda ids, f, t: log_probability(ids, torch.ones(3), t), "first token is missing"),
    ("05.2", lambda ids, f, t: log_probability(ids, f, t.T), "transposed"),
    ("05.2", lambda *a: -log_probability(*a), "the sign is turned"),
    ("05.2", lambda ids, f, t: log_probability(ids[:-1], f, t), "the last token is missing"),
    ("05.2", lambda ids, f, t: log_probability(ids, f, t) / len(ids), "that is the mean"),
    ("05.2", lambda ids, f, t: f[ids].log().sum(), "use the table"),
    ("05.2", lambda *a: log_of(math.log10, *a), "to base ten"),
    ("05.2", lambda ids, f, t: -log_probability(ids, f, t) / len(ids), "minus the mean"),
    ("05.2", first_of_zero, "take first[ids[0]]"),
    ("05.2", around, "the first token is looked up in `first`"),
    ("05.2", around_and_first, "nothing comes before the first token"),
    ("05.2", product, "add logarithms instead"),
    ("05.2", lambda *a: math.log(math.exp(log_probability(*a))), "add logarithms instead"),
    ("05.3", lambda *a: -gradient(*a), "the sign is turned"),
    ("05.3", lambda *a: 2 * gradient(*a), "gradient of the sum"),
    ("05.3", lambda *a: gradient(*a) * 2 / 3, "divide by the real targets alone"),
    ("05.3", by_part(lambda p, y, last, real: (p - y) / 2), "padding is not zero"),
    ("05.3", by_part(lambda p, y, last, real: (p - last) / 2), "read as the last token"),
    ("05.3", by_part(lambda p, y, last, real: (p - y) / 3), "counts like a target"),
    ("05.3", by_part(lambda p, y, last, real: (p - last) / 3), "and counted"),
    ("05.3", by_part(lambda p, y, last, real: p * real / 2), "right tokens are missing"),
    ("05.3", by_part(lambda p, y, last, real: -y * real / 2), "own belief is missing"),
    (
        "05.3",
        lambda z, t: (z - one_hot(t.clamp(min=0), 4)) * (t >= 0)[:, None] / 2,
        "need a softmax",
    ),
    ("05.3", down_the_column, "the vocabulary is the last axis"),
    ("05.3", lambda *a: gradient(*a) / 6, "divided by all elements"),
    ("05.3", by_part(lambda p, y, last, real: p - last), "and this is the gradient of the sum"),
    ("05.3", by_part(lambda p, y, last, real: p - y), "padding is not zero, and this is the"),
    ("05.3", without_classes, "the shape is (3, 2)"),
    ("05.3", padding_last, "expected [["),
    ("05.3", by_autograd, "autograd is turned off here"),
    ("05.3", of_minus_one, "Class values must be non-negative"),
    ("05.4", lambda p, n, text: n * math.log2(p) / len(text), "per character"),
    ("05.4", lambda p, n, text: n * math.log(p) / len(text), "and per character"),
    ("05.4", lambda *a: bits(*a) * math.log(2) * 1.44, "1.44 is rounded"),
    ("05.4", lambda p, n, text: p * n / len(text.encode()), "take the logarithm: bits"),
    ("05.4", lambda *a: bits(*a) * math.log(2), "those are nats"),
    ("05.4", lambda p, n, text: bits(2 ** round(math.log2(p)), n, text), "expected 1.58"),
    ("05.4", lambda *a: bits(*a) * math.log(2) ** 2, "not by multiplying"),
    ("05.4", lambda p, n, text: math.log2(p), "per token"),
    (
        "05.4",
        lambda p, n, text: p * n / math.log(2) / len(text.encode()),
        "logarithm of the perplexity",
    ),
    ("05.4", lambda p, n, text: p ** (n / len(text.encode())), "perplexity per byte"),
    ("05.4", lambda p, n, text: math.log2(p) * len(text.encode()) / n, "exchanged"),
    ("05.4", lambda p, n, text: math.log2(p) / len(text.encode()), "multiply by the tokens"),
    ("05.4", lambda p, n, text: math.log2(p) * n, "the total"),
    ("05.4", lambda p, n, text: text, "give a number"),
    ("05.5", lambda n, w, s: None, "a list of triples"),
    ("05.5", lambda n, w, s: [(0, 4)], "a list of triples"),
    ("05.5", lambda n, w, s: [(0.0, 4.0, 4.0)], "a list of triples"),
    ("05.5", lambda n, w, s: [], "the list is empty"),
    ("05.5", lambda n, w, s: [(a + 1, b + 1, c) for a, b, c in windows(n, w, s)], "stop at n - 1"),
    ("05.5", lambda n, w, s: [(0, n - 1, n - 1)], "reads more than 4 tokens"),
    ("05.5", lambda n, w, s: [(a, b, b - a + 1) for a, b, c in windows(n, w, s)], "that it lacks"),
    ("05.5", each_whole, "is scored 2 times"),
    ("05.5", lambda n, w, s: windows(n, w, s)[:-1] or [(0, 1, 1)], "is never scored"),
    ("05.5", short_end, "later windows are full"),
    ("05.5", lambda n, w, s: windows(n, w, 1), "expected [(0, 4, 4), (2, 6, 2), (3, 7, 1)]"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT, WRONG)
