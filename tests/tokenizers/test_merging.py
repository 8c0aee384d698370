"""Merges within one word: short, long, remembered."""

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbook.tokenizers import merging
from tfbook.tokenizers.merging import LONG_WORD, MAX_WORD_LENGTH, WordCache, merge

Pair = tuple[int, int]


def by_hand(parts: list[int], ranks: dict[Pair, int], merged: list[int]) -> list[int]:
    """The definition: look at all pairs, join the leftmost of the lowest rank, look again."""
    parts = list(parts)
    while True:
        pairs = [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not pairs:
            return parts
        rank, at = min(pairs)
        parts[at : at + 2] = [merged[rank]]


@st.composite
def merges(draw: st.DrawFn) -> tuple[dict[Pair, int], list[int]]:
    """Merges of three letters, later ones of what earlier ones made, in any order of ranks."""
    made = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), unique=True, max_size=12))
    order = draw(st.permutations(range(len(made))))
    merged = [0] * len(made)
    for new, rank in enumerate(order, start=3):
        merged[rank] = new
    return dict(zip(made, order, strict=True)), merged


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), max_size=40), merges())
def test_as_the_definition_says(parts: list[int], made: tuple[dict[Pair, int], list[int]]) -> None:
    assert merge(parts, *made) == by_hand(parts, *made)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), max_size=60), merges())
def test_long_words_as_short_ones(
    parts: list[int], made: tuple[dict[Pair, int], list[int]]
) -> None:
    assert merging._merge_long(parts, *made) == by_hand(parts, *made)


def test_the_word_is_not_changed() -> None:
    parts = [0, 1]
    assert merge(parts, {(0, 1): 0}, [2]) == [2]
    assert parts == [0, 1]


def test_time_grows_with_the_length_and_not_with_its_square() -> None:
    draw = random.Random(0).choices
    ranks = {(a, b): a * 40 + b for a in range(40) for b in range(40)}
    merged = [40 + rank for rank in range(1600)]

    def seconds(n: int) -> float:
        parts = draw(range(40), k=n)
        began = time.process_time()
        merge(parts, ranks, merged)
        return time.process_time() - began

    seconds(LONG_WORD + 1)
    # n log n gives 20, a square 256.
    assert min(seconds(64_000) for _ in range(3)) < 64 * min(seconds(4_000) for _ in range(3))


def test_words_are_remembered() -> None:
    asked: list[str] = []

    def encode(word: str) -> list[int]:
        asked.append(word)
        return [len(word)]

    known = WordCache(encode)
    long = "x" * (MAX_WORD_LENGTH + 1)
    assert [known[word] for word in ("a", "a", "bc", long, long)] == [[1], [1], [2], [257], [257]]
    assert asked == ["a", "bc", long, long]


def test_a_full_memory_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MAX_WORDS", 3)
    known = WordCache(lambda word: [len(word)])
    assert [known[word] for word in "abcd"] == [[1]] * 4
    assert dict(known) == {"d": [1]}
