"""Unigram's pieces at work on normalised text: cuts to ids, unknown characters included."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby

from tfbook.checks import require
from tfbook.tokenizers.merging import WordCache
from tfbook.tokenizers.segmentation import Cut, Segmenter
from tfbook.tokenizers.unigram_text import BLANK

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
WORD = re.compile(f"{BLANK}?[^{BLANK}]+|{BLANK}")


class UnigramModel:
    """The likeliest, a random and the n best ways to cut normalised text, as ids.

    Where no piece reaches into the next word, words are cut one by one and remembered, which
    gives the same ids.

    Args:
        pieces: each piece with its score, in the order of the ids.
        hidden: ids of pieces that are never found in text, as special tokens.
        unk_id: of unknown characters; a run of them is one token.
        byte_fallback: spell them in bytes instead.

    Raises:
        ValueError: ``byte_fallback`` is asked for and a byte is missing.

    Example:
        >>> model = UnigramModel([("<unk>", 0.0), ("▁", -3.0), ("▁a", -2.5)], unk_id=0)
        >>> model.ids("▁a▁éa")
        [2, 1, 0]

    Source: Kudo 2018, section 3.2. Chapter: 03.
    """

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        *,
        hidden: frozenset[int] = frozenset(),
        unk_id: int,
        byte_fallback: bool = False,
    ) -> None:
        self._unk_id = unk_id
        self._bytes = _byte_ids({piece: i for i, (piece, _) in enumerate(pieces)}, byte_fallback)
        hidden = hidden | {unk_id, *self._bytes}
        found = {
            piece: (score, index)
            for index, (piece, score) in enumerate(pieces)
            if index not in hidden and piece
        }
        self._segmenter = Segmenter(found, unk_id=unk_id)
        # Then no piece reaches into the next word, nor does a run of unknown characters.
        self.splits = BLANK in found and all(BLANK not in piece[1:] for piece in found)
        self._words = WordCache(self._word_ids)

    def ids(self, normal: str) -> list[int]:
        """Give the ids of the likeliest way."""
        return list(chain.from_iterable(map(self._words.__getitem__, self._cut(normal))))

    def tokens(self, normal: str) -> Iterator[Cut]:
        """Give ``(start, stop, id)`` of the tokens of the likeliest way."""
        at = 0
        for word in self._cut(normal):
            for start, stop, index in self._tokens(word, self._segmenter.best(word)):
                yield at + start, at + stop, index
            at += len(word)

    def sample(self, normal: str, *, alpha: float, generator: random.Random) -> list[int]:
        """Give the ids of a random way.

        Args:
            normal: normalised text.
            alpha: the power to which probabilities are raised.
            generator: of the random numbers.

        Returns:
            The ids.
        """
        ids: list[int] = []
        for word in self._cut(normal):
            cuts = self._segmenter.sample(word, alpha=alpha, generator=generator)
            ids += [index for _, _, index in self._tokens(word, cuts)]
        return ids

    def n_best(self, normal: str, n: int) -> list[tuple[list[int], float]]:
        """Give the ids and the scores of the likeliest ways.

        Args:
            normal: normalised text.
            n: how many.

        Returns:
            The ways, the likeliest first.
        """
        ways = self._segmenter.n_best(normal, n)
        return [([i for _, _, i in self._tokens(normal, cuts)], score) for score, cuts in ways]

    def _cut(self, normal: str) -> list[str]:
        if self.splits:
            return WORD.findall(normal)
        return [normal] if normal else []

    def _word_ids(self, word: str) -> list[int]:
        return [index for _, _, index in self._tokens(word, self._segmenter.best(word))]

    def _tokens(self, text: str, cuts: Sequence[Cut]) -> Iterator[Cut]:
        """Runs of unknown characters become one token, or each character its bytes."""
        for unknown, run in groupby(cuts, lambda cut: cut[2] == self._unk_id):
            if not unknown:
                yield from run
                continue
            characters = list(run)
            if not self._bytes:
                yield characters[0][0], characters[-1][1], self._unk_id
                continue
            for start, stop, _ in characters:
                for byte in text[start:stop].encode("utf-8"):
                    yield start, stop, self._bytes[byte]


def spell_bytes(tokens: Iterable[str]) -> Iterator[str]:
    """Turn runs of byte pieces into text.

    Args:
        tokens: pieces, some of them like ``<0x41>``.

    Yields:
        The other pieces as they are, and text for each run; a run that is no UTF-8 becomes
        U+FFFD for every byte, as in the `tokenizers` library.

    Example:
        >>> list(spell_bytes(["a", "<0xC3>", "<0xA9>", "<0xC3>b"]))
        ['a', 'é', '<0xC3>b']
    """
    for is_byte, run in groupby(tokens, lambda token: bool(BYTE.fullmatch(token))):
        if not is_byte:
            yield from run
            continue
        data = bytes(int(token[3:5], 16) for token in run)
        try:
            yield data.decode("utf-8")
        except UnicodeDecodeError:
            yield "\ufffd" * len(data)


def _byte_ids(vocab: Mapping[str, int], wanted: bool) -> list[int]:
    if not wanted:
        return []
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    missing = [name for name in names if name not in vocab]
    require(
        not missing,
        f"byte_fallback=True needs 256 pieces for bytes, and {len(missing)} are missing, as "
        f"{''.join(missing[:1])}; add them, or use byte_fallback=False",
    )
    return [vocab[name] for name in names]
