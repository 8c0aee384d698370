"""Text as unigram models see it: normalised, with ``▁`` for every blank."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import regex

BLANK = "▁"
SPACES = regex.compile(" {2,}")
CLUSTER = regex.compile(r"\X")

Change = tuple[str, int, int]


@runtime_checkable
class Rules(Protocol):
    """Rules of normalisation: :class:`NFKC` or :class:`tfbook.tokenizers.charsmap.Charsmap`.

    Chapter: 03.
    """

    def normalize(self, text: str) -> str:
        """Give the normalised text."""

    def changes(self, text: str) -> Iterator[Change]:
        """Give what stands for the characters ``start`` to ``stop``, over the whole text."""


class NFKC:
    """Unicode's compatibility normalisation, from Python's ``unicodedata``.

    sentencepiece's default, ``nmt_nfkc``, does the same and also drops control characters and
    makes every white space a blank. A model file carries its own rules: read it and they are
    followed exactly.

    Example:
        >>> NFKC().normalize("ﬁve ②")
        'five 2'

    Source: Unicode Standard Annex 15. Chapter: 03.
    """

    def normalize(self, text: str) -> str:
        """Give the normalised text."""
        return unicodedata.normalize("NFKC", text)

    def changes(self, text: str) -> Iterator[Change]:
        """Go through a text, replacing.

        Args:
            text: any string.

        Yields:
            What stands for the characters ``start`` to ``stop`` of ``text``, and these two.
            Marks go with the letter that they stand on.

        Example:
            >>> list(NFKC().changes("ae\\u0301"))
            [('a', 0, 1), ('é', 1, 3)]
        """
        for cluster in CLUSTER.finditer(text):
            letters = cluster.group()
            start, stop = cluster.span()
            new = unicodedata.normalize("NFKC", letters)
            if new == letters:
                yield from ((letter, at, at + 1) for at, letter in enumerate(letters, start))
            else:
                yield new, start, stop

    def __eq__(self, other: object) -> bool:
        """All are equal."""
        return isinstance(other, NFKC)

    def __hash__(self) -> int:
        """In step with equality."""
        return hash(NFKC)


class UnigramText:
    """From text to the string that is cut into pieces, with the way back to the text.

    First the rules apply; then blanks at the ends go, and of several only one stays; then a
    blank is put in front, so that a word has the same pieces at the start of a text and in it;
    last every blank becomes ``▁`` (U+2581). Other white space is left to the rules.

    Args:
        rules: of normalisation; None changes nothing.
        prefix: put the blank in front; a text that is empty by then gets none.
        collapse: drop blanks at the ends and repeated ones.

    Example:
        >>> UnigramText().normalize(" Hello   world ")
        '▁Hello▁world'
        >>> UnigramText(NFKC(), prefix=False).normalize("ﬁve")
        'five'

    Source: Kudo and Richardson 2018, and sentencepiece's code. Chapter: 03.
    """

    def __init__(
        self, rules: Rules | None = None, *, prefix: bool = True, collapse: bool = True
    ) -> None:
        self.rules = rules
        self.prefix = prefix
        self.collapse = collapse

    def normalize(self, text: str) -> str:
        """Give the string that is cut into pieces.

        Args:
            text: any string.

        Returns:
            The normalised text without a blank in it.
        """
        if self.rules is not None:
            text = self.rules.normalize(text)
        if self.collapse:
            text = SPACES.sub(" ", text.strip(" "))
        text = text.replace(" ", BLANK)
        return BLANK + text if self.prefix and text else text

    def normalize_with_places(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        """Give the same string, and for each of its characters where it came from.

        Args:
            text: any string.

        Returns:
            The string, and for each character ``(start, stop)`` in ``text``. Of blanks that
            became one the last counts; the blank in front has the place of the first character.

        Example:
            >>> UnigramText().normalize_with_places("a  b")
            ('▁a▁b', [(0, 1), (0, 1), (2, 3), (3, 4)])
        """
        letters: list[str] = []
        places: list[tuple[int, int]] = []
        for new, start, stop in self._changes(text):
            for letter in new:
                if letter != " ":
                    letters.append(letter)
                elif not self.collapse:
                    letters.append(BLANK)
                elif letters and letters[-1] == " ":
                    places.pop()
                elif letters:
                    letters.append(" ")
                else:
                    continue
                places.append((start, stop))
        if letters and letters[-1] == " ":
            letters.pop()
            places.pop()
        if self.prefix and letters:
            letters.insert(0, BLANK)
            places.insert(0, places[0])
        return "".join(letters).replace(" ", BLANK), places

    def __eq__(self, other: object) -> bool:
        """Equal when every setting is."""
        return isinstance(other, UnigramText) and self._settings() == other._settings()

    def __hash__(self) -> int:
        """Hash of the settings, in step with equality."""
        return hash(self._settings())

    def _settings(self) -> tuple[Rules | None, bool, bool]:
        return (self.rules, self.prefix, self.collapse)

    def _changes(self, text: str) -> Iterator[Change]:
        if self.rules is None:
            return ((letter, at, at + 1) for at, letter in enumerate(text))
        return self.rules.changes(text)
