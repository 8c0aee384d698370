"""Byte-pair merges within one word: a list for short words, a heap for long ones."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]

#: No merge has this rank.
NO_MERGE = 1 << 62
#: Words of more parts go through the heap. Below it, searching a list costs less.
LONG_WORD = 128
#: The most words that a tokenizer remembers. English text has some 50,000 in a million words.
MAX_WORDS = 1 << 16
#: Longer words are not remembered: they hardly come back.
MAX_WORD_LENGTH = 256


def merge(parts: Sequence[int], ranks: Mapping[Pair, int], merged: Sequence[int]) -> list[int]:
    """Merge pairs of neighbours, the lowest rank first and from the left, until none is left.

    Args:
        parts: the ids of a word's bytes.
        ranks: the rank of each pair that may be merged.
        merged: the id that the merge of each rank makes.

    Returns:
        The ids of the word's tokens. The time is ``n log n`` in the number of parts.

    Example:
        >>> merge([0, 1, 0, 1, 0], {(0, 1): 0, (2, 2): 1}, [2, 3])
        [3, 0]

    Source: Sennrich et al. (2016), section 3.2. Chapter: 03.
    """
    if len(parts) > LONG_WORD:
        return _merge_long(parts, ranks, merged)
    parts = list(parts)
    rank_of = ranks.get
    found = [rank_of(pair, NO_MERGE) for pair in pairwise(parts)]
    while found and (best := min(found)) != NO_MERGE:
        at = found.index(best)
        parts[at : at + 2] = [merged[best]]
        del found[at]
        if at:
            found[at - 1] = rank_of((parts[at - 1], parts[at]), NO_MERGE)
        if at < len(found):
            found[at] = rank_of((parts[at], parts[at + 1]), NO_MERGE)
    return parts


def _merge_long(
    parts: Sequence[int], ranks: Mapping[Pair, int], merged: Sequence[int]
) -> list[int]:
    """The same with a linked list and a heap of (rank, place): each merge costs log n."""
    n = len(parts)
    ids: list[int] = list(parts)  # -1 where a part was merged into the one before it
    after = list(range(1, n + 1))
    before = list(range(-1, n - 1))
    heap = [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, at = heapq.heappop(heap)
        right = after[at]
        # The pair of this entry may be gone: then another rank, or none, stands at its place.
        if ids[at] < 0 or right >= n or ranks.get((ids[at], ids[right])) != rank:
            continue
        ids[at], ids[right] = merged[rank], -1
        after[at] = after[right]
        if after[at] < n:
            before[after[at]] = at
        for left in (before[at], at):
            if left >= 0 and after[left] < n:
                new = ranks.get((ids[left], ids[after[left]]))
                if new is not None:
                    heapq.heappush(heap, (new, left))
    return [index for index in ids if index >= 0]


class WordCache(dict[str, list[int]]):
    """The ids of the words met so far: a word that comes back costs one look-up.

    Args:
        encode: gives the ids of a word that is new.

    Example:
        >>> lengths = WordCache(lambda word: [len(word)])
        >>> lengths["three"], len(lengths)
        ([5], 1)

    Chapter: 03.
    """

    def __init__(self, encode: Callable[[str], list[int]]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, word: str) -> list[int]:
        """Encode a new word and remember it. A full memory is emptied: it fills fast."""
        ids = self._encode(word)
        if len(word) <= MAX_WORD_LENGTH:
            if len(self) >= MAX_WORDS:
                self.clear()
            self[word] = ids
        return ids
