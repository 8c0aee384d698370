"""The kept sets, by hand and beside Hugging Face's, ties and tokens already cut off included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from tfbook.generation import MinP, Temperature, TopK, TopP, Typical


def no_ids(logits: Tensor) -> Tensor:
    """Cut-offs don't look at them."""
    return torch.zeros(len(logits), 0, dtype=torch.int64)


def kept(cut: Callable[[Tensor, Tensor], Tensor], p: list[float]) -> list[int]:
    logits = torch.tensor([p]).log()
    return cut(no_ids(logits), logits)[0].isfinite().nonzero()[:, 0].tolist()


P = [0.1, 0.4, 0.05, 0.25, 0.2]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (TopK(1), [1]),
        (TopK(3), [1, 3, 4]),
        (TopK(99), [0, 1, 2, 3, 4]),
        (TopP(0.01), [1]),
        (TopP(0.39), [1]),
        (TopP(0.41), [1, 3]),
        (TopP(0.84), [1, 3, 4]),
        (TopP(1.0), [0, 1, 2, 3, 4]),
        (MinP(1.0), [1]),
        (MinP(0.49), [1, 3, 4]),
        (MinP(0.1), [0, 1, 2, 3, 4]),
        # The entropy is 1.42 nats; the surprises are 2.30, 0.92, 3.00, 1.39 and 1.61.
        (Typical(0.2), [3]),
        (Typical(0.4), [3, 4]),
        (Typical(0.8), [1, 3, 4]),
        (Typical(1.0), [0, 1, 2, 3, 4]),
    ],
)
def test_kept_sets_by_hand(cut: Callable[[Tensor, Tensor], Tensor], expected: list[int]) -> None:
    assert kept(cut, P) == expected


def test_typical_may_drop_the_most_probable_token() -> None:
    assert 0 not in kept(Typical(0.5), [0.3, *[0.1] * 7])


def test_temperature() -> None:
    logits = torch.randn(3, 7)
    cold = Temperature(0.5)(no_ids(logits), logits).softmax(-1)
    torch.testing.assert_close(cold, torch.nn.functional.normalize(logits.softmax(-1) ** 2, 1, 1))


# Few values, so that most rows have ties; −∞ stands for what was cut off before.
TIED = st.lists(st.sampled_from([-torch.inf, -1.5, 0.0, 0.25, 0.25, 2.0]), min_size=7, max_size=7)
SHARES = st.floats(0.01, 0.99)
PAIRS: dict[str, tuple[Any, Any]] = {
    "top_p": (TopP, TopPLogitsWarper),
    "min_p": (MinP, MinPLogitsWarper),
    "typical": (Typical, TypicalLogitsWarper),
    "temperature": (Temperature, TemperatureLogitsWarper),
}


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(TIED, min_size=1, max_size=4), share=SHARES)
def test_as_theirs(name: str, rows: list[list[float]], share: float) -> None:
    ours, theirs = PAIRS[name]
    logits = torch.tensor(rows)
    logits[:, 0] = 0.5  # at least one token is left
    expected = theirs(share)(no_ids(logits), logits.clone())
    assert torch.equal(ours(share)(no_ids(logits), logits), expected)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(TIED, min_size=1, max_size=4), k=st.integers(1, 9))
def test_top_k_as_theirs(rows: list[list[float]], k: int) -> None:
    logits = torch.tensor(rows)
    assert torch.equal(
        TopK(k)(no_ids(logits), logits), TopKLogitsWarper(k)(no_ids(logits), logits.clone())
    )


@pytest.mark.parametrize("name", PAIRS)
def test_as_theirs_on_a_large_vocabulary(name: str) -> None:
    ours, theirs = PAIRS[name]
    logits = 3 * torch.randn(5, 10_007)
    for share in (0.05, 0.3, 0.7, 0.95):
        expected = theirs(share)(no_ids(logits), logits.clone())
        assert torch.equal(ours(share)(no_ids(logits), logits), expected)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.lists(st.floats(-9, 9), min_size=6, max_size=6), min_size=1), p=SHARES)
def test_laws(rows: list[list[float]], p: float) -> None:
    """The nucleus has the mass asked for, and no smaller set of best tokens has it."""
    logits = torch.tensor(rows, dtype=torch.float64)
    full = logits.softmax(-1)
    inside = TopP(p)(no_ids(logits), logits).isfinite()
    mass = (full * inside).sum(-1)
    assert (mass >= p - 1e-12).all()
    least = full.masked_fill(~inside, 2.0).amin(-1)
    assert ((mass - least < p + 1e-12) | (inside.sum(-1) == 1)).all()
    assert logits.masked_fill(~inside, -99).amax(-1).equal(logits.amax(-1))
    assert (
        MinP(p)(no_ids(logits), logits).isfinite().gather(1, logits.argmax(-1, keepdim=True)).all()
    )


def test_input_stays_as_it_is() -> None:
    logits = torch.randn(2, 7)
    before = logits.clone()
    for cut in (Temperature(0.5), TopK(2), TopP(0.4), MinP(0.4), Typical(0.4)):
        cut(no_ids(logits), logits)
        assert logits.equal(before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Temperature(0.0), "temperature=0.0 must be positive and finite"),
        (lambda: Temperature(float("inf")), "temperature=inf must be positive and finite"),
        (lambda: TopK(0), "top_k=0 must be an integer of at least 1; None keeps all"),
        (lambda: TopK(2.5), "top_k=2.5 must be an integer"),
        (lambda: TopP(0.0), r"top_p=0.0 must lie in \(0, 1\]"),
        (lambda: TopP(1.1), r"top_p=1.1 must lie in \(0, 1\]"),
        (lambda: MinP(0.0), r"min_p=0.0 must lie in \(0, 1\]"),
        (lambda: Typical(0.0), r"typical_p=0.0 must lie in \(0, 1\]"),
        (lambda: Typical(float("nan")), r"typical_p=nan must lie in \(0, 1\]"),
    ],
)
def test_bad_cutoffs(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
