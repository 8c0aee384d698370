"""Sums over all ways and the best way of many words, against all ways listed."""

from __future__ import annotations

import numpy as np
import pytest

from tfbook.tokenizers.word_lattices import WordLattices

PIECES = {"a": 0, "b": 1, "ab": 2, "aba": 3, "ba": 4, "bb": 5}
SCORES = np.log([0.3, 0.2, 0.2, 0.1, 0.15, 0.05])
WORDS = ["abab", "b", "aba", "bbaab"]
WEIGHTS = np.array([2.0, 5.0, 3.0, 7.0])


def every_way(word: str, pieces: dict[str, int]) -> list[list[int]]:
    if not word:
        return [[]]
    return [
        [pieces[word[:n]], *rest]
        for n in range(1, len(word) + 1)
        if word[:n] in pieces
        for rest in every_way(word[n:], pieces)
    ]


def expected(pieces: dict[str, int], scores: np.ndarray) -> tuple[np.ndarray, list[float]]:
    counts, log_p = np.zeros(len(pieces)), []
    for word, weight in zip(WORDS, WEIGHTS, strict=True):
        ways = every_way(word, pieces)
        odds = np.array([np.exp(scores[way].sum()) for way in ways])
        log_p.append(float(np.log(odds.sum())))
        for way, share in zip(ways, odds / odds.sum(), strict=True):
            np.add.at(counts, way, weight * share)
    return counts, log_p


def test_expected_counts() -> None:
    counts, log_p = WordLattices(WORDS, PIECES).expected_counts(SCORES, WEIGHTS)
    by_hand, log_by_hand = expected(PIECES, SCORES)
    np.testing.assert_allclose(counts, by_hand, rtol=1e-12)
    np.testing.assert_allclose(log_p, log_by_hand, rtol=1e-12)


def test_best() -> None:
    scores, ways = WordLattices(WORDS, PIECES).best(SCORES)
    used: dict[int, list[int]] = {}
    for words, pieces in ways:
        for word, piece in zip(words.tolist(), pieces.tolist(), strict=True):
            used.setdefault(word, []).append(piece)
    for number, word in enumerate(WORDS):
        best = max(every_way(word, PIECES), key=lambda way: SCORES[way].sum())
        assert scores[number] == pytest.approx(SCORES[best].sum())
        assert used[number] == best[::-1]


def test_fewer_pieces() -> None:
    keep = np.array([True, True, False, True, False, True])
    fewer = {"a": 0, "b": 1, "aba": 2, "bb": 3}
    counts, log_p = WordLattices(WORDS, PIECES).kept(keep).expected_counts(SCORES[keep], WEIGHTS)
    by_hand, log_by_hand = expected(fewer, SCORES[keep])
    np.testing.assert_allclose(counts, by_hand, rtol=1e-12)
    np.testing.assert_allclose(log_p, log_by_hand, rtol=1e-12)


def test_words_that_may_not_be_whole() -> None:
    scores, ways = WordLattices(["a", "ab", "aba"], PIECES, whole=False).best(SCORES)
    assert scores[0] == -np.inf
    assert scores[1] == pytest.approx(SCORES[[0, 1]].sum())
    assert scores[2] == pytest.approx(SCORES[[2, 0]].sum())
    assert sum(len(words) for words, _ in ways) == 4
