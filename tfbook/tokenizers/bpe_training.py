"""Learning the merges of byte-level BPE from the counts of words."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from tqdm import tqdm

from tfbook.checks import is_integer, require
from tfbook.tokenizers.byte_level import byte_characters
from tfbook.tokenizers.merging import Pair


def train_merges(
    counts: Mapping[str, int],
    *,
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    min_count: int = 1,
    progress: bool = False,
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn merges: again and again join the pair of neighbours that is most frequent.

    Each step costs in proportion to the words that hold the pair, not to the text.

    Args:
        counts: how often each word occurs. Pairs are counted within words.
        vocab_size: the number of tokens wanted; there are fewer when no pair is left.
        special_tokens: they take the first ids.
        min_count: a pair that occurs less often is not merged.
        progress: show a bar on standard error.

    Returns:
        The ids by token, and the merges in the order in which they were learned.

    Raises:
        ValueError: ``vocab_size`` is no integer, or below the 256 bytes and the special tokens.
        ValueError: ``min_count`` is below 1.
        ValueError: a special token occurs twice, or is a letter of a byte.

    Example:
        >>> train_merges({"low": 5, "lot": 2}, vocab_size=258)[1]
        [('l', 'o'), ('lo', 'w')]

    Source: Sennrich et al. (2016), algorithm 1; ties as in the `tokenizers` library.
    Chapter: 03.
    """
    tokens = [*special_tokens, *sorted(byte_characters())]
    ids = {token: index for index, token in enumerate(tokens)}
    require(
        is_integer(vocab_size) and vocab_size >= len(tokens),
        f"vocab_size={vocab_size!r} must be an integer of at least {len(tokens)}: 256 bytes and "
        f"{len(special_tokens)} special tokens; ask for more",
    )
    require(min_count >= 1, f"min_count={min_count} must be at least 1; 1 merges every pair")
    require(
        len(ids) == len(tokens),
        "special_tokens holds a token twice, or a single letter that stands for a byte; name each "
        "once, and longer",
    )
    letters = byte_characters()
    words = [[ids[letters[byte]] for byte in word.encode()] for word in counts]
    pairs = PairCounts(words, list(counts.values()))
    merges: list[tuple[str, str]] = []
    with tqdm(total=vocab_size - len(ids), disable=not progress, unit="merge") as bar:
        while len(ids) < vocab_size:
            pair = pairs.most_frequent(min_count)
            if pair is None:
                break
            left, right = tokens[pair[0]], tokens[pair[1]]
            merges.append((left, right))
            # Two merges can spell the same token: it is one token, and both are merges.
            if left + right not in ids:
                ids[left + right] = len(tokens)
                tokens.append(left + right)
                bar.update()
            pairs.merge(pair, ids[left + right])
    return ids, merges


class PairCounts:
    """How often each pair of neighbours occurs in words that change as pairs are merged.

    Args:
        words: the ids of each word's parts; they are changed in place.
        counts: how often each word occurs.

    Example:
        >>> pairs = PairCounts([[0, 1, 2], [1, 2]], [5, 1])
        >>> pairs.most_frequent()
        (1, 2)
        >>> pairs.merge((1, 2), 3)
        >>> pairs.words
        [[0, 3], [3]]

    Source: Sennrich et al. (2016), algorithm 1. Chapter: 03.
    """

    def __init__(self, words: list[list[int]], counts: Sequence[int]) -> None:
        self.words = words
        self._word_counts = counts
        self._counts: Counter[Pair] = Counter()
        self._places: dict[Pair, set[int]] = defaultdict(set)
        for place, (word, count) in enumerate(zip(words, counts, strict=True)):
            for pair in pairwise(word):
                self._counts[pair] += count
                self._places[pair].add(place)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)

    def most_frequent(self, min_count: int = 1) -> Pair | None:
        """Take out the most frequent pair; of several the one with the lowest ids.

        Args:
            min_count: the least number of occurrences.

        Returns:
            The pair, or None when no pair is that frequent.
        """
        while self._heap:
            count, pair = self._heap[0]
            now = self._counts[pair]
            # Counts only fall while a pair waits in the heap: a stale entry goes back in.
            if -count != now:
                heapq.heapreplace(self._heap, (-now, pair))
            elif now < min_count:
                return None
            else:
                heapq.heappop(self._heap)
                return pair
        return None

    def merge(self, pair: Pair, made: int) -> None:
        """Join a pair, from the left, in every word that holds it.

        Args:
            pair: the ids of the two parts.
            made: the id of what they become.
        """
        changed: set[Pair] = set()
        for place in self._places.pop(pair):
            count = self._word_counts[place]
            for new, change in _merge_word(self.words[place], pair, made):
                self._counts[new] += change * count
                if change > 0:
                    self._places[new].add(place)
                    changed.add(new)
        for new in changed:
            if self._counts[new] > 0:
                heapq.heappush(self._heap, (-self._counts[new], new))


def _merge_word(word: list[int], pair: Pair, made: int) -> list[tuple[Pair, int]]:
    """Join a pair in one word, and give which pairs of neighbours that ends and begins."""
    left, right = pair
    changes: list[tuple[Pair, int]] = []
    at = 0
    while at < len(word) - 1:
        if word[at] == left and word[at + 1] == right:
            if at > 0:
                changes += [((word[at - 1], left), -1), ((word[at - 1], made), 1)]
            word[at : at + 2] = [made]
            if at + 1 < len(word):
                changes += [((right, word[at + 1]), -1), ((made, word[at + 1]), 1)]
        at += 1
    return changes
