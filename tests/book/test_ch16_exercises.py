"""The checkers of chapter 16 name the mistake that was made."""

from __future__ import annotations

import math

from exercise_answers import answer_tests


def attention(n: int, d: int, *, maps: int = 4, products: int = 2, each: int = 2) -> int:
    return each * (maps * n * d * d + products * n * n * d)


def cache(n: int, d: int, h: int, kv: int, layers: int, batch: int, size: int) -> int:
    return 2 * n * kv * (d // h) * layers * batch * size


def dilations(n: int, k: int) -> list[int]:
    grown: list[int] = []
    while k ** len(grown) < n:
        grown.append(k ** len(grown))
    return grown


def decoder(m: int, n: int, d: int, layers: int, *, own: int = 14, memory: int = 2) -> int:
    return layers * (2 * m * m * d + 2 * m * n * d + own * m * d * d + memory * n * d * d)


def contiguous(n: int, k: int) -> list[int]:
    return [1] * math.ceil((n - 1) / (k - 1))


RIGHT = {
    "16.1": attention,
    "16.2": cache,
    "16.3": lambda d, k: max(1, (k - 4) * d // 2 + 1),
    "16.4": dilations,
    "16.5": decoder,
}
WRONG = [
    ("16.1", lambda n, d: attention(n, d, each=1), "each is two FLOPs"),
    ("16.1", lambda n, d: attention(n, d, maps=0), "four projections are missing"),
    ("16.1", lambda n, d: attention(n, d, products=0), "scores and the mixing are missing"),
    ("16.1", lambda n, d: attention(n, d, maps=3), "the output has one too"),
    ("16.1", lambda n, d: attention(n, d, products=1), "besides the scores"),
    ("16.1", lambda n, d: attention(n, d, each=6), "give the forward pass"),
    ("16.1", lambda n, d: 8 * n * d * d + 2 * n * (n + 1) * d, "here all count"),
    ("16.1", lambda n, d: float(attention(n, d)), "give a whole number"),
    ("16.1", lambda n, d: None, "got NoneType"),
    ("16.1", lambda n, d: 7, "expected 2,380"),
    ("16.2", lambda *a: cache(*a) // 2, "keys and values are both kept"),
    ("16.2", lambda n, d, h, kv, *a: cache(n, d, h, h, *a), "for every query head"),
    ("16.2", lambda n, d, h, kv, layers, *a: cache(n, d, h, kv, 1, *a), "every layer"),
    ("16.2", lambda *a: cache(*a[:-1], 1), "give bytes"),
    ("16.2", lambda *a: cache(*a[:5], 1, a[6]), "every sequence of the batch"),
    ("16.2", lambda *a: cache(*a) * a[2], "heads of width d"),
    ("16.2", lambda *a: cache(*a) * a[0], "not with its square"),
    ("16.3", lambda d, k: max(1, (k - 4) * d // 2), "more is asked for"),
    ("16.3", lambda d, k: k * d // 2 + 1, "four projections"),
    ("16.3", lambda d, k: max(1, (k - 4) * d + 1), "two products of n"),
    ("16.3", lambda d, k: max(1, (k - 3) * d // 2 + 1), "projections are four"),
    ("16.3", lambda d, k: (k - 4) * d // 2 + 1, "at every length"),
    ("16.3", lambda d, k: (k - 4) * d / 2 + 1, "with // for divisions"),
    ("16.3", lambda d, k: max(1, math.ceil((k - 4) * d / 2) + 1), "expected 8"),
    ("16.3", lambda d, k: max(1, round((k - 4) * d / 2) + 1), "expected 8"),
    ("16.4", contiguous, "have no gaps"),
    ("16.4", lambda n, k: [x + 0.5 for x in dilations(n, k)], "give whole numbers"),
    ("16.4", lambda n, k: [k * x for x in dilations(n, k)], "begin with 1"),
    ("16.4", lambda n, k: [2**i for i in range(n.bit_length())], "grow by 2"),
    ("16.4", lambda n, k: dilations(n, k)[:-1], "count the positions"),
    ("16.4", lambda n, k: [k**i for i in range(math.ceil(math.log(n, k)))], "a hair above"),
    ("16.4", lambda n, k: len(dilations(n, k)), "one number per layer"),
    ("16.5", lambda *a: decoder(*a, memory=0), "projections of the encoder's output are missing"),
    ("16.5", lambda *a: decoder(*a, own=16, memory=0), "not from the m of the target"),
    ("16.5", lambda m, n, d, x: x * (2 * m * m * d + 12 * m * d * d), "encoder block"),
    ("16.5", lambda *a: decoder(*a, own=10), "up and down"),
    ("16.5", lambda *a: decoder(*a, own=6), "feed-forward layer is missing"),
    ("16.5", lambda *a: 2 * decoder(*a), "multiply-add is two"),
    ("16.5", lambda *a: decoder(*a, own=12), "also projects the m target tokens"),
    ("16.5", lambda m, n, d, x: decoder(m, n, d, x) - x * m * n * d, "scores and mixing too"),
    (
        "16.5",
        lambda m, n, d, x: decoder(m, n, d, x) + 2 * x * n * d * (n - m),
        "m queries meet n keys",
    ),
    ("16.5", lambda m, n, d, x: decoder(m, n, d, 1), "there are n_layers"),
    ("16.5", lambda m, n, d, x: decoder(m, n, d, x) - (x - 1) * 2 * n * d * d, "its own"),
    (
        "16.5",
        lambda m, n, d, x: decoder(m, n, d, x) - x * (m * m * d + m * n * d),
        "two products each",
    ),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)


def test_the_examples_of_the_notebook() -> None:
    assert RIGHT["16.1"](3, 2) == 168
    assert RIGHT["16.2"](5, 8, 4, 2, 3, 1, 2) == 240
    assert RIGHT["16.3"](8, 9) == 21
    assert RIGHT["16.4"](27, 3) == [1, 3, 9]
    assert RIGHT["16.5"](2, 3, 4, 1) == 624
