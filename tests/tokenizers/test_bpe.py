"""Byte-level BPE beside the two reference libraries, on GPT-2's and SmolLM2's vocabularies."""

import time
from functools import cache
from typing import Any

import gpt2
import pytest
import smollm2
import tokenizers
import torch
from awkward_lines import INVALID_UTF8, SURROGATES, awkward_lines
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbook.data import king_james
from tfbook.tokenizers import (
    SMOLLM_PATTERN,
    AddedToken,
    BPETokenizer,
    byte_characters,
)

LETTERS = {letter: index for index, letter in enumerate(byte_characters())}


def same_as_library(ours: BPETokenizer, theirs: tokenizers.Tokenizer, lines: list[str]) -> None:
    for line in lines:
        expected, found = theirs.encode(line), ours.encode_with_offsets(line)
        assert found.ids == expected.ids == ours.encode(line), repr(line)
        assert found.tokens == expected.tokens, repr(line)
        # After a byte that it dropped, the library counts wrong.
        if not set(ours.missing_bytes) & set(line.encode()):
            assert found.offsets == expected.offsets, repr(line)
        for special in (True, False):
            text = theirs.decode(found.ids, skip_special_tokens=not special)
            assert ours.decode(found.ids, special=special) == text, repr(line)


def test_gpt2_is_tiktokens_and_the_librarys() -> None:
    lines = awkward_lines()
    assert len(lines) == 2000
    same_as_library(gpt2.ours(), gpt2.library(), lines)
    for line in lines:
        ids = gpt2.ours().encode(line)
        assert ids == gpt2.openai().encode(line, allowed_special="all"), repr(line)
        assert gpt2.ours().decode(ids, special=True) == gpt2.openai().decode(ids) == line
        plain = gpt2.ours().encode(line, parse_special=False)
        assert plain == gpt2.openai().encode_ordinary(line), repr(line)


def test_smollm2_is_the_librarys() -> None:
    same_as_library(smollm2.ours(), smollm2.theirs(), awkward_lines())


def test_long_texts() -> None:
    text = king_james.load("validation")[0]
    assert gpt2.ours().encode(text) == gpt2.openai().encode(text)
    assert smollm2.ours().encode(text) == smollm2.theirs().encode(text).ids


def test_smollm2_lacks_some_bytes() -> None:
    """None of text but control characters and U+40000 to U+BFFFF, which are not assigned."""
    missing = smollm2.ours().missing_bytes
    assert len(missing) == 21
    assert missing[:6] == b"\x04\x06\x13\x14\x16\x1d"
    assert all(byte in b"\xf1\xf2" or byte in range(0xF5, 0x100) for byte in missing[8:])
    assert smollm2.ours().encode("\x04") == smollm2.theirs().encode("\x04").ids == []
    assert gpt2.ours().missing_bytes == b""


@pytest.mark.parametrize(("text", "mended"), SURROGATES)
def test_surrogates(text: str, mended: str) -> None:
    assert gpt2.ours().encode(text) == gpt2.ours().encode(mended) == gpt2.openai().encode(text)
    found = gpt2.ours().encode_with_offsets(text)
    assert found.offsets[0][0] == 0
    assert found.offsets[-1][1] == len(text)


@pytest.mark.parametrize("data", INVALID_UTF8)
def test_bytes_come_back_exactly(data: bytes) -> None:
    ids = gpt2.ours().encode(data)
    assert gpt2.ours().decode_bytes(ids) == data
    assert gpt2.ours().decode(ids) == data.decode("utf-8", "replace") == gpt2.openai().decode(ids)
    assert gpt2.ours().encode_with_offsets(data).ids == ids


@settings(deadline=None)
@given(st.lists(st.integers(0, 50_256), max_size=12))
def test_any_ids_decode_as_the_libraries_do(ids: list[int]) -> None:
    assert gpt2.ours().decode(ids, special=True) == gpt2.openai().decode(ids)
    assert gpt2.ours().decode_bytes(ids, special=True) == gpt2.openai().decode_bytes(ids)
    theirs = gpt2.library()
    assert gpt2.ours().decode(ids) == theirs.decode(ids)


@cache
def small() -> BPETokenizer:
    return BPETokenizer.train(awkward_lines(200), vocab_size=600, special_tokens=["<s>"])


@settings(deadline=None)
@given(st.text())
def test_texts_come_back(text: str) -> None:
    for made in (small(), gpt2.ours()):
        assert made.decode(made.encode(text, parse_special=False)) == text
        assert made.decode(made.encode(text), special=True) == text


