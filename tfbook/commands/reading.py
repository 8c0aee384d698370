"""What the commands share: lines and batches from their input, and exit statuses."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

BAD_INPUT = 1
CANNOT_RUN = 2
# What a shell reports for a program that a signal ended: 128 and the signal's number.
INTERRUPTED = 130
BROKEN_PIPE = 141


def lines(stream: Iterable[str]) -> Iterator[str]:
    """Give the lines that hold something, without the blanks around them.

    Args:
        stream: where they come from, read no further than needed.

    Yields:
        One line at a time.
    """
    for line in stream:
        word = line.strip("\ufeff \t\r\n")
        if word:
            yield word


def batches(words: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut a stream into lists, without reading ahead further than one list.

    Args:
        words: the stream.
        size: of a list, at most.

    Yields:
        One list at a time.
    """
    rest = iter(words)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def exit_status(*, n_done: int, n_refused: int) -> int:
    """Tell how much of the input could be used.

    Args:
        n_done: texts that were.
        n_refused: texts that were not, each named on standard error.

    Returns:
        0 all of it, even where there was none; 1 a part; 2 nothing.
    """
    if n_refused == 0:
        return 0
    return BAD_INPUT if n_done else CANNOT_RUN
