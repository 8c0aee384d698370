"""The parts of ``tokenizer.json`` that are unigram's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import unigram

from tfbook.tokenizers import NFKC, UnigramText, UnigramTokenizer
from tfbook.tokenizers.unigram_json import (
    read_unigram,
    sentencepiece_arguments,
    unigram_parts,
)

PIECES = [("<unk>", 0.0), ("<s>", 0.0), ("▁", -3.0), ("a", -2.0)]


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("collapse", [True, False])
@pytest.mark.parametrize("rules", [None, NFKC()])
def test_there_and_back(prefix: bool, collapse: bool, rules: NFKC | None) -> None:
    text = UnigramText(rules, prefix=prefix, collapse=collapse)
    ours = UnigramTokenizer(PIECES, text=text, before=[1], after=[1], pad_id=1)
    again = UnigramTokenizer.from_json(ours.to_json())
    assert (again.text, again.before, again.after, again.pad_id) == (text, (1,), (1,), 1)
    assert again.pieces == ours.pieces


def document() -> dict[str, Any]:
    return dict(json.loads(UnigramTokenizer(PIECES).to_json()))


CHANGES: list[tuple[str, Any, str]] = [
    ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFD"}]}, "normalizer=.*NFD"),
    ("pre_tokenizer", None, "pre_tokenizer=None must be"),
    ("decoder", {"type": "Fuse"}, "decoder=.*Fuse.* must be"),
    ("model", {"type": "Unigram", "unk_id": 0, "vocab": [3]}, "'vocab' must hold pairs"),
    ("model", {"type": "WordPiece"}, "the model is of type 'WordPiece', but must be 'Unigram'"),
]


@pytest.mark.parametrize(("part", "value", "message"), CHANGES)
def test_foreign_parts(part: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_unigram(json.dumps({**document(), part: value}))
    with pytest.raises(ValueError, match=message):
        UnigramTokenizer.from_json(json.dumps({**document(), part: value}))


def test_rules_without_a_name() -> None:
    class Shout:
        def normalize(self, text: str) -> str:
            return text.upper()

        def changes(self, text: str) -> Any:
            return ((letter.upper(), i, i + 1) for i, letter in enumerate(text))

    ours = UnigramTokenizer(PIECES, text=UnigramText(Shout()))
    with pytest.raises(ValueError, match=r"have no name in tokenizer\.json; use NFKC"):
        unigram_parts(
            pieces=PIECES,
            unk_id=0,
            byte_fallback=False,
            text=ours.text,
            splits=True,
            before=[],
            after=[],
        )
    with pytest.raises(ValueError, match=r"have no name in tokenizer\.json"):
        ours.to_json()


def test_sentencepiece(tmp_path: Path) -> None:
    path = tmp_path / "m.model"
    path.write_bytes(unigram.trained())
    assert sentencepiece_arguments(path)["bos_id"] == 1
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="holds no pieces"):
        sentencepiece_arguments(path)
