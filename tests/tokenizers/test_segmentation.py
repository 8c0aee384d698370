"""Viterbi, the n best and sampling, against all ways listed."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfbook.tokenizers.segmentation import UNKNOWN_PENALTY, Segmenter

SCORES = {"a": (-1.0, 1), "b": (-1.7, 2), "ab": (-2.1, 3), "aba": (-4.9, 4), "ba": (-2.2, 5)}


def every_way(text: str) -> list[tuple[float, tuple[int, ...]]]:
    if not text:
        return [(0.0, ())]
    ways = []
    for n in range(1, len(text) + 1):
        known = SCORES.get(text[:n])
        if known is None and n == 1:
            known = (-4.9 - UNKNOWN_PENALTY, 0)
        if known is not None:
            ways += [(known[0] + s, (known[1], *rest)) for s, rest in every_way(text[n:])]
    return ways


@given(st.text(alphabet="abc", max_size=8))
def test_best_and_n_best(text: str) -> None:
    small = Segmenter(SCORES, unk_id=0)
    ways = sorted(every_way(text), reverse=True)
    best = small.best(text)
    assert sum(piece_score(text, cut) for cut in best) == pytest.approx(ways[0][0])
    assert "".join(text[start:stop] for start, stop, _ in best) == text
    found = small.n_best(text, 7)
    assert [score for score, _ in found] == pytest.approx([score for score, _ in ways[:7]])
    assert len({tuple(cuts) for _, cuts in found}) == len(found) == min(7, len(ways))
    assert {tuple(index for *_, index in cuts) for _, cuts in small.n_best(text, 999)} == {
        ids for _, ids in ways
    }


def piece_score(text: str, cut: tuple[int, int, int]) -> float:
    start, stop, index = cut
    return SCORES[text[start:stop]][0] if index else -4.9 - UNKNOWN_PENALTY


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_sampling_has_the_distribution(alpha: float) -> None:
    """Chi-squared over all ways: the 0.9999 quantile by Wilson and Hilferty."""
    text, n = "abaab", 4000
    small, generator = Segmenter(SCORES, unk_id=0), random.Random(5)
    ways = every_way(text)
    weights = [math.exp(alpha * score) for score, _ in ways]
    drawn = Counter(
        tuple(index for *_, index in small.sample(text, alpha=alpha, generator=generator))
        for _ in range(n)
    )
    assert set(drawn) <= {ids for _, ids in ways}
    squared = 0.0
    for weight, (_, ids) in zip(weights, ways, strict=True):
        expected = n * weight / sum(weights)
        squared += (drawn[ids] - expected) ** 2 / expected
    free = len(ways) - 1
    limit = free * (1 - 2 / (9 * free) + 3.72 * math.sqrt(2 / (9 * free))) ** 3
    assert squared < limit


def test_unknown_characters() -> None:
    small = Segmenter(SCORES, unk_id=0)
    assert small.best("xay") == [(0, 1, 0), (1, 2, 1), (2, 3, 0)]
    assert small.best("") == []
    assert small.sample("", alpha=1.0, generator=random.Random(0)) == []
    # "l" is no piece, "lo" is: both the piece and the unknown letter are ways.
    other = Segmenter({"lo": (-1.0, 1), "o": (-1.0, 2)}, unk_id=0)
    assert [i for *_, i in other.best("lo")] == [1]
    assert [i for *_, i in other.best("l")] == [0]
    assert len(other.n_best("lo", 9)) == 2
