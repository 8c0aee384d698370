"""Two texts in one sequence, as BERT reads them, with the segment of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfbook.checks import require
from tfbook.tokenizers.encoding import Encoding


@dataclass(frozen=True)
class PairEncoding:
    """Two texts as one sequence of tokens: ``[CLS] first [SEP] second [SEP]``.

    Args:
        ids: the token ids.
        segments: 0 for ``[CLS]``, the first text and its ``[SEP]``; 1 for the rest.
        tokens: the tokens as strings.
        offsets: for each token the characters ``(start, stop)`` of its own text; ``(0, 0)`` for
            the tokens around the texts.

    Chapter: 03.
    """

    ids: list[int]
    segments: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]


def join_pair(
    first: Encoding,
    second: Encoding,
    *,
    before: Sequence[tuple[str, int]],
    after: Sequence[tuple[str, int]],
    max_length: int | None = None,
) -> PairEncoding:
    """Put two encoded texts and the tokens around them in one sequence.

    Args:
        first, second: without special tokens.
        before: tokens and ids in front of the first text.
        after: tokens and ids behind each text.
        max_length: the most tokens there may be; the end of the longer text is cut until all
            fit.

    Returns:
        The sequence.

    Raises:
        ValueError: ``max_length`` leaves no room for the special tokens.

    Example:
        >>> one = Encoding([5, 6], ["a", "b"], [(0, 1), (1, 2)])
        >>> two = Encoding([7], ["c"], [(0, 1)])
        >>> join_pair(one, two, before=[("[CLS]", 1)], after=[("[SEP]", 2)]).segments
        [0, 0, 0, 0, 1, 1]

    Source: Devlin et al. 2019, section 3. Chapter: 03.
    """
    lengths = (len(first.ids), len(second.ids))
    if max_length is not None:
        around = len(before) + 2 * len(after)
        require(
            max_length >= max(1, around),
            f"max_length={max_length} must be at least {max(1, around)}, the special tokens "
            f"around a pair being {around}; give a longer one",
        )
        lengths = shared(*lengths, max_length - around)
    zero = (0, 0)
    rows = [(index, 0, token, zero) for token, index in before]
    for segment, (text, n) in enumerate(zip((first, second), lengths, strict=True)):
        parts = zip(text.ids[:n], text.tokens[:n], text.offsets[:n], strict=True)
        rows += [(index, segment, token, where) for index, token, where in parts]
        rows += [(index, segment, token, zero) for token, index in after]
    return PairEncoding(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
    )


def shared(n_first: int, n_second: int, room: int) -> tuple[int, int]:
    """Give how many tokens of two texts stay when there is room for so many.

    Args:
        n_first, n_second: their numbers of tokens.
        room: the most tokens of both.

    Returns:
        The numbers that stay: the shorter text gives up tokens only when the other is as short.
        The odd token of a room that both share goes to the longer text, of equal ones to the
        second.

    Example:
        >>> shared(9, 2, 6), shared(9, 9, 7)
        ((4, 2), (3, 4))

    Chapter: 03.
    """
    if n_first + n_second <= room:
        return n_first, n_second
    if n_first > n_second:
        return shared(n_second, n_first, room)[::-1]
    short = min(n_first, room // 2)
    return short, room - short
