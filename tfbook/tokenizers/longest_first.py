"""One word to pieces: the longest known piece first, from the start of the word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfbook.tokenizers.merging import WordCache

PREFIX = "##"


class LongestFirst:
    """WordPiece's greedy search.

    .. math:: t_1 = \\text{the longest known prefix of } w, \\quad
              t_{i+1} = \\text{the longest known prefix of the rest, spelled with \\#\\#}

    A word becomes the unknown piece as a whole when at some point nothing fits.

    Args:
        vocab: the id of each piece; pieces that continue a word begin with ``##``.
        unk_id: of the unknown piece.
        max_characters: longer words are unknown.

    Example:
        >>> pieces = LongestFirst({"un": 1, "##kn": 2, "##own": 3}, unk_id=0, max_characters=9)
        >>> pieces.ids("unknown"), pieces.ids("unknowns")
        ([1, 2, 3], [0])

    Source: Devlin et al. 2019, its published code (WordpieceTokenizer). Chapter: 03.
    """

    def __init__(self, vocab: Mapping[str, int], *, unk_id: int, max_characters: int) -> None:
        self._first = dict(vocab)
        self._rest = {
            piece.removeprefix(PREFIX): index
            for piece, index in vocab.items()
            if piece.startswith(PREFIX)
        }
        self._lengths = {index: len(piece) for piece, index in vocab.items()}
        self._longest = max(map(len, vocab))
        self._unknown = [unk_id]
        self._max_characters = max_characters
        self._known = WordCache(self._search)

    def ids(self, word: str) -> list[int]:
        """Give the ids of a word's pieces."""
        return self._known[word]

    def offsets(self, ids: Sequence[int], places: Sequence[int]) -> list[tuple[int, int]]:
        """Give the part of the text that each piece of a word came from.

        Args:
            ids: the word's pieces.
            places: for each character of the word, where it stood in the text.

        Returns:
            ``(start, stop)`` for each piece; the unknown piece covers the word.
        """
        if list(ids) == self._unknown:
            return [(places[0], places[-1] + 1)]
        offsets, start = [], 0
        for index in ids:
            stop = start + self._lengths[index] - (len(PREFIX) if start else 0)
            offsets.append((places[start], places[stop - 1] + 1))
            start = stop
        return offsets

    def _search(self, word: str) -> list[int]:
        if len(word) > self._max_characters:
            return list(self._unknown)
        ids = []
        pieces, start = self._first, 0
        while start < len(word):
            for stop in range(min(len(word), start + self._longest), start, -1):
                index = pieces.get(word[start:stop])
                if index is not None:
                    break
            else:
                return list(self._unknown)
            ids.append(index)
            pieces, start = self._rest, stop
        return ids
