"""Texts with added tokens in them, part by part."""

from __future__ import annotations

import pytest

from tfbook.tokenizers.parts import encode_parts, encode_parts_with_offsets
from tfbook.tokenizers.special_tokens import AddedToken
from tfbook.tokenizers.vocabulary import Vocabulary

LETTERS = Vocabulary({"a": 0, "b": 1, "<e>": 2}, [AddedToken(content="<e>", id=2)])


def plain(text: str) -> list[int]:
    return ["ab".find(letter) for letter in text if letter in "ab"]


def plain_with_offsets(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    return plain(text), [(i, i + 1) for i, letter in enumerate(text) if letter in "ab"]


def test_by_hand() -> None:
    assert encode_parts("ab<e>b", LETTERS, plain, parse_special=True) == [0, 1, 2, 1]
    assert encode_parts("ab<e>b", LETTERS, plain, parse_special=False) == [0, 1, 1]
    assert encode_parts(b"a<e>", LETTERS, plain, parse_special=True) == [0, 2]
    found = encode_parts_with_offsets(
        "\ud83d\ude00a<e>b", LETTERS, plain_with_offsets, parse_special=True, before=[2], after=[1]
    )
    assert found.ids == [2, 0, 2, 1, 1]
    assert found.tokens == ["<e>", "a", "<e>", "b", "b"]
    assert found.offsets == [(0, 0), (2, 3), (3, 6), (6, 7), (0, 0)]


def test_no_text() -> None:
    with pytest.raises(ValueError, match="text is of type int"):
        encode_parts(3, LETTERS, plain, parse_special=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="text is of type int"):
        encode_parts_with_offsets(
            3,  # type: ignore[arg-type]
            LETTERS,
            plain_with_offsets,
            parse_special=True,
        )
