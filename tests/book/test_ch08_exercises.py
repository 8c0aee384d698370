"""Chapter 08: the checkers accept right answers and name the cause of typical wrong ones."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tfbook.book.exercises import Wrong, check
from tfbook.book.exercises.ch08 import CHECKERS


def attention(q, k, v):
    return (q @ k.T / math.sqrt(q.shape[-1])).softmax(-1) @ v


def no_maximum(q, k, v):
    e = (q @ k.T / math.sqrt(q.shape[-1])).exp()
    return e / e.sum(-1, keepdim=True) @ v


def clamped(q, k, v):
    return (q @ k.T / math.sqrt(q.shape[-1])).clamp(-50, 50).softmax(-1) @ v


def streaming(q, blocks):
    highest, total, mixed = torch.tensor(-math.inf, dtype=q.dtype), 0.0, 0.0
    for k, v in blocks:
        scores = k @ q / math.sqrt(len(q))
        new = torch.maximum(highest, scores.max())
        e, rescale = (scores - new).exp(), (highest - new).exp()
        total, mixed, highest = total * rescale + e.sum(), mixed * rescale + e @ v, new
    return mixed / total


def without_rescaling(q, blocks):
    highest, total, mixed = torch.tensor(-math.inf, dtype=q.dtype), 0.0, 0.0
    for k, v in blocks:
        scores = k @ q / math.sqrt(len(q))
        highest = torch.maximum(highest, scores.max())
        e = (scores - highest).exp()
        total, mixed = total + e.sum(), mixed + e @ v
    return mixed / total


def without_maximum(q, blocks):
    total, mixed = 0.0, 0.0
    for k, v in blocks:
        e = (k @ q / math.sqrt(len(q))).exp()
        total, mixed = total + e.sum(), mixed + e @ v
    return mixed / total


def parts(q, blocks):
    return torch.stack([(k @ q / math.sqrt(len(q))).softmax(0) @ v for k, v in blocks])


def rescaled(q, blocks, *, total_too=True, mixed_too=True, sign=1, divide=True):
    highest, total, mixed = torch.tensor(-1e9, dtype=q.dtype), 0.0, 0.0
    for k, v in blocks:
        scores = k @ q / math.sqrt(len(q))
        new = torch.maximum(highest, scores.max())
        e = (scores - new).exp()
        rescale = (sign * (highest - new)).exp() if highest > -1e8 else 1.0
        total = total * (rescale if total_too else 1.0) + e.sum()
        mixed = mixed * (rescale if mixed_too else 1.0) + e @ v
        highest = new
    return mixed / total if divide else mixed


def read_twice(q, blocks):
    highest = max(float((k @ q).max()) for k, _ in blocks)
    total = sum(float((k @ q - highest).exp().sum()) for k, _ in blocks)
    return sum(((k @ q - highest).exp() @ v for k, v in blocks), torch.zeros(2)) * (1 / total)


def all_at_once(q, blocks):
    held = list(blocks)
    k, v = torch.cat([k for k, _ in held]), torch.cat([v for _, v in held])
    return (k @ q / math.sqrt(len(q))).softmax(0) @ v


RIGHT: dict[str, Callable[..., Any]] = {
    "08.1": attention,
    "08.2": lambda a: a.diag() - torch.outer(a, a),
    "08.3": lambda old, n, d: (8 * n * d * d, 4 * n * (old + n) * d),
    "08.4": lambda n, mass: math.log((n - 1) * mass / (1 - mass)),
    "08.5": streaming,
}

WRONG: list[tuple[str, Callable[..., Any], str]] = [
    ("08.1", lambda q, k, v: (q @ k.T).softmax(-1) @ v, r"not divided: where is √d_head"),
    ("08.1", lambda q, k, v: (q @ k.T / 4).softmax(-1) @ v, r"instead of its square root"),
    ("08.1", lambda q, k, v: (q @ k.T / 2).softmax(0) @ v, r"softmax over the wrong axis"),
    ("08.1", lambda q, k, v: (q @ k.T / 2).exp() @ v, r"divide by the sum"),
    ("08.1", lambda q, k, v: (q @ k.T / 5**0.5).softmax(-1) @ v, r"√n_k instead of √d_head"),
    ("08.1", lambda q, k, v: (q @ k.T).softmax(-1) / 2 @ v, r"softmax came before the division"),
    ("08.1", lambda q, k, v: q, r"the shape is \(3, 4\), expected \(3, 2\)"),
    ("08.1", lambda q, k, v: None, r"returned NoneType; return a tensor"),
    ("08.1", lambda q, k, v: 2 * attention(q, k, v), r"the largest difference is"),
    ("08.1", no_maximum, r"give NaN: subtract each row's maximum"),
    ("08.1", clamped, r"is anything clamped"),
    ("08.2", lambda a: (a * (1 - a)).diag(), r"also lowers the other keys' weights"),
    ("08.2", lambda a: torch.outer(a, a) - a.diag(), r"the sign is reversed"),
    ("08.2", lambda a: -torch.outer(a, a), r"add the diagonal"),
    ("08.2", lambda a: a.diag(), r"the sum in softmax depends"),
    ("08.2", lambda a: a.diag() - (a * a).diag() * 2 + torch.outer(a, a), r"others must fall"),
    ("08.2", lambda a: a * (1 - a), r"the shape is \(4,\), expected \(4, 4\)"),
    ("08.2", lambda a: a @ a, r"single number"),
    ("08.2", lambda a: a.diag() - a * a, r"entry by entry"),
    ("08.2", lambda a: torch.eye(4) - torch.outer(a, a), r"not the identity"),
    ("08.2", lambda a: RIGHT["08.2"](a.softmax(-1)), r"no second softmax"),
    ("08.2", lambda a: a.diag() - a @ a, r"every entry is lowered"),
    ("08.3", lambda m, n, d: 8 * n * d * d, r"give a pair"),
    ("08.3", lambda m, n, d: (4 * n * (m + n) * d, 8 * n * d * d), r"swapped"),
    ("08.3", lambda m, n, d: (8 * (m + n) * d * d, 4 * n * (m + n) * d), r"new tokens only"),
    (
        "08.3",
        lambda m, n, d: (6 * n * d * d, 4 * n * n * d),
        r"the output projection is the fourth",
    ),
    ("08.3", lambda m, n, d: (4 * n * d * d, 4 * n * n * d), r"multiply-add count as two"),
    ("08.3", lambda m, n, d: (2 * n * d * d, 4 * n * n * d), r"there are four"),
    ("08.3", lambda m, n, d: (1, 4 * n * n * d), r"expected 4704|expected 8064"),
    ("08.3", lambda m, n, d: (8 * n * d * d, 4 * n * n * d), r"meet the old keys too"),
    ("08.3", lambda m, n, d: (8 * n * d * d, 4 * (m + n) ** 2 * d), r"only new queries have rows"),
    ("08.3", lambda m, n, d: (8 * n * d * d, 2 * n * (m + n) * d), r"one product counted"),
    ("08.3", lambda m, n, d: (8 * n * d * d, n * (m + n) * d), r"two products, and two operations"),
    ("08.3", lambda m, n, d: (8 * n * d * d, 4 * n * d * d), r"quadratic in the width"),
    ("08.4", lambda n, m: math.log(n), r"log n alone"),
    ("08.4", lambda n, m: math.log(n * m / (1 - m)), r"one of the n is the right one"),
    ("08.4", lambda n, m: math.log(m / (1 - m)), r"the other n − 1 add up"),
    ("08.4", lambda n, m: -math.log((n - 1) * m / (1 - m)), r"the sign is reversed"),
    ("08.4", lambda n, m: math.log((n - 1) * m), r"the odds are"),
    ("08.4", lambda n, m: math.log(n - 1), r"where does `mass` enter"),
    ("08.4", lambda n, m: math.log2((n - 1) * m / (1 - m)), r"scores are in nats"),
    ("08.4", lambda n, m: 3.0, r"gives 3, a weight of"),
    ("08.5", lambda q, blocks: parts(q, blocks).sum(0), r"its own softmax"),
    ("08.5", lambda q, blocks: parts(q, blocks).mean(0), r"the mean of the blocks' answers"),
    ("08.5", lambda q, blocks: parts(q, blocks)[-1], r"the last block alone"),
    ("08.5", without_rescaling, r"not rescaled"),
    ("08.5", partial(rescaled, total_too=False), r"only the answer is rescaled"),
    ("08.5", partial(rescaled, mixed_too=False), r"only the sum is rescaled"),
    ("08.5", partial(rescaled, sign=-1), r"wrong direction"),
    ("08.5", partial(rescaled, divide=False), r"never divided"),
    ("08.5", read_twice, r"ZeroDivisionError: .* read twice"),
    ("08.5", without_maximum, r"keep the running maximum"),
    ("08.5", all_at_once, r"hold no block longer"),
    ("08.5", lambda q, blocks: streaming(q * math.sqrt(len(q)), blocks), r"where is √d_head"),
]


def test_every_exercise_has_a_right_answer() -> None:
    assert RIGHT.keys() == CHECKERS.keys()


@pytest.mark.parametrize("exercise", RIGHT)
def test_an_untouched_starter_is_no_failure(exercise: str) -> None:
    def starter(*_: object) -> None:
        raise NotImplementedError

    assert check(exercise, starter) is None


@pytest.mark.parametrize("exercise", RIGHT)
def test_right_answers_pass(exercise: str) -> None:
    assert check(exercise, RIGHT[exercise], required=True) is True


def test_a_lead_in_float32_is_good_enough() -> None:
    def lead(n: int, mass: float) -> Tensor:
        return torch.log((n - 1) * torch.tensor(mass) / (1 - mass))

    assert check("08.4", lead, required=True) is True


@pytest.mark.parametrize(("exercise", "answer", "diagnosis"), WRONG)
def test_wrong_answers_are_diagnosed(
    exercise: str, answer: Callable[..., Any], diagnosis: str
) -> None:
    with pytest.raises(Wrong, match=diagnosis):
        CHECKERS[exercise](answer)
