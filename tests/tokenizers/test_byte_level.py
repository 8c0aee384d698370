"""GPT-2's spelling of bytes and the patterns that cut words."""

from typing import Any

import pytest
from awkward_lines import awkward_lines
from tokenizers import Regex, pre_tokenizers

from tfbook.tokenizers import GPT2_PATTERN, SMOLLM_PATTERN, byte_characters
from tfbook.tokenizers.byte_level import (
    bytes_of_tokens,
    compiled,
    pattern_of,
    pre_tokenizer_of,
    split_words,
)

BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Digits(individual_digits=True)
WORDS = r"\p{L}+|\p{Nd}"  # leaves much out
REFERENCES = {
    GPT2_PATTERN: BYTE_LEVEL,
    SMOLLM_PATTERN: pre_tokenizers.Sequence([DIGITS, BYTE_LEVEL]),
    WORDS: pre_tokenizers.Split(Regex(WORDS), "isolated"),
}


def test_the_spelling_is_the_librarys() -> None:
    letters = byte_characters()
    assert len(set(letters)) == 256
    assert sorted(letters) == sorted(pre_tokenizers.ByteLevel.alphabet())
    every = "".join(chr(code) for code in range(0x800))
    [(spelled, _)] = pre_tokenizers.ByteLevel(False, use_regex=False).pre_tokenize_str(every)
    assert spelled == "".join(letters[byte] for byte in every.encode())


@pytest.mark.parametrize("pattern", REFERENCES)
def test_words_are_the_librarys(pattern: str) -> None:
    made = compiled(pattern)
    for line in awkward_lines():
        spans = [span for _, span in REFERENCES[pattern].pre_tokenize_str(line)]
        expected = [line[start:stop] for start, stop in spans]
        assert split_words(line, made, 0, len(line)) == expected


def test_a_part_of_a_text_is_cut_as_if_it_were_all() -> None:
    assert split_words("a  b", compiled(GPT2_PATTERN), 0, 3) == ["a", "  "]
    assert split_words("a  b", compiled(GPT2_PATTERN), 0, 4) == ["a", " ", " b"]
    assert split_words("a  1", compiled(SMOLLM_PATTERN), 0, 4) == ["a", "  ", "1"]


def test_tokens_that_spell_no_bytes() -> None:
    found = bytes_of_tokens(["Ġé", "中", "\ud800", ""])
    assert found == [b" \xe9", "中".encode(), b"\xed\xa0\x80", b""]
    assert bytes_of_tokens(byte_characters()) == [bytes([byte]) for byte in range(256)]


@pytest.mark.parametrize("pattern", REFERENCES)
def test_parts_of_the_document(pattern: str) -> None:
    assert pattern_of(pre_tokenizer_of(pattern)) == pattern


def byte_level(**changes: Any) -> dict[str, Any]:
    return {**pre_tokenizer_of(GPT2_PATTERN), **changes}


def test_the_usual_way_to_write_a_pattern() -> None:
    split = {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Removed", "invert": True}
    parts = [split, byte_level(use_regex=False)]
    assert pattern_of({"type": "Sequence", "pretokenizers": parts}) == "a"


@pytest.mark.parametrize(
    "part",
    [
        byte_level(add_prefix_space=True),
        byte_level(use_regex=False),
        {"type": "Whitespace"},
        {"type": "Sequence", "pretokenizers": []},
        {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": False}, byte_level()],
        },
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated"},
                byte_level(use_regex=False),
            ],
        },
    ],
)
def test_other_parts(part: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="this package reads ByteLevel without add_prefix_space"):
        pattern_of(part)


def test_bad_patterns() -> None:
    with pytest.raises(ValueError, match=r"pattern='\(' is no regular expression"):
        compiled("(")
    with pytest.raises(ValueError, match="has 1 capturing groups, but must have none"):
        compiled("(a)")
