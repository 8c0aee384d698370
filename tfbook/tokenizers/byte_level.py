"""The byte level of GPT-2: bytes spelled as letters, and text cut into words before merging."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import regex

from tfbook.checks import require
from tfbook.tokenizers.json_format import field

# The patterns ask for letters and numbers of Unicode. What its newest versions added is a letter
# to the regex package before it is one to the libraries that other languages use.
#: GPT-2's: a contraction, or a run of letters, of numbers or of other signs with at most one
#: space in front; white space without the space that belongs to the word behind it.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
#: SmolLM2's (and StarCoder's): each digit stands alone, and GPT-2's pattern cuts what is between.
#: White space before a digit therefore is at its piece's end and stays whole.
SMOLLM_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"

_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
_DIGITS = {"type": "Digits", "individual_digits": True}


def byte_characters() -> list[str]:
    """Give the letter by which GPT-2 spells each of the 256 bytes.

    The 188 bytes that Latin-1 prints spell themselves; the other 68, in order, are U+0100 and
    what follows. So the vocabulary is text without spaces or control characters: a space is
    ``Ġ``, a newline ``Ċ``.

    Returns:
        256 distinct characters, in the order of the bytes.

    Example:
        >>> spelled = byte_characters()
        >>> "".join(spelled[byte] for byte in "née\\n".encode()), spelled[ord(" ")]
        ('nÃ©eĊ', 'Ġ')

    Source: OpenAI's encoder of GPT-2, ``bytes_to_unicode``. Chapter: 03.
    """
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printed else next(others)) for byte in range(256)]


def bytes_of_tokens(tokens: Iterable[str]) -> list[bytes]:
    """Give the bytes that each token spells.

    Args:
        tokens: as the vocabulary spells them.

    Returns:
        Their bytes; those of the token's UTF-8 where it is not in that spelling.

    Example:
        >>> bytes_of_tokens(["Ġhi", "中"])
        [b' hi', b'\\xe4\\xb8\\xad']

    Chapter: 03.
    """
    spelled = byte_characters()
    # Latin-1 has the same 256 codes as bytes: translating and encoding is all done in C.
    to_latin = {ord(letter): byte for byte, letter in enumerate(spelled)}
    known = frozenset(spelled)
    return [
        token.translate(to_latin).encode("latin-1")
        if known.issuperset(token)
        else token.encode("utf-8", "surrogatepass")
        for token in tokens
    ]


def split_words(text: str, pattern: regex.Pattern[str], start: int, stop: int) -> list[str]:
    """Cut a text into the words that merges never leave.

    Args:
        text: the text.
        pattern: matches one word after the other.
        start, stop: the characters of the text to cut.

    Returns:
        The words. They join to the text: what the pattern leaves out is a word too.

    Example:
        >>> split_words("It's 2026.", regex.compile(GPT2_PATTERN), 0, 10)
        ['It', "'s", ' 2026', '.']
        >>> split_words("It's 2026.", regex.compile(SMOLLM_PATTERN), 0, 10)
        ['It', "'s", ' ', '2', '0', '2', '6', '.']

    Source: OpenAI's encoder of GPT-2. Chapter: 03.
    """
    piece = text[start:stop]
    words = pattern.findall(piece)
    if sum(map(len, words)) == len(piece):
        return words
    words, at = [], 0
    for match in pattern.finditer(piece):
        words += [piece[at : match.start()], match.group()]
        at = match.end()
    return [word for word in [*words, piece[at:]] if word]


def compiled(pattern: str) -> regex.Pattern[str]:
    """Compile the pattern of a byte-level tokenizer.

    Args:
        pattern: in the syntax of the ``regex`` package, without groups that capture.

    Returns:
        The compiled pattern.

    Raises:
        ValueError: it is no regular expression.
        ValueError: it has a capturing group.

    Example:
        >>> compiled(GPT2_PATTERN).findall("to be")
        ['to', ' be']

    Chapter: 03.
    """
    try:
        made = regex.compile(pattern)
    except regex.error as error:
        raise ValueError(
            f"pattern={pattern!r} is no regular expression ({error}); use GPT2_PATTERN, "
            "SMOLLM_PATTERN or another of the regex package's syntax"
        ) from error
    require(
        made.groups == 0,
        f"pattern={pattern!r} has {made.groups} capturing groups, but must have none; write (?:…)",
    )
    return made


def pre_tokenizer_of(pattern: str) -> dict[str, Any]:
    """Give the ``pre_tokenizer`` of ``tokenizer.json`` that cuts as a pattern does.

    Args:
        pattern: GPT-2's, SmolLM2's, or any other.

    Returns:
        The part of the document.

    Example:
        >>> [part["type"] for part in pre_tokenizer_of(SMOLLM_PATTERN)["pretokenizers"]]
        ['Digits', 'ByteLevel']

    Source: the `tokenizers` library. Chapter: 03.
    """
    if pattern == GPT2_PATTERN:
        return dict(_BYTE_LEVEL)
    if pattern == SMOLLM_PATTERN:
        return {"type": "Sequence", "pretokenizers": [dict(_DIGITS), dict(_BYTE_LEVEL)]}
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    last = {**_BYTE_LEVEL, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, last]}


def pattern_of(pre_tokenizer: Any) -> str:
    """Give the pattern by which a ``pre_tokenizer`` of ``tokenizer.json`` cuts.

    Args:
        pre_tokenizer: the part of the document.

    Returns:
        The pattern.

    Raises:
        ValueError: it is none of the kinds that :func:`pre_tokenizer_of` writes, or has other
            options.

    Example:
        >>> pattern_of(pre_tokenizer_of(GPT2_PATTERN)) == GPT2_PATTERN
        True

    Chapter: 03.
    """
    parts = [pre_tokenizer]
    if isinstance(pre_tokenizer, dict) and pre_tokenizer.get("type") == "Sequence":
        parts = field(pre_tokenizer, "pretokenizers", list)
    kinds = [field(part, "type", str) for part in parts]
    last = parts[-1] if parts else {}
    plain = kinds[-1:] == ["ByteLevel"] and last.get("add_prefix_space") is False
    if plain and kinds == ["ByteLevel"] and last.get("use_regex", True):
        return GPT2_PATTERN
    if plain and kinds == ["Digits", "ByteLevel"] and last.get("use_regex", True):
        plain = parts[0].get("individual_digits") is True
        if plain:
            return SMOLLM_PATTERN
    if plain and kinds == ["Split", "ByteLevel"] and last.get("use_regex") is False:
        found = field(parts[0], "pattern", dict).get("Regex")
        kept = (parts[0].get("behavior"), parts[0].get("invert"))
        # Removing what the inverse matches keeps the matches, as isolating them does.
        if isinstance(found, str) and kept in (("Isolated", False), ("Removed", True)):
            return found
    raise ValueError(
        f"pre_tokenizer is {pre_tokenizer!s:.200}, but this package reads ByteLevel without "
        "add_prefix_space, alone or behind Digits(individual_digits) or Split; use the tokenizers "
        "library itself for others"
    )
