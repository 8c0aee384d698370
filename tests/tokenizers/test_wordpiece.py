"""BERT's tokenizer: by hand, and equal to two references on two thousand awkward lines."""

from __future__ import annotations

from pathlib import Path

import bert
import pytest
import torch
from awkward_lines import INVALID_UTF8, SURROGATES, awkward_lines
from tokenizers import Tokenizer
from transformers import BertTokenizer

from tfbook.tokenizers import BertText, WordPieceTokenizer
from tfbook.tokenizers.special_tokens import AddedToken

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "##a", "aff", "!"]


@pytest.fixture
def small() -> WordPieceTokenizer:
    return WordPieceTokenizer({piece: index for index, piece in enumerate(PIECES)})


def test_by_hand(small: WordPieceTokenizer) -> None:
    assert small.encode("UNAFFABLE!", special=False) == [5, 6, 7, 10]
    assert small.encode("unaffa aff") == [2, 5, 6, 8, 9, 3]
    assert small.encode("unx un", special=False) == [1, 5]  # the word is unknown as a whole
    assert small.encode("") == [2, 3]
    assert small.encode("un[MASK]un", special=False) == [5, 4, 5]
    assert small.encode("[MASK]", special=False, parse_special=False) == [1, 1, 1]
    assert small.decode([2, 5, 6, 10, 9, 3]) == "unaff! aff"
    assert small.decode([2, 5, 4, 3], special=True) == "[CLS] un [MASK] [SEP]"
    assert small.decode(torch.tensor([6, 5])) == "##aff un"
    assert (small.pad_id, small.unk_id, small.bos_id, small.eos_id, small.mask_id) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert (small.before, small.after, small.keeps_bytes) == ((2,), (3,), False)
    assert (small.token_to_id("##a"), small.token_to_id("no"), small.id_to_token(9)) == (
        8,
        None,
        "aff",
    )
    assert repr(small) == "WordPieceTokenizer(11 pieces, uncased)"


def test_long_words_are_unknown(small: WordPieceTokenizer) -> None:
    word = "un" + "a" * 98
    assert small.encode(word, special=False) == [5] + [8] * 98
    assert small.encode(word + "a", special=False) == [1]
    assert small.encode_with_offsets(word + "a", special=False).offsets == [(0, 101)]


@pytest.mark.parametrize("kind", ["uncased", "cased"])
def test_two_thousand_awkward_lines(kind: str) -> None:
    ours: WordPieceTokenizer = getattr(bert, kind)()
    theirs = bert.library(ours.vocabulary.model_ids, lowercase=kind == "uncased")
    n_unknown = n_tokens = 0
    for line in awkward_lines():
        found, expected = ours.encode_with_offsets(line), theirs.encode(line)
        assert found.ids == expected.ids == ours.encode(line)
        assert found.tokens == expected.tokens
        assert found.offsets == expected.offsets
        assert ours.decode(found.ids) == theirs.decode(expected.ids)
        whole = ours.decode(found.ids, special=True)
        assert whole == theirs.decode(expected.ids, skip_special_tokens=False)
        n_unknown += found.ids.count(ours.unk_id)
        n_tokens += len(found.ids)
    assert n_unknown < n_tokens / 2, "most is unknown: little is tested"


@pytest.mark.parametrize("kind", ["uncased", "cased"])
def test_transformers_agrees(kind: str, tmp_path: Path) -> None:
    ours: WordPieceTokenizer = getattr(bert, kind)()
    lowercase = kind == "uncased"
    theirs = BertTokenizer(vocab=ours.vocabulary.model_ids, do_lower_case=lowercase)
    for line in awkward_lines(150):
        assert ours.encode(line) == theirs(line)["input_ids"]


def test_pairs() -> None:
    ours = bert.uncased()
    theirs = bert.library(ours.vocabulary.model_ids, lowercase=True)
    lines = awkward_lines(80)
    for first, second in zip(lines, lines[::-1], strict=True):
        for max_length in (None, 3, 8, 21):
            if max_length is None:
                theirs.no_truncation()
            else:
                theirs.enable_truncation(max_length, strategy="longest_first")
            found = ours.encode_pair(first, second, max_length=max_length)
            expected = theirs.encode(first, second)
            assert (found.ids, found.segments) == (expected.ids, expected.type_ids)
            assert (found.tokens, found.offsets) == (expected.tokens, expected.offsets)


def test_batches(small: WordPieceTokenizer) -> None:
    batch = small.encode_batch(["un unaffable", "un", ""], max_length=4, side="left")
    assert batch.ids.tolist() == [[2, 5, 5, 3], [0, 2, 5, 3], [0, 0, 2, 3]]
    assert batch.lengths.tolist() == [4, 3, 2]
    bare = small.encode_batch(["un", "[MASK]"], special=False, parse_special=False)
    assert bare.ids.tolist() == [[5, 0, 0], [1, 1, 1]]


