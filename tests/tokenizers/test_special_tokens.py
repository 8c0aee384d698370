"""Added tokens in text, as the tokenizers library finds them."""

from typing import Any

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from tfbook.tokenizers import AddedToken, BPETokenizer, byte_characters
from tfbook.tokenizers.special_tokens import AddedTokens

VOCAB = {letter: index for index, letter in enumerate(byte_characters())}
ADDED = [
    AddedToken(content="<s>", id=256),
    AddedToken(content="<s>>", id=257),
    AddedToken(content="word", id=258, single_word=True, special=False),
    AddedToken(content="<l>", id=259, lstrip=True),
    AddedToken(content="<r>", id=260, rstrip=True),
    AddedToken(content="<both>", id=261, lstrip=True, rstrip=True, special=False),
    AddedToken(content="late", id=262, normalized=True, special=False),
    AddedToken(content="<s>late", id=263, normalized=True),
    AddedToken(content="中.*", id=264),
]
TEXTS = [
    "",
    "<s>",
    "a<s>b<s><s>c",
    "<s>>> <<s>>",
    "word words word, sword word_ word",
    "word<s>word",
    "a \t <l> b <l><l>  <l>",
    "a <r> \n b <r>",
    "x  <both>  <both> y <s> <both>",
    "<s>late late latelate <s>  late",
    "中.* 中x",
    "a\x1c<l>\x1cb\u3000<both>\u00a0",
]


@pytest.fixture(scope="module")
def ours() -> BPETokenizer:
    return BPETokenizer(vocab=VOCAB, merges=[], added_tokens=ADDED)


@pytest.fixture(scope="module")
def theirs() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE(vocab=VOCAB, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for token in ADDED:
        options = {k: v for k, v in token.to_fields().items() if k not in ("content", "id")}
        made.add_tokens([tokenizers.AddedToken(token.content, **options)])
    return made


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("parse_special", [True, False])
def test_as_the_library(
    ours: BPETokenizer, theirs: tokenizers.Tokenizer, text: str, parse_special: bool
) -> None:
    theirs.encode_special_tokens = not parse_special
    expected = theirs.encode(text)
    found = ours.encode_with_offsets(text, parse_special=parse_special)
    assert found.ids == expected.ids == ours.encode(text, parse_special=parse_special)
    assert found.offsets == expected.offsets


def test_pieces_cover_the_text() -> None:
    added = AddedTokens(ADDED)
    for text in TEXTS:
        pieces = added.split(text)
        assert "".join(text[piece.start : piece.stop] for piece in pieces) == text
        assert all(piece.start < piece.stop for piece in pieces)


def test_without_added_tokens_there_is_one_piece() -> None:
    assert [(p.start, p.stop) for p in AddedTokens().split("text")] == [(0, 4)]


def test_fields() -> None:
    for token in ADDED:
        assert AddedToken.from_fields(token.to_fields()) == token


@pytest.mark.parametrize("change", [{"id": "3"}, {"special": None}, None])
def test_damaged_fields(change: dict[str, Any] | None) -> None:
    entry = None if change is None else {**ADDED[0].to_fields(), **change}
    with pytest.raises(ValueError, match="an added token needs the fields content, id, special"):
        AddedToken.from_fields(entry)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([("", 1)], "added_tokens holds an empty token; remove it"),
        ([("a", 1), ("a", 2)], "added_tokens holds 'a' more than once"),
        ([("a", 1), ("b", 1)], "added_tokens gives one id to two tokens"),
    ],
)
def test_bad_tokens(tokens: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AddedTokens([AddedToken(content=content, id=index) for content, index in tokens])
