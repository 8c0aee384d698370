"""Encode a text part by part: the added tokens in it, and the plain text between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tfbook.tokenizers.encoding import Encoding, Text, as_text, original_offsets
from tfbook.tokenizers.vocabulary import Vocabulary

Offsets = list[tuple[int, int]]


def encode_parts(
    text: Text,
    vocabulary: Vocabulary,
    encode_plain: Callable[[str], Iterable[int]],
    *,
    parse_special: bool,
) -> list[int]:
    """Give the ids of a text, without tokens around it.

    Args:
        text: a string, or bytes in UTF-8.
        vocabulary: holds the added tokens.
        encode_plain: gives the ids of text without added tokens.
        parse_special: special tokens that are written out in the text become their ids.

    Returns:
        The ids.

    Raises:
        ValueError: ``text`` is neither a string nor bytes.

    Example:
        >>> encode_parts("ab", Vocabulary({}), lambda text: map(ord, text), parse_special=True)
        [97, 98]

    Chapter: 03.
    """
    text = as_text(text)
    ids: list[int] = []
    for part in vocabulary.added.split(text, parse_special=parse_special):
        if part.token is not None:
            ids.append(part.token.id)
        else:
            ids.extend(encode_plain(text[part.start : part.stop]))
    return ids


def encode_parts_with_offsets(
    text: Text,
    vocabulary: Vocabulary,
    encode_plain: Callable[[str], tuple[Sequence[int], Offsets]],
    *,
    parse_special: bool,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
) -> Encoding:
    """Give ids, tokens and offsets of a text.

    Args:
        text: a string, or bytes in UTF-8.
        vocabulary: holds the tokens, the added ones among them.
        encode_plain: gives ids and offsets of text without added tokens.
        parse_special: special tokens that are written out in the text become their ids.
        before, after: ids around the text, with the offsets ``(0, 0)``.

    Returns:
        The encoding, its offsets in characters of ``text`` as it was passed.

    Raises:
        ValueError: ``text`` is neither a string nor bytes.

    Example:
        >>> letters = Vocabulary({"a": 0, "b": 1})
        >>> plain = lambda text: ([0, 1], [(0, 1), (1, 2)])
        >>> encode_parts_with_offsets("ab", letters, plain, parse_special=True).tokens
        ['a', 'b']

    Chapter: 03.
    """
    mended = as_text(text)
    ids: list[int] = []
    offsets: Offsets = []
    for part in vocabulary.added.split(mended, parse_special=parse_special):
        if part.token is not None:
            ids.append(part.token.id)
            offsets.append((part.start, part.stop))
            continue
        more, places = encode_plain(mended[part.start : part.stop])
        ids.extend(more)
        offsets += [(part.start + start, part.start + stop) for start, stop in places]
    nowhere = [(0, 0)]
    offsets = [
        *nowhere * len(before),
        *original_offsets(text, offsets),
        *nowhere * len(after),
    ]
    ids = [*before, *ids, *after]
    return Encoding(ids, [vocabulary.tokens[index] for index in ids], offsets)