def test_what_utf_8_cannot_hold() -> None:
    ours = bert.uncased()
    for text, read_as in SURROGATES:
        assert ours.encode(text) == ours.encode(read_as)
    for data in INVALID_UTF8:
        assert ours.encode(data) == ours.encode(data.decode("utf-8", "replace"))
    assert ours.encode_with_offsets("\ud83d\ude00 x", special=False).offsets == [(0, 2), (3, 4)]


def test_json_there_and_back(tmp_path: Path) -> None:
    for ours in (bert.cased(), bert.uncased()):
        again = WordPieceTokenizer.from_json(ours.to_json())
        library = Tokenizer.from_str(ours.to_json())
        assert again.to_json() == ours.to_json()
        assert again.text == ours.text
        for line in awkward_lines(60):
            assert again.encode(line) == ours.encode(line) == library.encode(line).ids
    ours.save(tmp_path / "tokenizer.json")
    assert WordPieceTokenizer.from_file(tmp_path / "tokenizer.json").to_json() == ours.to_json()


def test_backend_rust() -> None:
    ours = bert.uncased()
    rust = ours.with_backend("rust")
    assert ours.with_backend("python") is ours
    lines = awkward_lines(100)
    for line in lines:
        for options in ({}, {"special": False}, {"parse_special": False}):
            assert rust.encode_with_offsets(line, **options) == ours.encode_with_offsets(
                line, **options
            )
    found, expected = (one.encode_batch(lines, max_length=9) for one in (rust, ours))
    assert found.ids.equal(expected.ids)


def test_training() -> None:
    texts = ["the lower the newest", "the widest river, the lowest"] * 5
    made = WordPieceTokenizer.train(texts, vocab_size=35)
    assert made.vocab_size == 35
    assert made.vocabulary.tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for text in texts:
        assert made.unk_id not in made.encode(text)
        assert made.decode(made.encode(text)) == text
    with pytest.raises(ValueError, match="texts='the' is one text"):
        WordPieceTokenizer.train("the", vocab_size=45)


def test_without_a_frame() -> None:
    bare = WordPieceTokenizer({piece: i for i, piece in enumerate(PIECES)}, frame=False)
    assert bare.encode("un") == [5]
    assert WordPieceTokenizer.from_json(bare.to_json()).encode("un") == [5]
    assert WordPieceTokenizer({"[UNK]": 0, "a": 1}).encode("a") == [1]


def test_vocab_file(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[UNK]\na\n##b\n", encoding="utf-8")
    assert WordPieceTokenizer.from_vocab_file(path, lowercase=False).encode("ab A") == [1, 2, 0]
    path.write_text("[UNK]\na\na\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocab.txt' has 'a' on line 3, but every line must"):
        WordPieceTokenizer.from_vocab_file(path)
    path.write_text("[UNK]\n\na\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has '' on line 2"):
        WordPieceTokenizer.from_vocab_file(path)


def test_bad_input(small: WordPieceTokenizer) -> None:
    with pytest.raises(ValueError, match=r"vocab of 1 pieces has no \[UNK\]"):
        WordPieceTokenizer({"a": 0})
    with pytest.raises(ValueError, match="max_characters=0 must be at least 1"):
        WordPieceTokenizer({"[UNK]": 0}, max_characters=0)
    with pytest.raises(ValueError, match="vocab gives 'a' the id 5"):
        WordPieceTokenizer({"[UNK]": 0, "a": 5})
    with pytest.raises(ValueError, match=r"ids holds 11, but ids must lie in 0\.\.10"):
        small.decode([11])
    with pytest.raises(ValueError, match="must have one axis"):
        small.decode(torch.zeros(2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="texts='un' is one text"):
        small.encode_batch("un")
    with pytest.raises(ValueError, match="max_length=1 must be at least 2"):
        small.encode_batch(["un"], max_length=1)
    with pytest.raises(ValueError, match="max_length=2 must be at least 3, the special tokens"):
        small.encode_pair("un", "un", max_length=2)
    with pytest.raises(ValueError, match="text is of type int"):
        small.encode(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="text is of type int"):
        small.encode_with_offsets(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="text is not JSON"):
        WordPieceTokenizer.from_json("{")
    added = [AddedToken(content="un", id=3)]
    with pytest.raises(ValueError, match="added token 'un' has id 3"):
        WordPieceTokenizer(dict(zip(PIECES, range(11), strict=True)), added_tokens=added)
    assert BertText() == small.text
