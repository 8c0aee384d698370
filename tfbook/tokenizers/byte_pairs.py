"""The core of byte-level BPE: the ids of plain text, by words, bytes and ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from tfbook.tokenizers.byte_level import byte_characters, bytes_of_tokens, compiled, split_words
from tfbook.tokenizers.merging import Pair, WordCache, merge


class BytePairs:
    """Encode plain text by merging the bytes of each word.

    Args:
        ids: the id of every token, in the spelling of :func:`byte_characters`.
        merges: pairs of tokens in the order of their ranks.
        pattern: cuts text into words.

    Raises:
        ValueError: a merge's parts or its result are not among ``ids``.
        ValueError: ``pattern`` is no regular expression, or captures groups.

    Example:
        >>> pairs = BytePairs({"a": 0, "b": 1, "ab": 2}, [("a", "b")], " ?[a-z]+")
        >>> pairs.encode("aabb", 0, 4)
        [0, 2, 1]

    Source: Sennrich et al. (2016), section 3.2. Chapter: 03.
    """

    def __init__(
        self, ids: Mapping[str, int], merges: Iterable[tuple[str, str]], pattern: str
    ) -> None:
        self.merges: list[tuple[str, str]] = [(left, right) for left, right in merges]
        self.pattern = pattern
        letters = byte_characters()
        self._split = compiled(pattern)
        self._ranks, self._merged = _ranked(self.merges, ids)
        self._byte_ids = [ids.get(letter) for letter in letters]
        spelled = bytes_of_tokens(ids)
        self.token_bytes: dict[int, bytes] = dict(zip(ids.values(), spelled, strict=True))
        self._words = WordCache(self._encode_word)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes start without the words met so far."""
        return {name: value for name, value in vars(self).items() if name != "_words"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of another."""
        vars(self).update(state)
        self._words = WordCache(self._encode_word)

    @property
    def missing_bytes(self) -> bytes:
        """The bytes that have no token."""
        return bytes(byte for byte, index in enumerate(self._byte_ids) if index is None)

    def encode(self, text: str, start: int, stop: int) -> list[int]:
        """Give the ids of a part of a text.

        Args:
            text: the text.
            start, stop: the characters to encode.

        Returns:
            The ids.
        """
        words = split_words(text, self._split, start, stop)
        return list(chain.from_iterable(map(self._words.__getitem__, words)))

    def encode_with_offsets(
        self, text: str, start: int, stop: int
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Give the ids of a part of a text and the characters of each.

        Args:
            text: the text.
            start, stop: the characters to encode.

        Returns:
            The ids, and their offsets in characters of ``text``.
        """
        ids = self.encode(text, start, stop)
        # Characters of the bytes: from that of a token's first byte to that of its last.
        places = self._places(text, start, stop)
        offsets: list[tuple[int, int]] = []
        at = 0
        for index in ids:
            end = at + len(self.token_bytes[index])
            offsets.append((places[at], places[end - 1] + 1))
            at = end
        return ids, offsets

    def forget_words(self) -> None:
        """Forget the words met so far: what follows is as slow as with a new tokenizer."""
        self._words.clear()

    def _encode_word(self, word: str) -> list[int]:
        # Lone bytes of U+DC80 to U+DCFF are bytes that were no UTF-8: see encoding.as_text.
        ids = [self._byte_ids[byte] for byte in word.encode("utf-8", "surrogateescape")]
        return merge([index for index in ids if index is not None], self._ranks, self._merged)

    def _places(self, text: str, start: int, stop: int) -> Sequence[int]:
        """For each byte of a part of a text that has a token, the place of its character."""
        piece = text[start:stop]
        if piece.isascii() and None not in self._byte_ids:
            return range(start, stop)
        encoded = [letter.encode("utf-8", "surrogateescape") for letter in piece]
        return [
            place
            for place, data in enumerate(encoded, start)
            for byte in data
            if self._byte_ids[byte] is not None
        ]


def _ranked(
    merges: Sequence[tuple[str, str]], ids: Mapping[str, int]
) -> tuple[dict[Pair, int], list[int]]:
    """Give the rank of each pair of ids, and the id that each rank makes."""
    ranks: dict[Pair, int] = {}
    made: list[int] = []
    for rank, (left, right) in enumerate(merges):
        try:
            ranks[ids[left], ids[right]] = rank
            made.append(ids[left + right])
        except KeyError as error:
            raise ValueError(
                f"merge {rank} joins {left!r} and {right!r}, but vocab has no token "
                f"{error.args[0]!r}; take vocab and merges from one tokenizer"
            ) from None
    return ranks, made
