"""The character tokenizer: by hand, there and back, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbook.tokenizers import BPETokenizer, CharacterTokenizer

PHONEMES = ["AH", "K", "T"]


@pytest.fixture
def letters() -> CharacterTokenizer:
    return CharacterTokenizer("abc")


def test_ids_by_hand(letters: CharacterTokenizer) -> None:
    assert (letters.pad_id, letters.bos_id, letters.eos_id) == (0, 1, 2)
    assert letters.vocab_size == 6
    assert letters.encode("cab") == [5, 3, 4]
    assert letters.encode("cab", bos=True, eos=True) == [1, 5, 3, 4, 2]
    assert letters.encode("") == []
    assert letters.encode("", bos=True, eos=True) == [1, 2]


def test_symbols_of_several_characters() -> None:
    phonemes = CharacterTokenizer(PHONEMES)
    assert phonemes.encode(("K", "AH", "T")) == [4, 3, 5]
    assert phonemes.decode([4, 3, 5]) == ["K", "AH", "T"]


def test_decode_drops_specials_and_stops_at_the_end(letters: CharacterTokenizer) -> None:
    assert letters.decode([1, 5, 0, 3, 2, 4, 99]) == ["c", "a"]
    assert letters.decode(torch.tensor([1, 5, 3, 2, 0])) == ["c", "a"]
    assert letters.decode([]) == []


@given(st.text(alphabet="abc"), st.booleans(), st.booleans())
def test_there_and_back(text: str, bos: bool, eos: bool) -> None:
    letters = CharacterTokenizer("abc")
    assert "".join(letters.decode(letters.encode(text, bos=bos, eos=eos))) == text


def test_pad(letters: CharacterTokenizer) -> None:
    ids, lengths = letters.pad([[3], [3, 4, 5], []])
    assert ids.tolist() == [[3, 0, 0], [3, 4, 5], [0, 0, 0]]
    assert lengths.tolist() == [1, 3, 0]
    assert ids.dtype == lengths.dtype == torch.long
    assert letters.pad([[], []])[0].shape == (2, 0)


def test_from_texts_sorts_and_does_not_depend_on_order() -> None:
    assert CharacterTokenizer.from_texts(["cab", "b"]).symbols == ("a", "b", "c")
    one = CharacterTokenizer.from_texts([("T", "AH"), ("K",)])
    other = CharacterTokenizer.from_texts([("K", "T"), ("AH",)])
    assert one == other
    assert hash(one) == hash(other)
    assert one.symbols == ("AH", "K", "T")


def test_json_there_and_back() -> None:
    for symbols in ("abc", PHONEMES, ["ß", "é", '"']):
        tokenizer = CharacterTokenizer(symbols)
        again = CharacterTokenizer.from_json(tokenizer.to_json())
        assert again == tokenizer
        assert again.encode(symbols) == tokenizer.encode(symbols)


def test_file_there_and_back(tmp_path: Path) -> None:
    for symbols in ("abc", PHONEMES, ["ß", "\ud800", '"', "\\"]):
        tokenizer = CharacterTokenizer(symbols)
        path = tmp_path / "letters.json"
        tokenizer.save(path)
        assert CharacterTokenizer.from_file(path) == tokenizer
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="No such file"):
        CharacterTokenizer.from_file(tmp_path / "none.json")
    BPETokenizer.train(["low"], vocab_size=256).save(path)
    with pytest.raises(ValueError, match=r"is not a tfbook.CharacterTokenizer; .* load_tokenizer"):
        CharacterTokenizer.from_file(path)


def test_repr(letters: CharacterTokenizer) -> None:
    assert repr(letters) == "CharacterTokenizer(3 symbols: a b c)"
    assert repr(CharacterTokenizer("abcdef")) == "CharacterTokenizer(6 symbols: a b c d e …)"


def test_not_equal_to_another_order(letters: CharacterTokenizer) -> None:
    assert letters != CharacterTokenizer("acb")
    assert letters != "abc"


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (["a", ""], "symbols holds '', but each symbol must be a non-empty string"),
        (["a", 3], "symbols holds 3, but each symbol must be a non-empty string"),
        (["a", "b", "a"], r"symbols holds 'a' more than once"),
        (["a", "<eos>"], "symbols holds '<eos>', which names a special token"),
    ],
)
def test_bad_symbols(symbols: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CharacterTokenizer(symbols)


def test_unknown_symbol(letters: CharacterTokenizer) -> None:
    with pytest.raises(ValueError, match="text='abx' holds 'x' at position 2, which is none of"):
        letters.encode("abx")
    with pytest.raises(ValueError, match="holds '<pad>' at position 0"):
        letters.encode(["<pad>"])


@pytest.mark.parametrize("index", [6, -1])
def test_unknown_id(letters: CharacterTokenizer, index: int) -> None:
    with pytest.raises(ValueError, match=rf"ids holds {index}, but ids must lie in 0\.\.5"):
        letters.decode([3, index])


def test_decode_a_batch(letters: CharacterTokenizer) -> None:
    with pytest.raises(ValueError, match=r"ids has shape \(2, 3\), but must have one axis"):
        letters.decode(torch.zeros(2, 3, dtype=torch.long))


def test_no_texts() -> None:
    for texts in ([], ["", ""]):
        with pytest.raises(ValueError, match="texts holds no symbol"):
            CharacterTokenizer.from_texts(texts)


def test_pad_nothing(letters: CharacterTokenizer) -> None:
    with pytest.raises(ValueError, match="sequences is empty"):
        letters.pad([])


def test_foreign_json(letters: CharacterTokenizer) -> None:
    newer = {**json.loads(letters.to_json()), "version": 2}
    broken = {**json.loads(letters.to_json()), "symbols": "abc"}
    for text, message in (
        ("{", "text is not JSON"),
        ("[]", "text is not a tfbook.CharacterTokenizer"),
        ('{"symbols": []}', "text is not a tfbook.CharacterTokenizer"),
        (json.dumps(newer), "version=2 of tfbook.CharacterTokenizer is unknown"),
        (json.dumps(broken), "symbols='abc' must be a list of strings"),
    ):
        with pytest.raises(ValueError, match=message):
            CharacterTokenizer.from_json(text)


def test_the_common_interface() -> None:
    letters = CharacterTokenizer("abc")
    assert [letters.token_to_id(token) for token in ("<eos>", "a", "x")] == [2, 3, None]
    assert [letters.id_to_token(index) for index in (2, 3)] == ["<eos>", "a"]
    found = letters.encode_with_offsets("cab")
    assert (found.ids, found.tokens) == (letters.encode("cab"), ["c", "a", "b"])
    assert found.offsets == [(0, 1), (1, 2), (2, 3)]
    batch = letters.encode_batch(["cab", "a"], max_length=2, side="left")
    assert batch.ids.tolist() == [[5, 3], [0, 3]]
    assert letters.unk_id is None
    with pytest.raises(ValueError, match=r"index=6 must lie in 0..5; take ids from this"):
        letters.id_to_token(6)
    with pytest.raises(ValueError, match="texts='cab' is one text"):
        letters.encode_batch("cab")


@settings(deadline=None)
@given(st.text(min_size=1))
def test_texts_come_back(text: str) -> None:
    letters = CharacterTokenizer.from_texts([text])
    assert "".join(letters.decode(letters.encode(text))) == text
