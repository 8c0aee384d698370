"""Guesses copied from the text."""

from __future__ import annotations

import pytest

from tfbook.generation import PromptLookup


@pytest.mark.parametrize(
    ("ids", "longest", "expected"),
    [
        ([1, 2, 3, 9, 1, 2, 3], 3, [9, 1]),
        ([1, 2, 3, 9, 5, 2, 3, 7, 1, 2, 3], 3, [9, 5]),  # the longer end wins
        ([1, 2, 3, 9, 5, 2, 3, 7, 1, 2, 3], 2, [7, 1]),  # then the later place
        ([4, 4], 3, [4]),
        ([4, 4, 4], 3, [4]),
        ([1, 2, 3], 3, []),
        ([1], 3, []),
        ([3, 1, 3], 1, [1, 3]),
    ],
)
def test_by_hand(ids: list[int], longest: int, expected: list[int]) -> None:
    assert PromptLookup(longest).find(ids, 2) == expected


def test_bad_length() -> None:
    with pytest.raises(ValueError, match="longest=0 must be at least 1"):
        PromptLookup(0)
