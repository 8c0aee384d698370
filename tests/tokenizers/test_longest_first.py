"""The greedy search in a word, by hand and against its definition."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tfbook.tokenizers.longest_first import LongestFirst

VOCAB = {"[U]": 0, "a": 1, "ab": 2, "##b": 3, "##bc": 4, "##a": 5, "abcab": 6}


def by_definition(word: str, limit: int) -> list[int]:
    ids: list[int] = []
    start = 0
    while start < len(word):
        mark = "##" * (start > 0)
        fits = [n for n in range(len(word), start, -1) if mark + word[start:n] in VOCAB]
        if not fits or len(word) > limit:
            return [0]
        ids.append(VOCAB[mark + word[start : fits[0]]])
        start = fits[0]
    return ids


@given(st.text(alphabet="abcd", min_size=1, max_size=9))
def test_the_longest_that_fits(word: str) -> None:
    pieces = LongestFirst(VOCAB, unk_id=0, max_characters=7)
    ids = pieces.ids(word)
    assert ids == by_definition(word, 7) == pieces.ids(word)
    offsets = pieces.offsets(ids, range(10, 10 + len(word)))
    assert offsets[0][0] == 10
    assert offsets[-1][1] == 10 + len(word)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(offsets))


def test_greedy_is_not_always_able() -> None:
    """``abc`` could be a+##bc, but ab is longer, and then nothing fits."""
    pieces = LongestFirst(VOCAB, unk_id=0, max_characters=99)
    assert pieces.ids("abc") == [0]
    assert pieces.ids("abcab") == [6]
