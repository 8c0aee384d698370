"""The checkers of chapter 13 name the mistake that was made."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from exercise_answers import answer_tests
from torch import Tensor


def norm(x: Tensor, gain: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], gain, bias, eps)


def over(x: Tensor, axes: int | tuple[int, ...], eps: float) -> Tensor:
    variance = x.var(axes, keepdim=True, correction=0)
    return (x - x.mean(axes, keepdim=True)) / (variance + eps).sqrt()


def unbiased(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + eps).sqrt() * gain + bias


def outside(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return over(x, -1, 0.0) * (s := x.std(-1, keepdim=True, correction=0)) / (s + eps) * gain + bias


def by_variance(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    return (x - mean) / (variance + eps) * gain + bias


def uncentred(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return x / (x.var(-1, keepdim=True, correction=0) + eps).sqrt() * gain + bias


def rms(x: Tensor, gain: Tensor, eps: float = 1e-6) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], gain, eps)


FORMS: dict[str, Callable] = {
    "pre": lambda x, f, n: x + f(n(x)),
    "post": lambda x, f, n: n(x + f(x)),
    "branch": lambda x, f, n: x + n(f(x)),
    "both": lambda x, f, n: x + n(f(n(x))),
}


def join(x: Tensor, f: Callable, n: Callable, placement: str) -> Tensor:
    return FORMS[placement](x, f, n)


def parts(x: Tensor, sublayers: list[Callable], n: Callable) -> list[Tensor]:
    found = [x]
    for f in sublayers:
        found.append(f(n(sum(found))))
    return found


def states(x: Tensor, sublayers: list[Callable], n: Callable) -> list[Tensor]:
    found = parts(x, sublayers, n)
    return [sum(found[: i + 1]) for i in range(len(found))]


def raw(x: Tensor, sublayers: list[Callable], n: Callable) -> list[Tensor]:
    return parts(x, sublayers, lambda h: h)


def by_moving(
    move: Callable[[Tensor], Tensor] = lambda token: token + torch.arange(1.0, 6),
    sequences: tuple[int, ...] = (0, 1, 2),
    tokens: tuple[int, ...] = (0, 1, 2, 3),
) -> Callable[[Callable, Tensor], str]:
    """Answer by moving some tokens only, or each in a way that may not show."""

    def answer(n: Callable, x: Tensor) -> str:
        widest = "token"
        for b in sequences:
            for t in tokens:
                other = x.clone()
                other[b, t] = move(other[b, t])
                changed = (n(other) - n(x)).abs().amax(-1) > 1e-6
                changed[b, t] = False
                if changed[torch.arange(len(x)) != b].any():
                    return "batch"
                widest = "sequence" if changed.any() else widest
        return widest

    return answer


shares = by_moving()


def own_sequence_only(n: Callable, x: Tensor) -> str:
    return "sequence" if shares(n, x) == "batch" else shares(n, x)


RIGHT = {
    "13.1": norm,
    "13.2": rms,
    "13.3": join,
    "13.4": parts,
    "13.5": shares,
}
WRONG: list[tuple[str, Callable, str]] = [
    ("13.1", lambda x, g, b, e: norm(x, g, b, e).tolist(), "give a tensor"),
    ("13.1", lambda x, g, b, e: norm(x, g, b, e)[0], "the shape is"),
    ("13.1", unbiased, "correction=0"),
    ("13.1", outside, "inside the square root"),
    ("13.1", by_variance, "you divide by the variance"),
    ("13.1", uncentred, "the mean is not subtracted"),
    ("13.1", lambda x, g, b, e: over(x, -1, e), "gain and bias are missing"),
    ("13.1", lambda x, g, b, e: over(x, -1, e) * g, "the bias is missing"),
    ("13.1", lambda x, g, b, e: (over(x, -1, e) + b) * g, "after the gain"),
    ("13.1", lambda x, g, b, e: over(x, 1, e) * g + b, "over the sequence"),
    ("13.1", lambda x, g, b, e: over(x, (1, 2), e) * g + b, "share statistics"),
    ("13.1", lambda x, g, b, e: over(x, (0, 1), e) * g + b, "batch norm"),
    ("13.1", lambda x, g, b, e: norm(x, g, b, 0.0), "epsilon is missing"),
    ("13.2", lambda x, g, e: over(x, -1, e) * g, "that is layer norm"),
    ("13.2", lambda x, g, e: uncentred(x, g, torch.zeros(5), e), "the deviation"),
    ("13.2", lambda x, g, e: x / (rms_of(x) + e) * g, "inside the square root"),
    ("13.2", lambda x, g, e: x / (rms_of(x).square() + e) * g, "square root is missing"),
    ("13.2", lambda x, g, e: x / (5 * rms_of(x).square() + e).sqrt() * g, "their sum"),
    ("13.2", lambda x, g, e: rms(x, torch.ones(5), e), "the gain is missing"),
    ("13.2", lambda x, g, e: x / (x.square().mean() + e).sqrt() * g, "share one mean square"),
    ("13.3", lambda x, f, n, p: FORMS["pre"](x, f, n), "you give the pre form"),
    (
        "13.3",
        lambda x, f, n, p: FORMS["branch" if p == "post" else p](x, f, n),
        "for 'post' you give the branch form",
    ),
    ("13.3", lambda x, f, n, p: f(n(x)), "the skip is missing"),
    ("13.3", lambda x, f, n, p: n(x) + f(n(x)), "add x itself"),
    ("13.3", lambda x, f, n, p: x + f(x), "there is no norm"),
    (
        "13.3",
        lambda x, f, n, p: n(x) + n(f(x)) if p == "post" else FORMS[p](x, f, n),
        "the norm is taken of the sum, not of x and f(x) apart",
    ),
    ("13.4", lambda x, s, n: sum(parts(x, s, n)), "a list of tensors"),
    ("13.4", lambda x, s, n: parts(x, s, n)[1:], "the first part is missing"),
    ("13.4", lambda x, s, n: [*parts(x, s, n), x], "5 parts"),
    ("13.4", states, "states of the stream"),
    ("13.4", lambda x, s, n: [x, *(f(n(x)) for f in s)], "every sublayer reads x"),
    ("13.4", raw, "raw stream"),
    ("13.5", lambda n, x: 1, "give 'token'"),
    ("13.5", lambda n, x: "token", "look at the others"),
    ("13.5", by_moving(sequences=(0,), tokens=(0,)), "move each token in turn"),
    ("13.5", by_moving(lambda token: token + 1), "hides a shift or a factor"),
    ("13.5", by_moving(lambda token: 2 * token), "hides a shift or a factor"),
    ("13.5", by_moving(lambda token: 3 * token + 1), "hides a shift or a factor"),
    ("13.5", by_moving(lambda token: token.flip(0)), "look at the others"),
    ("13.5", by_moving(sequences=(0,)), "a sum from the last sequence is 'batch'"),
    ("13.5", by_moving(sequences=(2,)), "a running sum over sequences is 'batch'"),
    ("13.5", by_moving(tokens=(0, 3)), "those in the middle too"),
    ("13.5", own_sequence_only, "other sequences too"),
    ("13.5", lambda n, x: "batch", "do not count the changed token"),
]


def rms_of(x: Tensor) -> Tensor:
    return x.square().mean(-1, keepdim=True).sqrt()


# Other ways to move a token that show as much. (Flipping it does not: sums stay as they are.)
ALSO_RIGHT = [
    ("13.5", by_moving(torch.zeros_like)),
    ("13.5", by_moving(lambda token: -token)),
]

test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(
    [*RIGHT.items(), *ALSO_RIGHT], WRONG
)
