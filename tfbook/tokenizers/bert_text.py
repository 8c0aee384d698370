"""BERT's text: cleaned, lower-cased, stripped of accents, and split into words."""

from __future__ import annotations

import string
import unicodedata

# The blocks whose characters BERT makes words of their own. The paper's code begins the sixth
# block at U+2B820; the `tokenizers` library, which reads every published vocabulary, at U+2B920.
_IDEOGRAPHS = (
    range(0x4E00, 0xA000),
    range(0x3400, 0x4DC0),
    range(0x20000, 0x2A6E0),
    range(0x2A700, 0x2B740),
    range(0x2B740, 0x2B820),
    range(0x2B920, 0x2CEB0),
    range(0xF900, 0xFB00),
    range(0x2F800, 0x2FA20),
)
# The `tokenizers` library has the punctuation of Unicode 8: what came later is no mark to it, and
# two characters have been reclassified since. Newer marks are in few vocabularies.
_LATER_PUNCTUATION = (
    *(range(code, code + 1) for code in (0x61D, 0x9FD, 0xA76, 0xC77, 0xC84, 0x10EAD, 0x1145D)),
    *(range(code, code + 1) for code in (0x116B9, 0x1183B, 0x119E2, 0x11FFF, 0x16FE2)),
    *(range(code, code + 2) for code in (0x1B7D, 0x1145A, 0x11C70, 0x11EF7, 0x12FF1, 0x1E95E)),
    range(0x2E43, 0x2E50),
    range(0x2E52, 0x2E5E),
    range(0x10F55, 0x10F5A),
    range(0x10F86, 0x10F8A),
    range(0x1144B, 0x11450),
    range(0x11660, 0x1166D),
    range(0x11944, 0x11947),
    range(0x11A3F, 0x11A47),
    range(0x11A9A, 0x11A9D),
    range(0x11A9E, 0x11AA3),
    range(0x11C41, 0x11C46),
    range(0x16E97, 0x16E9B),
)
_FORMER_PUNCTUATION = "\u166d\U000111c9"
_SPACES = frozenset("\t\n\r")
# Cs are lone surrogates, which a Python string can hold and UTF-8 cannot.
_CONTROLS = frozenset({"Cc", "Cf", "Co", "Cs"})


