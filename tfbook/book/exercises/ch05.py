"""Checkers of chapter 05, language models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from operator import index
from typing import Any

import torch

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import as_tensor, compare, compare_number


def check_softmax(fn: Callable[..., Any]) -> None:
    """Exercise 05.1."""
    z = torch.tensor([[0.0, 1.0, 3.0], [2.0, -1.0, 0.5]], dtype=torch.float64)
    given = as_tensor(fn(z.clone()), (2, 3))
    mistakes = {
        "the sum runs over the whole tensor: take it over the last axis alone": z.exp()
        / z.exp().sum(),
        "the columns sum to one, not the rows: use the last axis": z.softmax(0),
        "these are logarithms of probabilities": z.log_softmax(-1),
        "the scores themselves are divided by their sum: take exponentials first": z
        / z.sum(-1, keepdim=True),
        "the exponentials are not divided by their sum": z.exp(),
        "those are exponentials below the largest: divide them by their sum": (
            z - z.amax(-1, keepdim=True)
        ).exp(),
    }
    compare(given, z.softmax(-1), mistakes)
    for shape in ((3,), (2, 1, 3)):
        x = torch.arange(math.prod(shape)).double().reshape(shape)
        compare(as_tensor(fn(x.clone()), shape), x.softmax(-1), {})
    # Whatever else is subtracted, an exponential overflows, or all of a row become 0.
    large = torch.tensor(
        [[1000.0, 1000.0], [-2000.0, -2001.0], [3000.0, -3000.0], [-3000.0, 3000.0]]
    )
    safe = as_tensor(fn(large.clone()), (4, 2))
    if not bool(safe.isfinite().all()):
        raise Wrong(
            f"logits in the thousands give {safe.tolist()}: subtract the largest score of each "
            "row before the exponential"
        )
    # Float32 numbers of a thousand lie 6e-5 apart, so a logarithm of the sum is that inexact.
    compare(safe, large.softmax(-1), {}, tolerance=1e-3)


def check_log_probability(fn: Callable[..., Any]) -> None:
    """Exercise 05.2."""
    first = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    table = torch.tensor([[0.1, 0.6, 0.3], [0.7, 0.2, 0.1], [0.25, 0.35, 0.4]]).double()
    ids = [1, 2, 0, 1, 2]
    steps = [table[a, b].item() for a, b in itertools.pairwise(ids)]
    right = math.log(first[ids[0]].item()) + sum(map(math.log, steps))
    start = math.log(first[ids[0]].item())
    around = math.log(table[ids[-1], ids[0]].item())
    turned = [table[b, a].item() for a, b in itertools.pairwise(ids)]
    mistakes = {
        "that is the probability: give its logarithm": math.exp(right),
        "that is in bits: use the natural logarithm": right / math.log(2),
        "that is the logarithm to base ten: use the natural one": right / math.log(10),
        "the first token is missing: it has a probability too": right - start,
        "the string need not begin with id 0: take first[ids[0]]": right
        - start
        + math.log(first[0].item()),
        "an index of -1 reads the last id: nothing comes before the first token": right + around,
        "an index of -1 reads the last id: the first token is looked up in `first`": right
        - start
        + around,
        "the table is read transposed: row i holds what follows i": start
        + sum(map(math.log, turned)),
        "the sign is turned: log-probabilities are negative": -right,
        "the last token is missing": right - math.log(steps[-1]),
        "that is the mean: give the sum over the string": right / len(ids),
        "that is the loss, minus the mean: give the sum over the string": -right / len(ids),
        "each token got its probability as a first token: use the table": sum(
            math.log(first[i].item()) for i in ids
        ),
    }
    compare_number(fn(list(ids), first.clone(), table.clone()), right, mistakes)
    compare_number(fn([2], first.clone(), table.clone()), math.log(0.2), {})
    long = [0, 2] * 2000
    expected = math.log(0.5) + 2000 * math.log(0.3) + 1999 * math.log(0.25)
    try:
        given = fn(long, first.clone(), table.clone())
    except ValueError:  # math.log of a product that became 0
        given = -math.inf
    if not math.isfinite(float(given)):
        raise Wrong(
            "4,000 tokens give no finite number: a product of so many probabilities is rounded to "
            "0; add logarithms instead"
        )
    compare_number(given, expected, {})


def check_logit_gradient(fn: Callable[..., Any]) -> None:
    """Exercise 05.3."""
    logits = torch.tensor(
        [[1.0, 0.0, -1.0, 2.0], [0.5, 0.5, 3.0, 0.0], [0.0, 1.0, 2.0, 3.0]], dtype=torch.float64
    )
    targets = torch.tensor([3, 0, -1])
    p = logits.softmax(-1)
    y = torch.nn.functional.one_hot(targets.clamp(min=0), 4)
    real = (targets >= 0)[:, None]
    right = (p - y) * real / 2
    as_last = torch.nn.functional.one_hot(targets % 4, 4)
    mistakes = {
        "the sign is turned: the gradient is p - y": -right,
        "that is the gradient of the sum: divide by the number of targets": right * 2,
        "padding counts in the mean: divide by the real targets alone": right * 2 / 3,
        "the row of the padding is not zero": (p - y) / 2,
        "-1 was read as the last token: padding has no gradient": (p - as_last) / 2,
        "padding counts like a target": (p - y) / 3,
        "-1 was read as the last token, and counted": (p - as_last) / 3,
        "that is p: the right tokens are missing": p * real / 2,
        "the logits need a softmax before y is subtracted": (logits - y) * real / 2,
        "that is -y: the model's own belief is missing": -y * real / 2,
        "the softmax runs down the column: the vocabulary is the last axis": (logits.softmax(0) - y)
        * real
        / 2,
        "divided by all elements: divide by the number of targets": right * 2 / 12,
        "two mistakes: -1 was read as the last token, and this is the gradient of the sum": p
        - as_last,
        "two mistakes: the row of the padding is not zero, and this is the gradient of the sum": p
        - y,
    }
    try:
        with torch.no_grad():
            given = fn(logits.clone(), targets.clone())
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise Wrong("autograd is turned off here: compute p - y yourself") from None
    given = as_tensor(given, (3, 4))
    compare(given.double(), right, mistakes)
    # Padding before a target, and the last id of the vocabulary is no target.
    targets = torch.tensor([1, -1, 0])
    y = torch.nn.functional.one_hot(targets.clamp(min=0), 4)
    with torch.no_grad():
        given = as_tensor(fn(logits.clone(), targets.clone()), (3, 4))
    compare(given.double(), (p - y) * (targets >= 0)[:, None] / 2, {})


def check_bits_per_byte(fn: Callable[..., Any]) -> None:
    """Exercise 05.4."""
    perplexity, n_tokens, text = 32.0, 6, "naïve café…"
    n_bytes = len(text.encode())
    nats = n_tokens * math.log(perplexity)
    right = nats / math.log(2) / n_bytes
    mistakes = {
        "that is per character: this text has more bytes than characters": right
        * n_bytes
        / len(text),
        "those are nats: one nat is 1/ln 2 bits": nats / n_bytes,
        "those are nats, and per character: give bits, per byte": nats / len(text),
        "1.44 is rounded: divide by math.log(2), or take math.log2": nats * 1.44 / n_bytes,
        "nats become bits by dividing by ln 2, not by multiplying": nats * math.log(2) / n_bytes,
        "that is per token: multiply by the tokens, divide by the bytes": math.log2(perplexity),
        "take the logarithm of the perplexity: it is the exponential of the loss": perplexity
        * n_tokens
        / math.log(2)
        / n_bytes,
        "take the logarithm: bits are the log2 of a number of choices": perplexity
        * n_tokens
        / n_bytes,
        "that is the perplexity per byte: give bits": math.exp(nats / n_bytes),
        "bytes and tokens are exchanged": math.log2(perplexity) * n_bytes / n_tokens,
        "divided by tokens and by bytes: multiply by the tokens": math.log2(perplexity) / n_bytes,
        "that is the total: divide by the bytes": math.log2(perplexity) * n_tokens,
    }
    compare_number(fn(perplexity, n_tokens, text), right, mistakes)
    compare_number(fn(3.0, 3, "abc"), math.log2(3), {})


def check_windows(fn: Callable[..., Any]) -> None:
    """Exercise 05.5."""
    for n, window, stride in ((8, 4, 2), (9, 4, 4), (12, 5, 1), (4, 7, 3), (6, 5, 2), (20, 6, 4)):
        case = f"n={n}, window={window}, stride={stride}"
        given = _triples(case, fn(n, window, stride))
        if not given:
            raise Wrong(f"{case}: the list is empty, and no token is scored")
        _check_targets(case, given, n, window)
        right = _windows(n, window, stride)
        if given != right:
            raise Wrong(f"{case}: got {given}, expected {right}")


def _triples(case: str, given: Any) -> list[tuple[int, int, int]]:
    """The windows as a list of tuples, from whatever rows of three whole numbers they came in."""
    try:
        return [(index(a), index(b), index(c)) for a, b, c in given]
    except (TypeError, ValueError):
        raise Wrong(f"{case}: give a list of triples (start, stop, scored)") from None


def _check_targets(case: str, given: list[tuple[int, int, int]], n: int, window: int) -> None:
    scored: list[int] = []
    for start, stop, count in given:
        if stop >= n:
            raise Wrong(
                f"{case}: a window reads up to token {stop - 1}, but after the last token, "
                f"{n - 1}, nothing is left to predict: stop at n - 1"
            )
        if stop - start > window:
            raise Wrong(f"{case}: ({start}, {stop}) reads more than {window} tokens")
        if start < 0 or count < 1 or count > stop - start:
            raise Wrong(f"{case}: ({start}, {stop}, {count}) scores predictions that it lacks")
        scored += range(stop - count + 1, stop + 1)
    twice = sorted({t for t in scored if scored.count(t) > 1})
    if twice:
        raise Wrong(f"{case}: token {twice[0]} is scored {scored.count(twice[0])} times")
    missing = sorted(set(range(1, n)) - set(scored))
    if missing:
        raise Wrong(f"{case}: token {missing[0]} is never scored")
    for start, stop, _ in given[1:]:
        if stop - start < window:
            raise Wrong(
                f"{case}: ({start}, {stop}) reads {stop - start} tokens: later windows are full, "
                "they begin earlier and score fewer"
            )


def _windows(n: int, window: int, stride: int) -> list[tuple[int, int, int]]:
    stops = [min(window, n - 1)]
    while stops[-1] < n - 1:
        stops.append(min(stops[-1] + stride, n - 1))
    before = [0, *stops]
    return [(max(0, b - window), b, b - a) for a, b in zip(before, stops, strict=False)]


CHECKERS = {
    "05.1": check_softmax,
    "05.2": check_log_probability,
    "05.3": check_logit_gradient,
    "05.4": check_bits_per_byte,
    "05.5": check_windows,
}
