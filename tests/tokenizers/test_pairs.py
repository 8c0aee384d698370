"""Two texts in one sequence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfbook.tokenizers.encoding import Encoding
from tfbook.tokenizers.pairs import join_pair, shared

ONE = Encoding([5, 6, 7], ["a", "b", "c"], [(0, 1), (1, 2), (2, 3)])
TWO = Encoding([8], ["d"], [(4, 5)])
AROUND = dict(before=[("[CLS]", 1)], after=[("[SEP]", 2)])


def test_by_hand() -> None:
    pair = join_pair(ONE, TWO, **AROUND)
    assert pair.ids == [1, 5, 6, 7, 2, 8, 2]
    assert pair.segments == [0, 0, 0, 0, 0, 1, 1]
    assert pair.tokens == ["[CLS]", "a", "b", "c", "[SEP]", "d", "[SEP]"]
    assert pair.offsets == [(0, 0), (0, 1), (1, 2), (2, 3), (0, 0), (4, 5), (0, 0)]
    assert join_pair(ONE, TWO, **AROUND, max_length=5).ids == [1, 5, 2, 8, 2]
    assert join_pair(ONE, TWO, before=[], after=[]).ids == [5, 6, 7, 8]


@given(*[st.integers(0, 30)] * 3)
def test_what_stays(n_first: int, n_second: int, room: int) -> None:
    """As if one token after the other were taken from the longer text, but for the odd one."""
    first, second = n_first, n_second
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    found = shared(n_first, n_second, room)
    assert sum(found) == first + second
    assert abs(found[0] - first) <= 1
    assert found[0] <= n_first
    assert found[1] <= n_second


def test_no_room() -> None:
    with pytest.raises(ValueError, match="max_length=2 must be at least 3, the special tokens"):
        join_pair(ONE, TWO, **AROUND, max_length=2)