class BertText:
    """BERT's normaliser and pre-tokeniser: from text to words, with the way back to the text.

    Every character is treated alone, in this order. Cleaning drops control characters, format
    characters, private use, U+FFFD and lone surrogates, and makes every white space a blank;
    ideographs get a blank on both sides; accents go (canonical decomposition, then no marks of
    category Mn); the rest is lower-cased. Words are what stands between blanks, and each
    punctuation mark is a word: category P and the ASCII signs such as ``$`` and ``+``.

    Categories come from Python's ``unicodedata``, with the punctuation of Unicode 8, which is what
    the ``tokenizers`` library knows; other characters that Unicode added later (marks of rarely
    written scripts) may be classed differently there. Unassigned characters are kept, as that
    library does (BERT's original code drops them).

    Args:
        lowercase: lower-case; False for a cased model.
        strip_accents: drop accents; None means exactly when ``lowercase``.
        clean_text: drop control characters and unify white space.
        space_ideographs: put blanks around Chinese characters.

    Example:
        >>> BertText().words("Café, 你好!")
        ['cafe', ',', '你', '好', '!']
        >>> BertText(lowercase=False).normalize("Café")
        'Café'

    Source: Devlin et al. 2019, its published code (BasicTokenizer). Chapter: 03.
    """

    def __init__(
        self,
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        clean_text: bool = True,
        space_ideographs: bool = True,
    ) -> None:
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.clean_text = clean_text
        self.space_ideographs = space_ideographs
        self._normal = _Normal(self)
        self._split = _Split(self._normal)

    def normalize(self, text: str) -> str:
        """Give the text cleaned, stripped and lower-cased, not yet split at punctuation.

        Args:
            text: any string.

        Returns:
            The normalised text.

        Example:
            >>> BertText().normalize("Ünder\\u200b\\tÉ")
            'under e'
        """
        return text.translate(self._normal)

    def words(self, text: str) -> list[str]:
        """Give the normalised words of a text; punctuation marks are words.

        Args:
            text: any string.

        Returns:
            The words, none of them empty.

        Example:
            >>> BertText().words("It's 3.5 €")
            ['it', "'", 's', '3', '.', '5', '€']
        """
        # Only the blank: str.split() without it also splits at separators that stay in words
        # when the text is not cleaned.
        return [word for word in text.translate(self._split).split(" ") if word]

    def words_with_positions(self, text: str) -> list[tuple[str, list[int]]]:
        """Give each word with the positions in ``text`` that its characters come from.

        Args:
            text: any string.

        Returns:
            Pairs of a word and, for each of its characters, an index into ``text``.

        Example:
            >>> BertText().words_with_positions("no cafe\\u0301")
            [('no', [0, 1]), ('cafe', [3, 4, 5, 6])]
        """
        words: list[tuple[str, list[int]]] = []
        letters: list[str] = []
        positions: list[int] = []
        for position, character in enumerate(text):
            for letter in self._split[ord(character)]:
                if letter != " ":
                    letters.append(letter)
                    positions.append(position)
                elif letters:
                    words.append(("".join(letters), positions))
                    letters, positions = [], []
        if letters:
            words.append(("".join(letters), positions))
        return words

    def __eq__(self, other: object) -> bool:
        """Equal when every setting is."""
        return isinstance(other, BertText) and self._settings() == other._settings()

    def __hash__(self) -> int:
        """Hash of the settings, in step with equality."""
        return hash(self._settings())

    def _settings(self) -> tuple[bool, bool | None, bool, bool]:
        return (self.lowercase, self.strip_accents, self.clean_text, self.space_ideographs)


class _Normal(dict[int, str]):
    """A table for ``str.translate`` that works out a character when it first meets it."""

    def __init__(self, settings: BertText) -> None:
        super().__init__()
        self._clean = settings.clean_text
        self._ideographs = settings.space_ideographs
        self._lower = settings.lowercase
        strip = settings.strip_accents
        self._strip = settings.lowercase if strip is None else strip

    def __missing__(self, code: int) -> str:
        text = chr(code)
        if self._clean:
            text = _cleaned(text)
        if self._ideographs and any(code in block for block in _IDEOGRAPHS):
            text = f" {text} "
        if self._strip:
            decomposed = unicodedata.normalize("NFD", text)
            text = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
        if self._lower:
            # One by one: Σ at the end of a word becomes σ, as in the original.
            text = "".join(c.lower() for c in text)
        self[code] = text
        return text


class _Split(dict[int, str]):
    """The same, with blanks for white space and around punctuation."""

    def __init__(self, normal: _Normal) -> None:
        super().__init__()
        self._normal = normal

    def __missing__(self, code: int) -> str:
        parts = []
        for letter in self._normal[code]:
            if _is_space(letter):
                parts.append(" ")
            else:
                parts.append(f" {letter} " if _is_punctuation(letter) else letter)
        self[code] = "".join(parts)
        return self[code]


def _cleaned(character: str) -> str:
    if character in _SPACES:
        return " "
    if character == "\ufffd" or unicodedata.category(character) in _CONTROLS:
        return ""
    return " " if character.isspace() else character


def _is_space(character: str) -> bool:
    # Python counts the four separators U+001C to U+001F as white space; Unicode does not.
    return character.isspace() and not "\x1c" <= character <= "\x1f"


def _is_punctuation(character: str) -> bool:
    if character in string.punctuation or character in _FORMER_PUNCTUATION:
        return True
    later = any(ord(character) in block for block in _LATER_PUNCTUATION)
    return unicodedata.category(character).startswith("P") and not later
