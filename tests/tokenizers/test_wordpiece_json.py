"""The parts of ``tokenizer.json`` that are WordPiece's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bert
import pytest

from tfbook.tokenizers import WordPieceTokenizer
from tfbook.tokenizers.wordpiece_json import read_vocab_file, read_wordpiece

VOCAB = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}


def document() -> dict[str, Any]:
    return dict(json.loads(WordPieceTokenizer(VOCAB).to_json()))


def test_the_library_writes_what_is_read() -> None:
    library = bert.library({**VOCAB, "[PAD]": 4, "[MASK]": 5}, lowercase=False)
    library.enable_padding(length=16)
    library.enable_truncation(8)
    ours = WordPieceTokenizer.from_json(library.to_str())
    assert ours.encode("a A") == [1, 3, 0, 2]
    assert not ours.text.lowercase


def test_the_older_way_to_say_cls_and_sep() -> None:
    older = document()
    older["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}
    assert WordPieceTokenizer.from_json(json.dumps(older)).encode("a") == [1, 3, 2]


CHANGES: list[tuple[str, Any, str]] = [
    ("normalizer", None, "normalizer=None must be BERT's 'BertNormalizer'"),
    ("normalizer", {"type": "BertNormalizer"}, "field 'lowercase' is None"),
    ("pre_tokenizer", {"type": "Whitespace"}, "pre_tokenizer='Whitespace' must be BERT's"),
    ("decoder", None, "decoder=None must be BERT's 'WordPiece'"),
    ("post_processor", {"type": "RobertaProcessing"}, "post_processor=.*Roberta.* must be BERT's"),
    ("version", "7", "version='7' of tokenizer.json is unknown"),
    ("model", {"type": "BPE"}, "the model is of type 'BPE', but must be 'WordPiece'"),
    ("model", {"type": "WordPiece", "unk_token": "?"}, r"model.unk_token='\?' must be BERT's"),
]


@pytest.mark.parametrize(("part", "value", "message"), CHANGES)
def test_foreign_parts(part: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_wordpiece(json.dumps({**document(), part: value}))
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.from_json(json.dumps({**document(), part: value}))


def test_vocab_file(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[UNK]\n\u2028\n##b\n", encoding="utf-8")
    assert read_vocab_file(path) == {"[UNK]": 0, "\u2028": 1, "##b": 2}
    path.write_text("a\nb\na", encoding="utf-8")
    with pytest.raises(ValueError, match="has 'a' on line 3, but every line must hold another"):
        read_vocab_file(path)
