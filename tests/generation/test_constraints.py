"""What is forbidden and forced: by hand, and beside Hugging Face's processors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

from tfbook.generation import (
    BannedSequences,
    BannedTokens,
    ForcedTokens,
    MinimumLength,
    NoRepeatNGram,
)

VOCAB = 7
ROWS = st.integers(1, 12).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 2), min_size=n, max_size=n), min_size=1, max_size=4)
)


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, n=st.integers(1, 5))
def test_no_repeat_ngram_as_theirs(rows: list[list[int]], n: int) -> None:
    ids = torch.tensor(rows)
    logits = torch.randn(len(rows), VOCAB)
    expected = NoRepeatNGramLogitsProcessor(n)(ids, logits.clone())
    assert torch.equal(NoRepeatNGram(n)(ids, logits), expected)


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, n=st.integers(1, 5), padding=st.integers(1, 4))
def test_padding_completes_no_ngram(rows: list[list[int]], n: int, padding: int) -> None:
    ids = torch.tensor(rows)
    logits = torch.randn(len(rows), VOCAB)
    padded = torch.cat([torch.full((len(rows), padding), -1), ids], dim=1)
    assert NoRepeatNGram(n)(padded, logits).equal(NoRepeatNGram(n)(ids, logits))


@settings(max_examples=80, deadline=None)
@given(
    rows=ROWS,
    banned=st.lists(
        st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=3, unique_by=tuple
    ),
)
def test_banned_sequences_as_theirs(rows: list[list[int]], banned: list[list[int]]) -> None:
    ids, logits = torch.tensor(rows), torch.randn(len(rows), VOCAB)
    expected = NoBadWordsLogitsProcessor(banned)(ids, logits.clone())
    assert torch.equal(BannedSequences(banned)(ids, logits), expected)


def test_banned_tokens_as_theirs() -> None:
    ids, logits = torch.zeros(3, 2).long(), torch.randn(3, VOCAB)
    expected = SuppressTokensLogitsProcessor([1, 5])(ids, logits.clone())
    assert torch.equal(BannedTokens([1, 5])(ids, logits), expected)


@pytest.mark.parametrize("n_ids", [4, 5, 6, 9])
def test_minimum_length_as_theirs(n_ids: int) -> None:
    ids, logits = torch.zeros(3, n_ids).long(), torch.randn(3, VOCAB)
    expected = MinNewTokensLengthLogitsProcessor(4, 2, [1, 5])(ids, logits.clone())
    assert torch.equal(MinimumLength(2, [1, 5], prompt_length=4)(ids, logits), expected)


def test_forced_tokens_leave_one_and_act_at_their_place_only() -> None:
    forced = ForcedTokens({0: 3, 2: 1}, prompt_length=4)
    logits = torch.randn(2, VOCAB)
    for n_ids, token in [(4, 3), (5, None), (6, 1), (7, None)]:
        made = forced(torch.zeros(2, n_ids).long(), logits)
        if token is None:
            assert made.equal(logits)
        else:
            assert made.isfinite().nonzero()[:, 1].tolist() == [token, token]
            assert made[:, token].equal(logits[:, token])


def test_input_stays_as_it_is() -> None:
    ids, logits = torch.tensor([[0, 1, 0], [1, 1, 1]]), torch.randn(2, VOCAB)
    before = logits.clone()
    for constraint in (
        BannedTokens([1]),
        BannedSequences([[0, 1], [2]]),
        ForcedTokens({0: 1}, prompt_length=3),
        NoRepeatNGram(2),
        MinimumLength(1, [2], prompt_length=3),
    ):
        assert not constraint(ids, logits).equal(before)
        assert logits.equal(before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BannedTokens([]), "tokens is empty, but must hold at least one"),
        (lambda: BannedTokens([-1]), r"tokens holds \[-1\], but must hold integers of at least 0"),
        (lambda: BannedSequences([]), r"sequences=\[\] must hold at least one"),
        (lambda: BannedSequences([[]]), "sequences is empty"),
        (lambda: BannedSequences([[1, 2.0]]), r"sequences holds \[2.0\], but must hold integers"),
        (lambda: ForcedTokens({}, prompt_length=1), "tokens is empty"),
        (lambda: ForcedTokens({-1: 3}, prompt_length=1), r"places of tokens holds \[-1\]"),
        (lambda: ForcedTokens({0: 3}, prompt_length=-1), "prompt_length=-1 must be at least 0"),
        (lambda: NoRepeatNGram(0), "no_repeat_ngram=0 must be an integer of at least 1"),
        (lambda: MinimumLength(0, [1], prompt_length=1), "n=0 must be at least 1"),
        (lambda: MinimumLength(1, [], prompt_length=1), "end_ids is empty"),
    ],
)
def test_bad_constraints(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "constraint",
    [
        BannedTokens([99]),
        BannedSequences([[99]]),
        ForcedTokens({0: 99}, prompt_length=1),
        MinimumLength(1, [99], prompt_length=1),
    ],
)
def test_tokens_that_the_vocabulary_lacks(constraint: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"holds 99, but ids must lie in \[0, vocab_size=7\)"):
        constraint(torch.zeros(1, 1).long(), torch.zeros(1, VOCAB))
