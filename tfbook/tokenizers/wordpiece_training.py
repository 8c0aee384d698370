"""Learn WordPiece's vocabulary: join the pair of pieces with the best score, and again."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from tqdm import tqdm

from tfbook.checks import is_integer, require, require_positive

PREFIX = "##"

Pair = tuple[int, int]
Score = Callable[[int, int, int], float]


def likelihood_score(n_pair: int, n_left: int, n_right: int) -> float:
    r"""Rank a pair by how much oftener its halves meet than if they were strewn at random.

    .. math:: s(a, b) = \frac{f(ab)}{f(a)\, f(b)}

    The logarithm of :math:`N` times the ratio, times :math:`f(ab)`, is about what the join adds
    to the log-likelihood of the text under a unigram model of its :math:`N` pieces. The ratio
    itself is highest for pairs of two rare pieces: with a ``min_count`` below ten the vocabulary
    fills with rare fragments, and texts need many more tokens.

    Args:
        n_pair: how often the pair occurs in the words, counted with the words' frequencies.
        n_left: how often its left piece occurs.
        n_right: how often its right piece occurs.

    Returns:
        The score; the highest is joined.

    Example:
        >>> likelihood_score(4, 8, 5)
        0.1

    Source: Schuster and Nakajima 2012; the ratio as it is commonly stated for WordPiece, whose
    own trainer was never published. Chapter: 03.
    """
    return n_pair / (n_left * n_right)


def frequency_score(n_pair: int, n_left: int, n_right: int) -> float:
    """Rank a pair by how often it occurs, which is byte-pair encoding's rule.

    This is what ``tokenizers.trainers.WordPieceTrainer`` does: it wraps that library's trainer
    of BPE, with the prefix ``##``.

    Args:
        n_pair: how often the pair occurs.
        n_left, n_right: not looked at.

    Returns:
        ``n_pair``.

    Example:
        >>> frequency_score(4, 8, 5)
        4

    Source: Sennrich et al. 2016, algorithm 1. Chapter: 03.
    """
    return n_pair


def train_wordpiece(
    words: Iterable[str],
    *,
    vocab_size: int,
    specials: Sequence[str] = (),
    score: Score = frequency_score,
    min_count: int = 2,
    progress: bool = False,
) -> list[str]:
    """Learn pieces from words.

    The first pieces are the letters, as they begin words (``a``) and as they go on (``##a``).
    Then the adjacent pair with the highest score is joined everywhere and becomes a piece, until
    there are ``vocab_size``. Of equal scores the pair that occurs oftener wins, then the one
    whose pieces are older.

    Args:
        words: the words of the text, each as often as it occurs.
        vocab_size: the most pieces, ``specials`` included. There are fewer only when no pair is
            left that occurs ``min_count`` times.
        specials: tokens that come first and are never part of a join.
        score: gives a pair's score from the counts of the pair, its left and its right piece;
            :func:`frequency_score` or :func:`likelihood_score`, or one of your own.
        min_count: rarer pairs are never joined.
        progress: show a progress bar.

    Returns:
        The pieces in the order of their ids.

    Raises:
        ValueError: there are no words, or ``min_count`` is below 1.
        ValueError: ``vocab_size`` is no integer, or too small for the specials and the letters.

    Example:
        >>> train_wordpiece(["hug", "hugs", "bun"], vocab_size=9, score=frequency_score)
        ['b', 'h', '##g', '##n', '##s', '##u', 'hu', 'hug']

    Chapter: 03.
    """
    require_positive("min_count", min_count)
    counts = Counter(words)
    counts.pop("", None)
    require(bool(counts), "there is no word to learn from; pass texts that hold words")
    letters = {word[0] for word in counts}
    others = {PREFIX + letter for word in counts for letter in word[1:]}
    pieces = [*dict.fromkeys(specials), *sorted(letters), *sorted(others)]
    require(
        is_integer(vocab_size) and len(pieces) <= vocab_size,
        f"vocab_size={vocab_size!r} must be an integer of at least {len(pieces)}, the "
        f"{len(set(specials))} specials and the {len(pieces) - len(set(specials))} letters of the "
        "words; give a larger one, or clean the texts",
    )
    joiner = _Joiner(counts, pieces, score, min_count)
    with tqdm(total=vocab_size, initial=len(pieces), disable=not progress, unit="piece") as bar:
        while len(joiner.pieces) < vocab_size and joiner.join_best():
            bar.update(len(joiner.pieces) - bar.n)
    return joiner.pieces


class _Joiner:
    """The words as pieces, and every count that a join changes.

    Scores change also for pairs whose own count does not: when ``a`` and ``b`` become ``ab``,
    there are fewer of both, and every pair with one of them scores higher. All these are put
    on the heap anew; an entry that is out of date is known by its score.
    """

    def __init__(
        self, counts: Counter[str], pieces: list[str], score: Score, min_count: int
    ) -> None:
        self.pieces = pieces
        self._ids = {piece: index for index, piece in enumerate(pieces)}
        self._score = score
        self._min_count = min_count
        self._words = [self._spelled(word) for word in counts]
        self._weights = list(counts.values())
        self._n_piece: Counter[int] = Counter()
        self._n_pair: Counter[Pair] = Counter()
        self._where: defaultdict[Pair, set[int]] = defaultdict(set)
        self._pairs_of: defaultdict[int, set[Pair]] = defaultdict(set)
        for index in range(len(self._words)):
            self._count(index, 1)
        self._heap = [entry for pair in self._n_pair for entry in self._entries(pair)]
        heapq.heapify(self._heap)

    def join_best(self) -> bool:
        """Join the best pair everywhere; False when there is none."""
        while self._heap:
            entry = heapq.heappop(self._heap)
            pair = (entry[2], entry[3])
            if entry in self._entries(pair):
                self._join(pair)
                return True
        return False

    def _spelled(self, word: str) -> list[int]:
        return [self._ids[word[0]], *(self._ids[PREFIX + letter] for letter in word[1:])]

    def _entries(self, pair: Pair) -> Iterator[tuple[float, int, int, int]]:
        """The pair as it would stand on the heap now; none if it is too rare."""
        n = self._n_pair[pair]
        if n >= self._min_count:
            left, right = pair
            yield -self._score(n, self._n_piece[left], self._n_piece[right]), -n, left, right

    def _count(self, index: int, sign: int) -> set[Pair]:
        """Add a word to all counts, or take it out; give its pairs."""
        word, n = self._words[index], sign * self._weights[index]
        pairs = set(itertools.pairwise(word))
        for piece in word:
            self._n_piece[piece] += n
        for pair in itertools.pairwise(word):
            self._n_pair[pair] += n
        for pair in pairs:
            if sign > 0:
                self._where[pair].add(index)
                self._pairs_of[pair[0]].add(pair)
                self._pairs_of[pair[1]].add(pair)
            else:
                self._where[pair].discard(index)
        return pairs

    def _join(self, pair: Pair) -> None:
        left, right = pair
        joined = self.pieces[left] + self.pieces[right].removeprefix(PREFIX)
        new = self._ids.setdefault(joined, len(self.pieces))
        if new == len(self.pieces):
            self.pieces.append(joined)
        changed: set[Pair] = set()
        for index in list(self._where[pair]):
            changed |= self._count(index, -1)
            self._words[index] = _replaced(self._words[index], left, right, new)
            changed |= self._count(index, 1)
        for piece in (left, right, new):
            changed |= self._pairs_of[piece]
        for each in changed:
            if self._n_pair[each] == 0:
                self._forget(each)
            else:
                for entry in self._entries(each):
                    heapq.heappush(self._heap, entry)

    def _forget(self, pair: Pair) -> None:
        self._n_pair.pop(pair, None)
        self._where.pop(pair, None)
        for piece in pair:
            self._pairs_of[piece].discard(pair)


def _replaced(word: list[int], left: int, right: int, new: int) -> list[int]:
    done: list[int] = []
    position = 0
    while position < len(word):
        here = word[position : position + 2] == [left, right]
        done.append(new if here else word[position])
        position += 2 if here else 1
    return done
