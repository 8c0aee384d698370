"""What is passed as a text, made a string that UTF-8 can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import regex

from tfbook.checks import require

Text = str | bytes

SURROGATE = regex.compile("[\ud800-\udfff]")
SURROGATES = regex.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def as_text(text: Text, *, lossless: bool = False) -> str:
    """Give a text as a string without surrogates, whatever was passed.

    Args:
        text: a string, or bytes to be read as UTF-8.
        lossless: keep each byte that is no UTF-8 as a character of U+DC80 to U+DCFF (Python's
            ``surrogateescape``) instead of U+FFFD.

    Returns:
        The string. Surrogates of a ``str`` are mended: a pair becomes its character, a lone one
        U+FFFD.

    Raises:
        ValueError: ``text`` is neither.

    Example:
        >>> as_text(b"caf\\xe9"), as_text("\\ud83d\\ude00")
        ('caf�', '😀')

    Chapter: 03.
    """
    if isinstance(text, bytes):
        return text.decode("utf-8", "surrogateescape" if lossless else "replace")
    require(
        isinstance(text, str),
        f"text is of type {type(text).__name__}, but must be str or bytes; to encode several "
        "texts call encode_batch",
    )
    # isascii is a flag of the string: it costs nothing.
    if text.isascii() or not SURROGATE.search(text):
        return text
    return SURROGATES.sub(lambda match: _mended(match.group()), text)


def original_offsets(text: Text, offsets: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Count offsets in the characters of the text that was passed.

    They differ only where :func:`as_text` joined pairs of surrogates.

    Args:
        text: as it was passed. Offsets into ``bytes`` count the characters that they decode to.
        offsets: in characters of ``as_text(text)``.

    Returns:
        The offsets ``(start, stop)`` in characters of ``text``.

    Example:
        >>> original_offsets("\\ud83d\\ude00!", [(0, 1), (1, 2)])
        [(0, 2), (2, 3)]

    Chapter: 03.
    """
    if isinstance(text, bytes) or text.isascii() or not SURROGATE.search(text):
        return list(offsets)
    places = list(_places(text))
    return [(places[start], places[stop]) for start, stop in offsets]


def _mended(surrogates: str) -> str:
    if len(surrogates) == 1:
        return REPLACEMENT
    return surrogates.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _places(text: str) -> Iterator[int]:
    """For each character of the mended text its place in the text, and at last the length."""
    at = 0
    for match in SURROGATES.finditer(text):
        yield from range(at, match.start() + 1)
        at = match.end()
    yield from range(at, len(text) + 1)
