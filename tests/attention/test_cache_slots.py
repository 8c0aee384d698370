"""The ring beside a list that keeps every token."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbook.attention.cache_slots import Slots

CHUNKS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@settings(max_examples=50)
@given(CHUNKS, st.integers(1, 6), st.integers(0, 4))
def test_a_chunk_sees_the_window_before_it_and_itself(
    chunks: list[int], window: int, spare: int
) -> None:
    slots = Slots.sized(sum(chunks), window=window, spare=spare)
    ring, start = torch.full((2, slots.capacity, 3), -1.0), 0
    for n in chunks:
        new = torch.arange(start, start + n)[None, :, None].expand(2, n, 3).float()
        seen = slots.seen(ring, new, start=start, dim=1)
        tokens = slots.tokens(start=start, n=n)
        assert seen[0, :, 0].long().equal(tokens)
        if not slots.in_place(start=start, n=n):
            slots.write(ring, new, start=start, dim=1)
        mask = slots.mask(start=start, n=n)
        for i in range(n):
            visible = tokens if mask is None else tokens[mask[i]]
            visible = visible[visible <= start + i]  # causality
            first = max(0, start + i - window + 1)
            assert sorted(visible.tolist()) == list(range(first, start + i + 1))
        start += n


@settings(max_examples=50)
@given(CHUNKS, st.integers(1, 6), st.integers(0, 4), st.data())
def test_what_crop_allows_is_still_there(
    chunks: list[int], window: int, spare: int, data: st.DataObject
) -> None:
    total = sum(chunks) + 9 * len(chunks)
    slots = Slots.sized(total, window=window, spare=spare)
    ring, kept, longest = torch.full((slots.capacity,), -1.0), torch.zeros(0), 0
    for n in chunks:
        new = torch.rand(n)
        seen = slots.seen(ring, new, start=len(kept), dim=0)
        kept = torch.cat([kept, new])
        tokens, mask = (f(start=len(kept) - n, n=n) for f in (slots.tokens, slots.mask))
        last = seen if mask is None else seen[mask[-1]]
        of_last = tokens if mask is None else tokens[mask[-1]]
        assert last.equal(kept[of_last])
        if not slots.in_place(start=len(kept) - n, n=n):
            slots.write(ring, new, start=len(kept) - n, dim=0)
        slots.wrote(len(kept))
        longest = max(longest, len(kept))
        length = data.draw(st.integers(0, len(kept)))
        whole = length == 0 or slots.oldest <= max(0, length - window + 1)
        # As far as the spare reaches, and one further for the token that is read anew.
        assert whole or length < longest - spare - 1
        if whole:
            slots.crop(length)
            kept, longest = kept[:length], longest if length else 0


def test_a_window_is_a_ring_and_all_is_not() -> None:
    assert Slots.sized(10, window=3, spare=0).capacity == 3
    assert Slots.sized(10, window=3, spare=2).capacity == 5
    assert Slots.sized(4, window=3, spare=2).capacity == 4
    assert Slots.sized(10, window=None, spare=0).capacity == 10


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="window=0 must be at least 1"):
        Slots.sized(10, window=0, spare=0)
    with pytest.raises(ValueError, match="spare=-1 must be at least 0"):
        Slots.sized(10, window=3, spare=-1)
    with pytest.raises(ValueError, match="spare=2 needs a window"):
        Slots.sized(10, window=None, spare=2)
    slots = Slots.sized(10, window=3, spare=0)
    slots.wrote(8)
    slots.crop(7)
    message = "sees back to token 4, but a cache of 3 slots has overwritten all before token 5"
    with pytest.raises(RuntimeError, match=message):
        slots.crop(6)
    slots.crop(0)
    assert slots.oldest == 0
