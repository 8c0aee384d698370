"""Text out of tokens: whole characters, and stop strings wherever they begin and end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbook.generation import TextPieces


class Chunks:
    """Tokens of any bytes: the id is the place in a list."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self.chunks = chunks

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.chunks[i] for i in ids).decode("utf-8", errors="replace")


class Words:
    """As unigram tokenizers: a token may begin with a space, which the first of a text loses."""

    words = (" a", " b", "c")

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.words[i] for i in ids).removeprefix(" ")


class Symbols:
    """As character tokenizers, which give a list."""

    def decode(self, ids: Sequence[int]) -> list[str]:
        return ["abc"[i] for i in ids]


def pushed(pieces: TextPieces, n: int) -> list[str]:
    return [pieces.push(i) for i in range(n)]


def cut(text: bytes, places: set[int]) -> list[bytes]:
    borders = [0, *sorted(place for place in places if place < len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(borders)]


TEXTS = st.text(alphabet="aé→𝄞 b", max_size=12)
PLACES = st.sets(st.integers(1, 40), max_size=20)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, places=PLACES)
def test_whole_characters_and_nothing_lost(text: str, places: set[int]) -> None:
    chunks = cut(text.encode(), places)
    pieces = TextPieces(Chunks(chunks))
    shown = pushed(pieces, len(chunks))
    assert "\ufffd" not in "".join(shown)
    assert "".join(shown) == text  # with the last byte everything is there
    assert pieces.flush() == ""
    # Every character as soon as its last byte is there.
    seen = b""
    for chunk, piece in zip(chunks, shown, strict=True):
        before = seen.decode("utf-8", errors="ignore")
        seen += chunk
        assert piece == seen.decode("utf-8", errors="ignore")[len(before) :]


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(alphabet="abé", max_size=16),
    places=PLACES,
    stop=st.lists(st.text(alphabet="abé", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_stop_strings_across_tokens(text: str, places: set[int], stop: list[str]) -> None:
    chunks = cut(text.encode(), places)
    pieces = TextPieces(Chunks(chunks), stop=stop)
    shown, n_read = "", 0
    for i in range(len(chunks)):
        shown += pieces.push(i)
        n_read += 1
        if pieces.stopped_by is not None:
            break
    so_far = b"".join(chunks[:n_read]).decode("utf-8", errors="ignore")
    before = b"".join(chunks[: n_read - 1]).decode("utf-8", errors="ignore")
    if pieces.stopped_by is None:
        assert not any(string in text for string in stop)
        assert shown + pieces.flush() == text
    else:
        assert pieces.stopped_by in stop
        assert not any(string in before for string in stop)  # at the first chance
        assert shown == so_far[: min(so_far.find(s) for s in stop if s in so_far)]
        assert pieces.push(0) == pieces.flush() == ""


def test_what_may_be_a_stop_string_is_held_back() -> None:
    text = b"abEEND"
    pieces = TextPieces(Chunks([text[i : i + 1] for i in range(len(text))]), stop=["END"])
    assert pushed(pieces, 6) == ["a", "b", "", "E", "", ""]
    assert pieces.stopped_by == "END"


def test_invalid_bytes_come_at_the_end_or_before_the_next_character() -> None:
    pieces = TextPieces(Chunks([b"a", b"\xff", b"b", b"\xc3"]))
    assert pushed(pieces, 4) == ["a", "", "\ufffdb", ""]
    assert pieces.flush() == "\ufffd"


def test_spaces_before_words_stay() -> None:
    pieces = TextPieces(Words())
    assert [pieces.push(i) for i in (0, 1, 2, 0, 0, 1)] == ["a", " b", "c", " a", " a", " b"]


def test_symbols_are_joined() -> None:
    pieces = TextPieces(Symbols(), stop=["ca"])
    assert [pieces.push(i) for i in (1, 2, 2, 0)] == ["b", "", "c", ""]


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        ("END", "stop='END' is one string; write a list of strings"),
        (["END", ""], "stop holds '', but each must be a string that is not empty"),
    ],
)
def test_bad_stop_strings(stop: Sequence[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextPieces(Symbols(), stop=stop)
