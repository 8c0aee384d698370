"""All ways to cut many words into pieces, summed over and searched for all words at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class WordLattices:
    r"""For each word a graph: a node for each place in it, an edge for each piece that fits.

    .. math:: \alpha_e = \log \sum_{(s, e)} \exp(\alpha_s + \log p_{s:e}), \quad
              \log p(w) = \alpha_{|w|}

    The loop goes over places, and numpy over all the words' edges that end at this place.

    Args:
        words: distinct strings. Every letter of theirs must be a piece.
        pieces: the number of each piece.
        whole: a word that is a piece may be cut as this one piece.

    Example:
        >>> graph = WordLattices(["ab", "b"], {"a": 0, "b": 1, "ab": 2})
        >>> scores = np.log([0.5, 0.25, 0.25])
        >>> counts, log_p = graph.expected_counts(scores, np.array([1.0, 1.0]))
        >>> np.exp(log_p).round(3).tolist(), counts.round(3).tolist()
        ([0.375, 0.25], [0.333, 1.333, 0.667])

    Source: Kudo 2018, section 3.2. Chapter: 03.
    """

    def __init__(
        self, words: Sequence[str], pieces: Mapping[str, int], *, whole: bool = True
    ) -> None:
        lengths = np.array([len(word) for word in words], dtype=np.int64)
        # The nodes of a word stand one behind the other: its places 0 to its length.
        self._first_node = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]).astype(np.int64)
        self._last_node = self._first_node + lengths
        rows = list(_fitting(words, pieces, whole))
        edges = np.array(rows, dtype=np.int64).reshape(-1, 4)
        edges = edges[np.lexsort((edges[:, 0], edges[:, 2]))]
        self._set_edges(edges, np.lexsort((edges[:, 0], edges[:, 1])), len(pieces))

    def _set_edges(self, edges: Ints, by_start: Ints, n_pieces: int) -> None:
        """Take edges sorted by (stop, word), and their order by (start, word)."""
        self.n_pieces = n_pieces
        self._edges, self._by_start = edges, by_start
        self._word, start, stop, self._piece = np.ascontiguousarray(edges.T)
        self._from = self._first_node[self._word] + start
        self._to = self._first_node[self._word] + stop
        self._ends = _groups(stop, self._to)
        self._starts = _groups(start[by_start], self._from[by_start])

    def kept(self, keep: NDArray[np.bool_]) -> WordLattices:
        """Give the graphs with fewer pieces, the rest numbered anew in order.

        Args:
            keep: for each piece whether it stays. Letters must stay.

        Returns:
            The smaller graphs, of the same words.
        """
        smaller = WordLattices.__new__(WordLattices)
        smaller._first_node, smaller._last_node = self._first_node, self._last_node
        stays = keep[self._piece]
        edges = self._edges[stays]
        edges[:, 3] = (np.cumsum(keep) - 1)[edges[:, 3]]
        # What stays keeps its order: sorting anew would take longer than everything else.
        by_start = (np.cumsum(stays) - 1)[self._by_start[stays[self._by_start]]]
        smaller._set_edges(edges, by_start, int(keep.sum()))
        return smaller

    def expected_counts(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
        """Give how often each piece is used, averaged over all ways by their probability.

        Args:
            scores: of each piece, a natural logarithm.
            weights: how often each word occurs.

        Returns:
            The expected count of each piece, and the log-probability of each word.
        """
        forward = self._sums(scores, self._ends, slice(None), self._from, self._first_node)
        backward = self._sums(scores, self._starts, self._by_start, self._to, self._last_node)
        log_p = forward[self._last_node]
        share = np.exp(
            forward[self._from] + scores[self._piece] + backward[self._to] - log_p[self._word]
        )
        share *= weights[self._word]
        counts = np.bincount(self._piece, share, minlength=self.n_pieces).astype(np.float64)
        return counts, log_p

    def best(self, scores: Floats) -> tuple[Floats, Iterator[tuple[Ints, Ints]]]:
        """Find the likeliest way for each word.

        Args:
            scores: of each piece, a natural logarithm.

        Returns:
            The score of each word's way, -inf where there is none; and batches of words and
            pieces: each pair of them is a piece that the word's way uses.
        """
        best = np.full(self._last_node[-1] + 1, -np.inf)
        best[self._first_node] = 0.0
        back = np.zeros(len(best), dtype=np.int64)
        for low, high, bounds, nodes in self._ends:
            values = best[self._from[low:high]] + scores[self._piece[low:high]]
            most = np.maximum.reduceat(values, bounds)
            sizes = np.diff(bounds, append=high - low)
            at_most = values == np.repeat(most, sizes)
            edges = np.where(at_most, np.arange(low, high), np.iinfo(np.int64).max)
            best[nodes], back[nodes] = most, np.minimum.reduceat(edges, bounds)
        return best[self._last_node], self._walk(back, best[self._last_node] > -np.inf)

    def _walk(self, back: Ints, reached: NDArray[np.bool_]) -> Iterator[tuple[Ints, Ints]]:
        words = np.flatnonzero(reached & (self._last_node > self._first_node))
        nodes = self._last_node[words]
        while len(words):
            edges = back[nodes]
            yield words, self._piece[edges]
            nodes = self._from[edges]
            going = nodes > self._first_node[words]
            words, nodes = words[going], nodes[going]

    def _sums(
        self, scores: Floats, groups: list[_Group], order: Ints | slice, source: Ints, begin: Ints
    ) -> Floats:
        """Sum over ways forward, or, the groups reversed, backward."""
        sums = np.full(self._last_node[-1] + 1, -np.inf)
        sums[begin] = 0.0
        source, scored = source[order], scores[self._piece][order]
        for low, high, bounds, nodes in groups if begin is self._first_node else groups[::-1]:
            values = sums[source[low:high]] + scored[low:high]
            most = np.maximum.reduceat(values, bounds)
            values -= np.repeat(most, np.diff(bounds, append=high - low))
            sums[nodes] = most + np.log(np.add.reduceat(np.exp(values), bounds))
        return sums


# Edges low:high that share a place, where those of the next node begin, and the nodes.
_Group = tuple[int, int, Ints, Ints]


def _groups(places: Ints, nodes: Ints) -> list[_Group]:
    """Edges sorted by place and word, as one group for each place."""
    groups = []
    limits = np.flatnonzero(np.diff(places, prepend=-1, append=-1))
    for low, high in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True):
        bounds = np.flatnonzero(np.diff(nodes[low:high], prepend=-1))
        groups.append((low, high, bounds, nodes[low:high][bounds]))
    return groups


def _fitting(
    words: Sequence[str], pieces: Mapping[str, int], whole: bool
) -> Iterator[tuple[int, int, int, int]]:
    longest = max(map(len, pieces))
    for number, word in enumerate(words):
        n = len(word)
        for start in range(n):
            for stop in range(start + 1, min(n, start + longest) + 1):
                piece = pieces.get(word[start:stop])
                if piece is not None and (whole or stop - start < n):
                    yield number, start, stop, piece
