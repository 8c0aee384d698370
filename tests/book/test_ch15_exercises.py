"""The checkers of chapter 15 name the mistake that was made."""

from __future__ import annotations

from collections.abc import Callable

from exercise_answers import answer_tests

from tfbook.training import inverse_square_root


def count(vocab: int, d: int, d_ff: int, n: int, *, norms: int = 5, attentions: int = 3) -> int:
    blocks = attentions * 4 * d * d + 2 * 2 * d * d_ff + norms * d
    return 2 * vocab * d + n * blocks + 2 * d


def greedy(next_logits: Callable, bos: int, eos: int, max_length: int) -> list[int]:
    ids = [bos]
    while len(ids) <= max_length:
        logits = next_logits(ids)
        token = logits.index(max(logits))
        if token == eos:
            break
        ids.append(token)
    return ids[1:]


RIGHT = {
    "15.1": lambda y: (y[:, :-1], y[:, 1:]),
    "15.2": lambda x, a, f, n1, n2: (h := x + a(n1(x))) + f(n2(h)),
    "15.3": count,
    "15.4": lambda s, d, w: inverse_square_root(s, d_model=d, warmup=w),
    "15.5": greedy,
}
WRONG = [
    ("15.1", lambda y: y[:, :-1], "give two tensors"),
    ("15.1", lambda y: (y, y), "one token shorter"),
    ("15.1", lambda y: (y[:, 1:], y[:, 1:]), "the very tokens"),
    ("15.1", lambda y: (y[:, 1:], y[:, :-1]), "exchanged"),
    ("15.2", lambda x, a, f, n1, n2: n2((h := n1(x + a(x))) + f(h)), "post-norm block of 2017"),
    ("15.2", lambda x, a, f, n1, n2: f(n2(a(n1(x)))), "residual connection is missing"),
    ("15.2", lambda x, a, f, n1, n2: (h := n2((g := n1(x)) + a(g))) + f(h), "add x itself"),
    ("15.2", lambda x, a, f, n1, n2: x + a(n1(x)) + f(n2(x)), "both sublayers read x"),
    ("15.2", lambda x, a, f, n1, n2: x + a(n1(x)), "second sublayer is missing"),
    ("15.2", lambda x, a, f, n1, n2: x.sum(), "the shape changed"),
    ("15.3", lambda v, d, f, n: count(v, d, f, n) + v * d, "the output layer is tied"),
    ("15.3", lambda v, d, f, n: count(v, d, f, n) - v * d, "an embedding each"),
    ("15.3", lambda v, d, f, n: count(v, d, f, n, attentions=2), "self and cross"),
    ("15.3", lambda v, d, f, n: count(v, d, f, n, norms=4), "a decoder block three"),
    ("15.3", lambda v, d, f, n: count(v, d, f, n) + (5 * n + 2) * d, "no bias"),
    ("15.3", lambda v, d, f, n: count(v, d, f, n) - 2 * d, "ends with a norm"),
    ("15.3", lambda v, d, f, n: 7, "but the model has"),
    ("15.4", lambda s, d, w: min(s**-0.5, s * w**-1.5), "1/√d_model is missing"),
    ("15.4", lambda s, d, w: d**-0.5 * max(s**-0.5, s * w**-1.5), "smaller of the two"),
    ("15.4", lambda s, d, w: d**-0.5 * s * w**-1.5, "falls with"),
    ("15.5", lambda f, b, e, n: [b, *greedy(f, b, e, n)], "leave bos out"),
    ("15.5", lambda f, b, e, n: [*greedy(f, b, e, n), e], "leave it out"),
    ("15.5", lambda f, b, e, n: greedy(f, b, e, 10), "max_length"),
    ("15.5", lambda f, b, e, n: [3, 3, 3], "feed it back"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)
