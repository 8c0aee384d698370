"""Texts that UTF-8 cannot hold."""

import pytest
from awkward_lines import INVALID_UTF8, SURROGATES, awkward_lines
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbook.tokenizers.mending import as_text, original_offsets

ANY_TEXT = st.text(st.characters())  # surrogates too


@pytest.mark.parametrize(("text", "mended"), SURROGATES)
def test_surrogates(text: str, mended: str) -> None:
    assert as_text(text) == mended


@settings(deadline=None)
@given(ANY_TEXT)
def test_as_the_replacement_of_utf16_says(text: str) -> None:
    expected = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert as_text(text) == expected


@settings(deadline=None)
@given(ANY_TEXT)
def test_offsets_lead_back_to_the_text(text: str) -> None:
    mended = as_text(text)
    every = [(at, at + 1) for at in range(len(mended))]
    pieces = [text[start:stop] for start, stop in original_offsets(text, every)]
    assert "".join(pieces) == text
    assert [as_text(piece) for piece in pieces] == list(mended)


def test_other_texts_are_the_same_object() -> None:
    for line in awkward_lines(100):
        assert as_text(line) is line


@pytest.mark.parametrize("data", INVALID_UTF8)
def test_bytes(data: bytes) -> None:
    assert as_text(data) == data.decode("utf-8", "replace")
    assert as_text(data, lossless=True).encode("utf-8", "surrogateescape") == data
    assert original_offsets(data, [(0, 1)]) == [(0, 1)]


@pytest.mark.parametrize("text", [None, 3, ["a"]])
def test_no_text(text: object) -> None:
    with pytest.raises(ValueError, match="must be str or bytes; to encode several texts call"):
        as_text(text)  # type: ignore[arg-type]
