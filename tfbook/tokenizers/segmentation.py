"""Cut a string into pieces by their scores: the best way, the n best, or a random one."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

# What a piece of one unknown character costs beside the least likely piece.
UNKNOWN_PENALTY = 10.0

Cut = tuple[int, int, int]


class Segmenter:
    r"""All ways to cut a string into known pieces, as paths with a score.

    .. math:: S(x_1 \dots x_k) = \sum_i \log p(x_i), \quad
              p(\text{unknown character}) = e^{\min_x \log p(x) - 10}

    A character that is no piece is an unknown one, of one character.

    Args:
        scores: for each piece its score, a natural logarithm, and its id.
        unk_id: the id of unknown characters.

    Example:
        >>> small = Segmenter({"a": (-1.0, 1), "b": (-1.5, 2), "ab": (-2.0, 3)}, unk_id=0)
        >>> small.best("abc")
        [(0, 2, 3), (2, 3, 0)]
        >>> [(score, [cut[2] for cut in cuts]) for score, cuts in small.n_best("ab", 5)]
        [(-2.0, [3]), (-2.5, [1, 2])]

    Source: Kudo 2018, section 3.2. Chapter: 03.
    """

    def __init__(self, scores: Mapping[str, tuple[float, int]], *, unk_id: int) -> None:
        self.unk_id = unk_id
        least = min((score for score, _ in scores.values()), default=0.0)
        self.unknown_score = least - UNKNOWN_PENALTY
        # A tree of dictionaries by character; under "" stands the piece that ends there.
        self._tree: dict[str, Any] = {}
        for piece, scored in scores.items():
            node = self._tree
            for letter in piece:
                node = node.setdefault(letter, {})
            node[""] = scored

    def edges(self, text: str, start: int) -> Iterator[tuple[int, float, int]]:
        """Give the pieces that begin at a place.

        Args:
            text: the string.
            start: the place.

        Yields:
            Where the piece ends, its score and its id, shortest first.
        """
        node = self._tree.get(text[start])
        if node is None or "" not in node:
            yield start + 1, self.unknown_score, self.unk_id
        stop = start + 1
        while node is not None:
            if "" in node:
                yield stop, *node[""]
            node = node.get(text[stop]) if stop < len(text) else None
            stop += 1

    def best(self, text: str) -> list[Cut]:
        """Find the cuts with the highest score, by Viterbi's algorithm.

        Args:
            text: the string.

        Returns:
            ``(start, stop, id)`` of each piece. Of equal scores the one whose last piece is
            longest wins, as in sentencepiece.
        """
        n = len(text)
        best = [-math.inf] * (n + 1)
        best[0] = 0.0
        back: list[tuple[int, int]] = [(0, 0)] * (n + 1)
        tree, unknown = self._tree, (self.unknown_score, self.unk_id)
        # The loop of `edges` once more: this is where encoding spends its time.
        for start in range(n):
            so_far = best[start]
            node = tree.get(text[start])
            stop = start + 1
            if node is None or "" not in node:
                score = so_far + unknown[0]
                if score > best[stop]:
                    best[stop], back[stop] = score, (start, unknown[1])
            while node is not None:
                if "" in node:
                    scored = node[""]
                    score = so_far + scored[0]
                    if score > best[stop]:
                        best[stop], back[stop] = score, (start, scored[1])
                node = node.get(text[stop]) if stop < n else None
                stop += 1
        cuts, stop = [], n
        while stop:
            start, index = back[stop]
            cuts.append((start, stop, index))
            stop = start
        return cuts[::-1]

    def n_best(self, text: str, n: int) -> list[tuple[float, list[Cut]]]:
        """Find the ``n`` ways with the highest scores.

        Args:
            text: the string.
            n: how many; there are fewer when the string has fewer.

        Returns:
            Scores, a natural logarithm each, and cuts, the best first.
        """
        # For each place the n best ways to it: score, the last cut, its rank at the start.
        ways: list[list[tuple[float, Cut | None, int]]] = [[] for _ in range(len(text) + 1)]
        ways[0] = [(0.0, None, 0)]
        for start in range(len(text)):
            ways[start] = heapq.nlargest(n, ways[start], key=lambda way: way[0])
            for stop, score, index in self.edges(text, start):
                ways[stop] += [
                    (way[0] + score, (start, stop, index), rank)
                    for rank, way in enumerate(ways[start])
                ]
        found = []
        for total, last, rank in heapq.nlargest(n, ways[-1], key=lambda way: way[0]):
            cuts = []
            while last is not None:
                cuts.append(last)
                _, last, rank = ways[last[0]][rank]
            found.append((total, cuts[::-1]))
        return found

    def sample(self, text: str, *, alpha: float, generator: random.Random) -> list[Cut]:
        r"""Draw one way, likelier ones oftener.

        .. math:: P(x) \propto e^{\alpha S(x)}

        Forward the sums over all ways to each place, then backward one piece after another.

        Args:
            text: the string.
            alpha: 0 draws every way alike, 1 by the model, infinity the best.
            generator: of the random numbers.

        Returns:
            ``(start, stop, id)`` of each piece.

        Source: Kudo 2018, section 3.3 and equation 4, over all ways (its l is infinity).
        """
        # For each place the pieces that end there, with the log of the sum of ways through each.
        into: list[list[tuple[float, Cut]]] = [[] for _ in range(len(text) + 1)]
        for start in range(len(text)):
            total = _log_sum([weight for weight, _ in into[start]]) if start else 0.0
            for stop, score, index in self.edges(text, start):
                into[stop].append((total + alpha * score, (start, stop, index)))
        cuts, stop = [], len(text)
        while stop:
            weights = [weight for weight, _ in into[stop]]
            most = max(weights)
            odds = [math.exp(weight - most) for weight in weights]
            (_, cut) = generator.choices(into[stop], odds)[0]
            cuts.append(cut)
            stop = cut[0]
        return cuts[::-1]


def _log_sum(logs: list[float]) -> float:
    most = max(logs)
    return most + math.log(sum(math.exp(log - most) for log in logs))
