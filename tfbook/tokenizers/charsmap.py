"""The table of normalisation rules that a sentencepiece model carries."""

from __future__ import annotations

import base64
import binascii
import struct
from array import array
from collections.abc import Iterator

import regex

from tfbook.checks import require

LEAF_BIT = 1 << 8
WIDE_BIT = 1 << 9
VALUE_MASK = (1 << 31) - 1
LABEL_MASK = (1 << 31) | 0xFF
# A run of ASCII but for its last character, which a mark may follow.
ASCII_RUN = regex.compile(r"[\x00-\x7f]+(?=[\x00-\x7f]|\Z)")


class Charsmap:
    """Replace the longest rule that fits at each place; what no rule fits stays.

    sentencepiece compiles its rules (``nmt_nfkc``, ``nfkc_cf`` and others) into a double-array
    trie over UTF-8 bytes, followed by the replacements, each ended by a zero byte. A unit of the
    array is a node: its offset, exclusive-or a byte, is the place of the child for this byte.

    Args:
        data: the field ``precompiled_charsmap``.

    Raises:
        ValueError: ``data`` is cut off, or no such table.

    Example:
        >>> nothing = Charsmap(b"\\x04\\x00\\x00\\x00" + bytes(4))
        >>> nothing.normalize("ﬁ")
        'ﬁ'

    Source: sentencepiece's ``normalizer.cc``; darts-clone's double array. Chapter: 03.
    """

    def __init__(self, data: bytes) -> None:
        damaged = (
            f"data of {len(data)} bytes is no precompiled_charsmap, or cut off; read the model "
            "file anew"
        )
        require(len(data) >= 8, damaged)
        (size,) = struct.unpack_from("<I", data)
        require(size > 0 and size % 4 == 0 and 4 + size <= len(data), damaged)
        self.data = data
        self._units = array("I", struct.unpack_from(f"<{size // 4}I", data, 4))
        self._replacements = data[4 + size :]
        self._letters: dict[str, tuple[str | None, int, bool]] = {}
        self._ascii = None if self._has_long_ascii_rule() else self._ascii_table()

    @classmethod
    def from_base64(cls, text: str) -> Charsmap:
        """Read the table as ``tokenizer.json`` writes it.

        Args:
            text: base64.

        Returns:
            The table.

        Raises:
            ValueError: ``text`` is no base64, or not of such a table.

        Example:
            >>> Charsmap.from_base64("BAAAAAAAAAA=").normalize("a")
            'a'
        """
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(
                f"text={text!r:.40} is no base64 ({error}); read the file anew"
            ) from error
        return cls(data)

    def to_base64(self) -> str:
        """Give the table as ``tokenizer.json`` writes it."""
        return base64.b64encode(self.data).decode("ascii")

    def normalize(self, text: str) -> str:
        """Give the text with every rule applied, once and from left to right."""
        if self._ascii is None:
            return "".join(new for new, _, _ in self.changes(text))
        if text.isascii():
            return text.translate(self._ascii)
        done: list[str] = []
        at = 0
        for run in ASCII_RUN.finditer(text):
            done += [new for new, _, _ in self.changes(text[at : run.start()])]
            done.append(run.group().translate(self._ascii))
            at = run.end()
        done += [new for new, _, _ in self.changes(text[at:])]
        return "".join(done)

    def changes(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Go through a text, replacing.

        Args:
            text: any string.

        Yields:
            What stands for the characters ``start`` to ``stop`` of ``text``, and these two.

        Example:
            >>> list(Charsmap.from_base64("BAAAAAAAAAA=").changes("ab"))
            [('a', 0, 1), ('b', 1, 2)]
        """
        start = 0
        while start < len(text):
            letter = text[start]
            new, node, goes_on = self._letter(letter)
            stop = start + 1
            best, end = (letter if new is None else new), stop
            while goes_on and stop < len(text):
                node = self._below(node, text[stop])
                goes_on, stop = node >= 0, stop + 1
                new = self._value(node) if goes_on else None
                if new is not None:
                    best, end = new, stop
            yield best, start, end
            start = end

    def __eq__(self, other: object) -> bool:
        """Equal when the tables are."""
        return isinstance(other, Charsmap) and self.data == other.data

    def __hash__(self) -> int:
        """Hash of the table, in step with equality."""
        return hash(self.data)

    def _letter(self, letter: str) -> tuple[str | None, int, bool]:
        """What replaces a character alone, its node, and whether longer rules begin with it."""
        found = self._letters.get(letter)
        if found is None:
            node = self._below(0, letter)
            goes_on = node >= 0 and any(self._child(node, byte) >= 0 for byte in range(1, 256))
            found = (self._value(node) if node >= 0 else None, node, goes_on)
            self._letters[letter] = found
        return found

    def _child(self, node: int, byte: int) -> int:
        units = self._units
        below = node ^ _offset(units[node]) ^ byte
        return below if below < len(units) and units[below] & LABEL_MASK == byte else -1

    def _below(self, node: int, letter: str) -> int:
        if letter == "\0":  # ends the keys, and is in none
            return -1
        for byte in letter.encode("utf-8"):
            node = self._child(node, byte)
            if node < 0:
                break
        return node

    def _value(self, node: int) -> str | None:
        unit = self._units[node]
        leaf = node ^ _offset(unit)
        if not unit & LEAF_BIT or leaf >= len(self._units):
            return None
        start = self._units[leaf] & VALUE_MASK
        end = self._replacements.find(b"\0", start)
        return self._replacements[start:end].decode("utf-8", "replace")

    def _has_long_ascii_rule(self) -> bool:
        firsts = (self._child(0, byte) for byte in range(1, 128))
        return any(
            self._child(node, byte) >= 0 for node in firsts if node >= 0 for byte in range(1, 128)
        )

    def _ascii_table(self) -> dict[int, str]:
        table = {byte: self._letter(chr(byte))[0] for byte in range(1, 128)}
        return {byte: new for byte, new in table.items() if new is not None}


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & WIDE_BIT) >> 6)