@settings(deadline=None)
@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    assert small().decode_bytes(small().encode(data), special=True) == data


@settings(deadline=None)
@given(st.text(st.characters()))
def test_offsets_cover_the_text(text: str) -> None:
    offsets = small().encode_with_offsets(text).offsets
    covered = {place for start, stop in offsets for place in range(start, stop)}
    assert covered == set(range(len(text)))
    assert offsets == sorted(offsets)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30), st.randoms())
def test_merges_in_any_order(text: str, draw: Any) -> None:
    """No training gives such merges, and the library does the same with them."""
    merges = small().merges[:]
    draw.shuffle(merges)
    made = BPETokenizer(vocab=small().vocabulary.model_ids, merges=merges, pattern=SMOLLM_PATTERN)
    theirs = tokenizers.Tokenizer.from_str(made.to_json())
    assert made.encode(text) == theirs.encode(text).ids


def test_a_very_long_word_takes_its_length_in_time() -> None:
    word = "".join(chr(ord("a") + at * at % 23) for at in range(100_000))
    began = time.process_time()
    ids = gpt2.ours().encode(word)
    assert time.process_time() - began < 10  # a square would take minutes
    assert ids == gpt2.library().encode(word).ids


def test_special_tokens_in_text() -> None:
    text = f"one{gpt2.END}two"
    end = gpt2.ours().eos_id
    assert gpt2.ours().encode(text) == [505, end, 11545]
    assert end not in gpt2.ours().encode(text, parse_special=False)
    assert gpt2.ours().decode([505, end, 11545]) == "onetwo"
    assert gpt2.ours().decode(torch.tensor([505, end, 11545]), special=True) == text


def test_added_tokens_are_spelled_in_utf8() -> None:
    added = [AddedToken(content="«é»", id=256, special=False)]
    made = BPETokenizer(vocab=LETTERS, merges=[], added_tokens=added)
    assert made.decode(made.encode("a«é»é")) == "a«é»é"
    assert made.encode_with_offsets("a«é»é").offsets == [(0, 1), (1, 4), (4, 5), (4, 5)]


def test_batches() -> None:
    texts = ["", "one", f"two three{gpt2.END}", "four five six seven"]
    batch = gpt2.ours().encode_batch(texts, max_length=3, side="left")
    assert batch.lengths.tolist() == [0, 1, 3, 3]
    for text, row, mask in zip(texts, batch.ids, batch.mask, strict=True):
        assert row[mask].tolist() == gpt2.ours().encode(text)[:3]
        assert (row[~mask] == gpt2.ours().pad_id).all()
    assert gpt2.ours().encode_batch([gpt2.END], parse_special=False).ids.shape[1] > 1


def test_tokens() -> None:
    assert gpt2.ours().vocab_size == 50_257
    assert gpt2.ours().token_to_id("Ġthe") == 262
    assert gpt2.ours().token_to_id(" the") is None
    assert gpt2.ours().id_to_token(262) == "Ġthe"
    assert repr(gpt2.ours()) == "BPETokenizer(50257 tokens, 50000 merges)"


BAD = [
    (dict(vocab={"a": 1}), r"vocab gives 'a' the id 1, but the 1 tokens must have the ids 0..0"),
    (dict(merges=[("a", "b")]), "merge 0 joins 'a' and 'b', but vocab has no token 'ab'"),
    (dict(pattern="(a)"), "capturing groups, but must have none"),
    (dict(eos_id=256), r"eos_id=256 must lie in 0..255; give the id of a token, or None"),
    (dict(added_tokens=[AddedToken(content="a", id=1)]), "added token 'a' has id 1, but vocab"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_arguments(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BPETokenizer(**{"vocab": LETTERS, "merges": [], **change})


def test_bad_input() -> None:
    plain = BPETokenizer(vocab=LETTERS, merges=[])
    with pytest.raises(ValueError, match="text is of type list, but must be str or bytes"):
        plain.encode(["a"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="text is of type int, but must be str or bytes"):
        plain.encode_with_offsets(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"ids holds 256, but ids must lie in 0..255"):
        plain.decode([256])
    with pytest.raises(ValueError, match="must have one axis; decode row by row"):
        plain.decode_bytes(torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(ValueError, match=r"index=-1 must lie in 0..255"):
        plain.id_to_token(-1)
    with pytest.raises(ValueError, match="pad_id=None, but the texts have 1 to 2 tokens"):
        plain.encode_batch(["a", "ab"])
    with pytest.raises(ValueError, match="text is of type NoneType"):
        plain.encode_batch([None])  # type: ignore[list-item]
