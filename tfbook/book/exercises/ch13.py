"""Checkers of chapter 13, residuals and norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_tensor, compare


def check_layer_norm(fn: Callable[..., Any]) -> None:
    """Exercise 13.1."""
    x, gain, bias = _tokens()
    for eps in (1e-5, 0.5):
        given = as_tensor(fn(x.clone(), gain.clone(), bias.clone(), eps), (2, 3, 5))
        mean = x.mean(-1, keepdim=True)
        variance = x.var(-1, keepdim=True, correction=0)
        unbiased = x.var(-1, keepdim=True)

        def scaled(centred: Tensor, root: Tensor) -> Tensor:
            return centred / root * gain + bias

        mistakes = {
            "the variance divides by d, not by d - 1: torch.var needs correction=0": scaled(
                x - mean, (unbiased + eps).sqrt()
            ),
            "is your epsilon inside the square root? It is added to the variance": scaled(
                x - mean, variance.sqrt() + eps
            ),
            "epsilon is missing": scaled(x - mean, variance.sqrt()),
            "divide by the standard deviation: you divide by the variance": scaled(
                x - mean, variance + eps
            ),
            "the mean is not subtracted: that is close to RMSNorm": scaled(
                x, (variance + eps).sqrt()
            ),
            "gain and bias are missing": (x - mean) / (variance + eps).sqrt(),
            "the bias is missing": scaled(x - mean, (variance + eps).sqrt()) - bias,
            "add the bias after the gain, not before": ((x - mean) / (variance + eps).sqrt() + bias)
            * gain,
            "statistics are taken over the sequence: they belong to each token, dim=-1": scaled(
                x - x.mean(1, keepdim=True), (x.var(1, keepdim=True, correction=0) + eps).sqrt()
            ),
            "all tokens of a sequence share statistics: take them over the features alone": scaled(
                x - x.mean((1, 2), keepdim=True),
                (x.var((1, 2), keepdim=True, correction=0) + eps).sqrt(),
            ),
            "statistics are taken over the batch: that is batch norm": scaled(
                x - x.mean((0, 1)), (x.var((0, 1), correction=0) + eps).sqrt()
            ),
        }
        compare(given, scaled(x - mean, (variance + eps).sqrt()), mistakes)


def check_rms_norm(fn: Callable[..., Any]) -> None:
    """Exercise 13.2."""
    x, gain, _ = _tokens()
    for eps in (1e-6, 0.5):
        given = as_tensor(fn(x.clone(), gain.clone(), eps), (2, 3, 5))
        square = x.square().mean(-1, keepdim=True)
        centred = x - x.mean(-1, keepdim=True)
        mistakes = {
            "the mean is subtracted: that is layer norm, RMSNorm leaves it in": centred
            / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
            * gain,
            "the deviation ignores the mean: take the mean of the squares of x itself": x
            / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
            * gain,
            "is your epsilon inside the square root? It is added to the mean square": x
            / (square.sqrt() + eps)
            * gain,
            "the square root is missing": x / (square + eps) * gain,
            "divide by the root of the mean of squares: you take their sum, √d times as much": x
            / (x.square().sum(-1, keepdim=True) + eps).sqrt()
            * gain,
            "the gain is missing": x / (square + eps).sqrt(),
            "all tokens share one mean square: take it over the features alone": x
            / (x.square().mean() + eps).sqrt()
            * gain,
        }
        compare(given, x / (square + eps).sqrt() * gain, mistakes)


def check_join(fn: Callable[..., Any]) -> None:
    """Exercise 13.3."""
    x = torch.tensor([[[3.0, 5.0]]])

    def f(h: Tensor) -> Tensor:
        return 10 * h + 1

    # Not linear: the norm of a sum must differ from the sum of the norms.
    def norm(h: Tensor) -> Tensor:
        return h / h.square().mean(-1, keepdim=True).sqrt()

    right = {
        "pre": x + f(norm(x)),
        "post": norm(x + f(x)),
        "branch": x + norm(f(x)),
        "both": x + norm(f(norm(x))),
    }
    hints = {
        "pre": "the sublayer reads the norm of x, and x itself is added",
        "post": "the norm comes after the sum",
        "branch": "the norm is taken of what the sublayer gives, before the sum",
        "both": "the norm stands before and after the sublayer, on the branch",
    }
    for placement, wanted in right.items():
        given = as_tensor(fn(x.clone(), f, norm, placement), (1, 1, 2))
        mistakes = {
            f"for {placement!r} you give the {other} form: {hints[placement]}": value
            for other, value in right.items()
            if other != placement
        }
        without = {
            "pre": f(norm(x)),
            "post": norm(f(x)),
            "branch": norm(f(x)),
            "both": norm(f(norm(x))),
        }
        mistakes[f"{placement!r}: the skip is missing, x must be added"] = without[placement]
        apart = (
            "'post': the norm is taken of the sum, not of x and f(x) apart"
            if placement == "post"
            else f"{placement!r}: the skip adds the normalised x; add x itself"
        )
        mistakes[apart] = norm(x) + without[placement]
        mistakes[f"{placement!r}: there is no norm: {hints[placement]}"] = x + f(x)
        compare(given, wanted, mistakes)


def check_stream_parts(fn: Callable[..., Any]) -> None:
    """Exercise 13.4."""
    x = torch.tensor([[[3.0, 5.0, 9.0]]])
    sublayers: list[Callable[[Tensor], Tensor]] = [
        lambda h: 2 * h + 1,
        lambda h: h.flip(-1),
        lambda h: h.square(),
    ]

    def norm(h: Tensor) -> Tensor:
        return h / h.square().mean(-1, keepdim=True).sqrt()

    stream, wanted = x, [x]
    for f in sublayers:
        wanted.append(f(norm(stream)))
        stream = stream + wanted[-1]
    given = fn(x.clone(), list(sublayers), norm)
    if not isinstance(given, list | tuple):
        raise Wrong(f"give a list of tensors, not {type(given).__name__}")
    if len(given) == len(sublayers):
        raise Wrong("the first part is missing: x itself enters the stream")
    if len(given) != len(wanted):
        raise Wrong(f"you give {len(given)} parts; there are {len(wanted)}: x and each sublayer's")
    parts = [as_tensor(part, (1, 1, 3)) for part in given]
    streams = list(torch.cat(wanted).cumsum(0)[:, None])
    same_input = [x, *(f(norm(x)) for f in sublayers)]
    unnormed, raw = x, [x]
    for f in sublayers:
        raw.append(f(unnormed))
        unnormed = unnormed + raw[-1]
    compare(
        torch.cat(parts),
        torch.cat(wanted),
        {
            "those are the states of the stream: give what is added at each step": torch.cat(
                streams
            ),
            "every sublayer reads x: each must read the stream that the ones before it left": (
                torch.cat(same_input)
            ),
            "the sublayers read the raw stream: in pre-norm they read its norm": torch.cat(raw),
        },
    )


def check_shares(fn: Callable[..., Any]) -> None:
    """Exercise 13.5."""
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    for name, norm, right, hint in _sharing():
        given = fn(norm, x.clone())
        if given not in ("token", "sequence", "batch"):
            raise Wrong(f"give 'token', 'sequence' or 'batch', not {given!r}")
        if given == right:
            continue
        if hint:
            raise Wrong(f"{name} is {right!r}, you say {given!r}: {hint}")
        if given == "sequence" and right == "batch":
            raise Wrong(f"{name} is 'batch': look at the outputs of the other sequences too")
        if given == "token":
            raise Wrong(f"{name} is {right!r}: change one token and look at the others' outputs")
        raise Wrong(f"{name} is {right!r}, you say {given!r}: do not count the changed token")


def _sharing() -> list[tuple[str, Callable[[Tensor], Tensor], str, str | None]]:
    """Name, function, the right answer, and what to say of a wrong one beside it."""

    def over(*axes: int, eps: float = 1e-3) -> Callable[[Tensor], Tensor]:
        return lambda h: (
            (h - h.mean(axes, keepdim=True)) / (h.std(axes, keepdim=True, correction=0) + eps)
        )

    def third_is_a_sum(h: Tensor) -> Tensor:
        return torch.stack([h[:, 0], h[:, 1], h[:, 1] + h[:, 2], h[:, 3]], 1)

    # So small an epsilon is lost in rounding: not even a factor shows.
    normalised = over(2, eps=1e-8)
    each = "move each token in turn, and look at the outputs before and after it"
    middle = "move each token in turn, those in the middle too, and look at all the others"
    apart = "layer norm hides a shift or a factor: change a token's features by different numbers"
    all_of = "move tokens of every sequence, and look at the sequences before and after it"
    return [
        ("layer norm", over(2), "token", None),
        ("a norm over positions and features", over(1, 2), "sequence", None),
        ("batch norm", over(0, 1), "batch", None),
        ("doubling", lambda h: 2 * h, "token", None),
        # Only later tokens are read: moving the first one shows nothing.
        ("a sum from the right", lambda h: h.flip(1).cumsum(1).flip(1), "sequence", each),
        ("a norm over the batch, position by position", over(0), "batch", None),
        ("a running sum over positions", lambda h: h.cumsum(1), "sequence", each),
        (
            "a running sum of normalised tokens",
            lambda h: normalised(h).cumsum(1),
            "sequence",
            apart,
        ),
        # Only sequences before, or only those behind, show a change.
        ("a sum from the last sequence", lambda h: h.flip(0).cumsum(0).flip(0), "batch", all_of),
        ("a running sum over sequences", lambda h: h.cumsum(0), "batch", all_of),
        ("a sum of tokens 2 and 3", third_is_a_sum, "sequence", middle),
    ]


def _tokens() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(2, 3, 5, generator=generator) + torch.tensor([1.0, 2.0, 3.0, 5.0, 8.0])
    gain = torch.tensor([1.0, 2.0, 0.5, -1.0, 3.0])
    return x, gain, torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0])


CHECKERS = {
    "13.1": check_layer_norm,
    "13.2": check_rms_norm,
    "13.3": check_join,
    "13.4": check_stream_parts,
    "13.5": check_shares,
}
